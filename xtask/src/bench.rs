//! `cargo xtask bench`: builds the harness of the bench, and hands over to it.
//!
//! The harness is a program of the bench's own workspace, so that what it draws and measures with is no
//! dependency of these commands.

use crate::failure::Failure;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Runs the harness in the workspace at `root`, blocking until it has ended; `false`: something was
/// missing or failed, and it has said what. Ctrl-C reaches it, and it ends what it has started.
///
/// # Errors
/// When cargo cannot be started.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool, Failure> {
    let mut command = Command::new("cargo");
    command.args(["run", "--profile", "tool", "--quiet", "--locked"]);
    command.args(["--manifest-path", "bench/Cargo.toml"]);
    command.args(["--package", "gaggle-bench-harness", "--"]);
    let status = command.args(arguments).current_dir(root).status();
    let status = status.map_err(|error| Failure::new(format!("bench: {error}")))?;
    Ok(status.success())
}
