//! The gateway as processes, under a load that a test can afford; `cargo xtask ci load` has more of it.

use std::process::Command;

/// Runs the gateway's program, which asserts its own result.
fn gateway(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(arguments)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    print!("{said}");
}

#[test]
fn kept_connections_lose_nothing_while_a_server_is_killed_and_slow_clients_come() {
    gateway(&["load", "500", "4", "100", "64"]);
}

#[test]
fn clients_of_others_are_answered_over_both_versions_of_http() {
    gateway(&["clients", "50", "1"]);
}
