//! `cargo xtask stress`: the stress programs, one for each allocator, one after the other.

use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the programs are linked with; each is `stress-NAME`.
pub const ALLOCATORS: [&str; 3] = ["system", "mimalloc", "jemalloc"];

/// How the stress programs are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stress {
    /// Names of [`ALLOCATORS`].
    pub allocators: Vec<String>,
    /// Minutes for each: the long form, which demands numbers.
    pub minutes: u64,
    /// Instead: seconds for each, the short form.
    pub seconds: Option<u64>,
}

impl Stress {
    /// Runs them in the workspace at `root`, blocking until the last has ended; `false`: one failed, and
    /// the rest did not run. Ctrl-C reaches the program, which ends in order; no other begins then.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn run(&self, root: &Path) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("stress: {error}"));
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(failed)?;
        }
        let (unit, length) = match self.seconds {
            Some(seconds) => ("--seconds", seconds),
            None => ("--minutes", self.minutes),
        };
        for allocator in &self.allocators {
            let mut command = Command::new("cargo");
            command.args(["run", "--release", "--quiet"]);
            command.args(["--manifest-path", "stress/Cargo.toml", "--bin"]);
            command.arg(format!("stress-{allocator}"));
            command.args(["--", unit]).arg(length.to_string());
            let status = command.current_dir(root).status().map_err(failed)?;
            if !status.success() {
                eprintln!("stress-{allocator}: {status}");
                return Ok(false);
            }
            // Relaxed: the flag is all that is communicated.
            if interrupted.load(Ordering::Relaxed) {
                return Ok(true);
            }
        }
        Ok(true)
    }
}
