//! `signal::shutdown_context`: the first signal cancels, the second ends the process.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const CHILD: &str = "waits_for_signals";

/// The child's half: says what happens, and never ends by itself.
#[test]
fn waits_for_signals() {
    if !support::is_child(CHILD) {
        return;
    }
    gaggle::run(|| {
        let context = gaggle::signal::shutdown_context();
        let same = gaggle::signal::shutdown_context();
        println!("\nwaiting");
        assert!(context.done().recv().is_err());
        let cause = same.cause().expect("it has ended too");
        println!("ended: {cause}");
        loop {
            gaggle::park();
        }
    });
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success(), "{kill}");
}

/// Sends a child these two signals and answers what it said of the first and how it ended.
fn child_after(first: &str, second: &str) -> (String, Option<i32>) {
    let mut command = support::child(CHILD, &[]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout)
        .lines()
        .map(|line| line.expect("text"));
    lines
        .find(|line| line == "waiting")
        .expect("the child waits");
    send(first, &child);
    let said = lines
        .find(|line| line.starts_with("ended:"))
        .expect("the context ended");
    send(second, &child);
    let status = child.wait().expect("a status");
    (said, status.code())
}

#[test]
fn first_signal_cancels_and_the_second_ends_the_process() {
    let (said, status) = child_after("TERM", "INT");
    assert_eq!(said, "ended: asked to end (SIGTERM)");
    assert_eq!(status, Some(130));
    let (said, status) = child_after("INT", "TERM");
    assert_eq!(said, "ended: interrupted (SIGINT)");
    assert_eq!(status, Some(143));
}
