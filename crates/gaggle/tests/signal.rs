//! `signal`: a shutdown context that the first signal cancels and the second ends the process by, and
//! signals as values.

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

const NOTIFIED: &str = "is_notified_of_signals";

/// Says which signals come, from two receivers; then drops them and waits to be ended.
#[test]
fn is_notified_of_signals() {
    use gaggle::signal::{Signal, notify};
    if !support::is_child(NOTIFIED) {
        return;
    }
    gaggle::run(|| {
        let both = notify(&[Signal::USER_1, Signal::TERMINATE]);
        let one = notify(&[Signal::USER_1]);
        println!("\nwaiting");
        println!("both: {}", both.recv().expect("it stays open"));
        println!("one: {}", one.recv().expect("it stays open"));
        println!("both: {}", both.recv().expect("it stays open"));
        assert!(one.try_recv().is_err(), "it did not ask for that");
        drop((both, one));
        println!("dropped");
        loop {
            gaggle::park();
        }
    });
}

#[test]
fn every_receiver_gets_what_it_asked_for_and_the_default_comes_back() {
    use std::os::unix::process::ExitStatusExt;
    let mut command = support::child(NOTIFIED, &[]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout)
        .lines()
        .map(|line| line.expect("text"));
    let mut next = |wanted: &str| {
        let found = lines.find(|line| line == wanted);
        assert!(found.is_some(), "{wanted}");
    };
    next("waiting");
    send("USR1", &child);
    next("both: SIGUSR1");
    next("one: SIGUSR1");
    send("TERM", &child);
    next("both: SIGTERM");
    next("dropped");
    send("TERM", &child);
    let status = child.wait().expect("a status");
    assert_eq!(status.signal(), Some(15), "{status}");
}

#[test]
fn signals_that_no_program_may_receive_are_none() {
    use gaggle::signal::Signal;
    for number in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, 0, -1, 1000] {
        assert_eq!(Signal::from_number(number), None, "{number}");
    }
    assert_eq!(Signal::from_number(libc::SIGTERM), Some(Signal::TERMINATE));
    assert_eq!(Signal::HANG_UP.number(), libc::SIGHUP);
    assert_eq!(Signal::HANG_UP.to_string(), "SIGHUP");
}
