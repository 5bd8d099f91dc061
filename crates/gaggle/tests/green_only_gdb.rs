//! The script for gdb, on a live process: all goroutines, and the stack of one that is parked.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[inline(never)]
fn parks_here() {
    gaggle::park();
    std::hint::black_box(());
}

/// Parks a goroutine, and says when it has.
#[test]
fn child_with_a_parked_goroutine() {
    if !support::is_child("child_with_a_parked_goroutine") {
        return;
    }
    let parked = gaggle::Builder::new().name("parked").spawn(parks_here);
    let parked = parked.expect("it starts");
    while !gaggle::runtime::stack_dump().contains("[park, \"parked\"]:") {
        std::thread::yield_now();
    }
    println!("\nparked {}", parked.id());
    let mut line = String::new();
    // Until the parent ends it.
    let _ = std::io::stdin().read_line(&mut line);
}

#[test]
fn gdb_lists_goroutines_and_walks_a_parked_one() {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("SKIP: there is no gdb");
        return;
    }
    let environment = [("GAGGLE_BACKEND", Some("green"))];
    let mut child = support::child("child_with_a_parked_goroutine", &environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary runs again");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let id = loop {
        let mut line = String::new();
        assert_ne!(out.read_line(&mut line).expect("it speaks"), 0, "it ended");
        if let Some(id) = line.trim().strip_prefix("parked ") {
            break id.to_owned();
        }
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../gaggle-rt/gdb/gaggle.py");
    let output = Command::new("gdb")
        .args(["-q", "-batch", "-nx", "-p", &child.id().to_string()])
        .args(["-x", script, "-ex", "info goroutines", "-ex"])
        .arg(format!("goroutine {id} bt"))
        .args(["-ex", &format!("goroutine {id} info registers rip")])
        .stdin(Stdio::null())
        .output()
        .expect("gdb runs");
    drop(child.stdin.take());
    child.wait().expect("it ends");
    let said = support::said(&output);
    let listed = format!("{id} [park] \"parked\", created at ");
    let line = said.lines().find(|line| line.starts_with(&listed));
    assert!(
        line.is_some_and(|line| line.contains("green_only_gdb.rs:")),
        "{said}"
    );
    // Without their paths where the program has line tables only.
    for function in ["parks_here ()", "goroutine_main ()"] {
        assert!(said.contains(function), "{function}: {said}");
    }
    assert!(said.contains("rip "), "{said}");
}
