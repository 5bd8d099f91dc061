//! A deadlock, and the report with which it ends.
//!
//! `cargo run -p gaggle-examples --bin deadlock`
//!
//! Two goroutines take two locks in different order. The program runs itself again as a child, as the
//! deadlock ends the process: on the green backend with the list of who waits where, as in Go. On the
//! threads backend nobody notices, so there is nothing to show.

use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier, Mutex};

const CHILD: &str = "GAGGLE_EXAMPLE_DEADLOCK";

fn deadlock() {
    let (left, right) = (Arc::new(Mutex::new(1)), Arc::new(Mutex::new(2)));
    let both_hold_one = Arc::new(Barrier::new(2));
    let take = |name: &str, first: &Arc<Mutex<i32>>, second: &Arc<Mutex<i32>>| {
        let (first, second) = (Arc::clone(first), Arc::clone(second));
        let both_hold_one = Arc::clone(&both_hold_one);
        let builder = gaggle::Builder::new().name(name);
        builder.spawn(move || {
            let _first = first.lock();
            both_hold_one.wait();
            let _second = second.lock();
        })
    };
    let one = take("left first", &left, &right).expect("it starts");
    let other = take("right first", &right, &left).expect("it starts");
    let _ = (one.join(), other.join());
}

#[gaggle::main]
fn main() -> std::io::Result<()> {
    if std::env::var_os(CHILD).is_some() {
        deadlock();
        unreachable!("nobody lets go");
    }
    if gaggle::runtime::backend_name() != "green" {
        println!("only the green backend sees deadlocks");
        return Ok(());
    }
    let output = Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    println!("{report}");
    assert_eq!(output.status.code(), Some(2));
    assert!(report.contains("all goroutines are asleep - deadlock!"));
    assert!(report.contains("\"left first\"") && report.contains("\"right first\""));
    Ok(())
}
