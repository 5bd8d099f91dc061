//! What looks for undefined behaviour and data races while tests run: Miri and ThreadSanitizer, where a
//! toolchain has them, else valgrind, which says less (`cargo xtask miri`, `cargo xtask race`).
//!
//! - X1: everything here runs on the threads backend or on no backend: none of these tools can follow a
//!   stack that is switched.
//! - X2: what a tool reports although it is nothing is in `xtask/suppressions`, each with its reason.

use super::command::Task;
use super::steps::{Plan, target_folder};
use crate::failure::Failure;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tests of the facade that exercise the algorithms; the others are about processes, libc or the green
/// backend.
const FACADE: &str = "--test chan --test chan_contract --test select --test select_fairness --test sync \
                      --test sync_stress --test context --test context_contract --test scope --test go";

/// The status by which valgrind says that it has reported something.
const REPORTED: &str = "--error-exitcode=99";

/// The CI step: Miri alone.
pub(super) fn miri(root: &Path) -> Result<Plan, Failure> {
    Ok(match toolchain_with("miri") {
        None => Plan::Lacking("no installed toolchain has Miri".to_string()),
        Some(toolchain) => Plan::Run(vec![
            Task::new(&format!("cargo {toolchain} miri test -p gaggle-core"), 20)
                .with("CARGO_TARGET_DIR", target_folder(root, "miri")),
        ]),
    })
}

/// The CI step: ThreadSanitizer with a std that is compiled for it. An uninstrumented std hides the
/// synchronisation that it does, and what is reported then is looked at by a person ([`races`]).
pub(super) fn thread_sanitizer(root: &Path) -> Result<Plan, Failure> {
    by_thread_sanitizer(root, false)
}

/// `without_sources`: also where std cannot be compiled for it.
fn by_thread_sanitizer(root: &Path, without_sources: bool) -> Result<Plan, Failure> {
    let Some(sysroot) = output_of(&["rustc", "+nightly", "--print", "sysroot"]) else {
        return Ok(Plan::Lacking(
            "no nightly toolchain is installed".to_string(),
        ));
    };
    let libraries = Path::new(&sysroot).join("lib/rustlib");
    let target = "x86_64-unknown-linux-gnu";
    let has_runtime = std::fs::read_dir(libraries.join(target).join("lib")).is_ok_and(|files| {
        let names = files.flatten().map(|file| file.file_name());
        names
            .into_iter()
            .any(|name| name.to_string_lossy().contains("_rt.tsan"))
    });
    if !has_runtime {
        return Ok(Plan::Lacking(
            "the nightly toolchain has no ThreadSanitizer".to_string(),
        ));
    }
    // With std's sources std is compiled with it, too, and nothing has to be suppressed.
    let has_sources = libraries.join("src/rust/library/std").exists();
    if !has_sources && !without_sources {
        let lacking = "no nightly toolchain with std's sources is installed";
        return Ok(Plan::Lacking(lacking.to_string()));
    }
    let (std_too, flags) = match has_sources {
        true => ("-Zbuild-std", "-Zsanitizer=thread"),
        false => (
            "",
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        ),
    };
    let task = |what: &str| {
        let line = format!("cargo +nightly test {std_too} --target {target} {what}");
        let task = Task::new(&line, 20)
            .with("RUSTFLAGS", flags)
            .with("GAGGLE_BACKEND", "threads")
            .with("CARGO_TARGET_DIR", target_folder(root, "tsan"));
        match has_sources {
            true => task,
            false => {
                let file = suppressions(root, "thread_sanitizer.txt");
                task.with("TSAN_OPTIONS", format!("suppressions={file}"))
            }
        }
    };
    Ok(Plan::Run(vec![
        task("--lib --tests -p gaggle-core -p gaggle-threads"),
        task(&format!("-p gaggle {FACADE}")),
    ]))
}

/// `cargo xtask miri`: Miri, or memcheck in its place.
pub(super) fn undefined_behaviour(root: &Path) -> Result<Plan, Failure> {
    let plan = miri(root)?;
    Ok(match instead_of(&plan, "memcheck") {
        false => plan,
        true => {
            let options = "--leak-check=no --fair-sched=yes";
            Plan::Run(under_valgrind(root, options, "memcheck.supp"))
        }
    })
}

/// `cargo xtask race`: ThreadSanitizer, or helgrind in its place.
pub(super) fn races(root: &Path) -> Result<Plan, Failure> {
    let plan = by_thread_sanitizer(root, true)?;
    Ok(match instead_of(&plan, "helgrind") {
        false => plan,
        true => {
            // What orders memory here are atomics, which helgrind does not know: it would report each
            // use of what they guard. What is left is the order of locks, and the use of libc's.
            let options = "--tool=helgrind --history-level=none --fair-sched=yes";
            Plan::Run(under_valgrind(root, options, "helgrind.supp"))
        }
    })
}

/// Says so in a line if valgrind has to stand in.
fn instead_of(plan: &Plan, tool: &str) -> bool {
    let Plan::Lacking(why) = plan else {
        return false;
    };
    println!("{why}: valgrind's {tool} runs the tests on the threads backend instead");
    true
}

/// The tests, each program run by valgrind.
fn under_valgrind(root: &Path, options: &str, file: &str) -> Vec<Task> {
    let file = suppressions(root, file);
    let runner = format!("valgrind --quiet {options} {REPORTED} --suppressions={file}");
    let task = |what: &str| {
        Task::new(&format!("cargo test {what}"), 30)
            .with(
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
                runner.clone(),
            )
            .with("GAGGLE_BACKEND", "threads")
    };
    vec![
        task("--lib --tests -p gaggle-core -p gaggle-threads"),
        task(&format!("-p gaggle {FACADE}")),
    ]
}

fn suppressions(root: &Path, file: &str) -> String {
    let path = root.join("xtask/suppressions").join(file);
    path.to_string_lossy().into_owned()
}

/// The `+name` of an installed toolchain whose cargo can do this, or the empty string for the
/// default one.
fn toolchain_with(subcommand: &str) -> Option<&'static str> {
    ["", "+nightly"].into_iter().find(|toolchain| {
        let mut words = vec!["cargo", toolchain, subcommand, "--version"];
        words.retain(|word| !word.is_empty());
        output_of(&words).is_some()
    })
}

/// What the command prints, without the last line's end; `None` unless it runs and succeeds.
fn output_of(words: &[&str]) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_string();
    output.status.success().then_some(text)
}
