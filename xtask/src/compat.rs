//! `cargo xtask compat`: builds the program that tries unmodified crates, and hands over to it.
//!
//! It is a workspace of its own, so that what it tries is no dependency of the library.

use crate::failure::Failure;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Runs it in the workspace at `root`, blocking until it has ended; `false`: a crate does not do what it
/// should, and it has said which.
///
/// # Errors
/// When cargo cannot be started.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool, Failure> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--locked", "--manifest-path"]);
    command.args(["compat/Cargo.toml", "--"]);
    let status = command.args(arguments).current_dir(root).status();
    let status = status.map_err(|error| Failure::new(format!("compat: {error}")))?;
    Ok(status.success())
}
