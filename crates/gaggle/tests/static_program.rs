//! A program that is linked statically: there the green backend is not built, and goroutines are threads.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

mod support;

use std::path::Path;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

const PROGRAM: &str = r#"
    fn main() {
        let sum: u32 = (0..10).map(|n| gaggle::go(move || n).join().unwrap()).sum();
        println!("{sum} on {}", gaggle::runtime::backend_name());
    }
"#;

fn run(command: &mut Command) -> std::process::Output {
    let output = command.output().expect("the toolchain runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        support::said(&output)
    );
    output
}

#[test]
fn statically_linked_program_has_threads() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    run(Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--lib",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static"));
    let built = folder.join(TARGET).join("debug");
    let (source, program) = (folder.join("program.rs"), folder.join("program"));
    std::fs::write(&source, PROGRAM).expect("the folder was just made");
    let library = format!("gaggle={}", built.join("libgaggle.rlib").display());
    run(Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--target",
            TARGET,
            "-C",
            "target-feature=+crt-static",
        ])
        .args(["--extern", &library, "-L"])
        .arg(format!("dependency={}", built.join("deps").display()))
        .arg("-L") // the macros, which run in the compiler
        .arg(format!(
            "dependency={}",
            folder.join("debug/deps").display()
        ))
        .arg(&source)
        .arg("-o")
        .arg(&program));
    let output = run(Command::new(&program).env_remove("GAGGLE_BACKEND"));
    let said = support::said(&output);
    assert!(said.contains("45 on threads"), "{said}");
    let refused = Command::new(&program)
        .env("GAGGLE_BACKEND", "green")
        .output();
    let refused = refused.expect("the program runs");
    assert_eq!(
        refused.status.code(),
        Some(2),
        "{}",
        support::said(&refused)
    );
}
