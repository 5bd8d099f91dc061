//! Child processes, for tests of what belongs to the whole process.
//!
//! A test of such a thing is two: the child's half does it and prints what it saw; the parent's half
//! runs the test binary again for that one test, with an environment of its own.

#![allow(
    dead_code,
    reason = "each test binary compiles this file, and none needs all of it"
)]

#[cfg(target_os = "linux")]
pub mod migrate;
#[cfg(target_os = "linux")]
pub mod native;
pub mod random;
pub mod tasks;

use std::process::{Command, Output};

/// Tells the child's half that it is one.
const CHILD: &str = "GAGGLE_TEST_CHILD";

/// Whether this process runs as the child of the test `name`.
pub fn is_child(name: &str) -> bool {
    std::env::var_os(CHILD).is_some_and(|child| child == *name)
}

/// The test `name` of this binary as a child, with these variables set (or, by `None`, unset).
pub fn child(name: &str, environment: &[(&str, Option<&str>)]) -> Command {
    let program = std::env::current_exe().expect("a test knows its own binary");
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, name);
    for (variable, value) in environment {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    command
}

/// Runs a [`child`] to its end.
pub fn run_child(name: &str, environment: &[(&str, Option<&str>)]) -> Output {
    child(name, environment)
        .output()
        .expect("the test binary runs again")
}

/// Runs the test `name` as a child, with this process's own environment, and insists on its success.
#[allow(
    dead_code,
    reason = "each test binary compiles this file, and not all need it"
)]
pub fn pass_as_child(name: &str) {
    let output = run_child(name, &[]);
    assert!(
        output.status.success(),
        "{name} failed as a child: {}",
        said(&output)
    );
}

/// All that a child said, for messages.
pub fn said(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!(
        "{}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        output.status
    )
}
