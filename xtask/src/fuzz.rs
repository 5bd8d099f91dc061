//! `cargo xtask fuzz`: the fuzz targets, each for some seconds, on the toolchain that builds all else.
//!
//! libFuzzer learns from the compiler's counters which inputs reach new code. The pass that adds them is
//! LLVM's own and needs no nightly toolchain; sanitizers do, and have little to say where no code is unsafe.
//! Compiled so, there is only the threads backend: what is tried is parsing.

use crate::ci::{self, Task};
use crate::failure::Failure;
use std::path::Path;

/// Every target: a program in `fuzz/fuzz_targets`.
pub const TARGETS: [&str; 5] = ["framing", "server", "websocket", "proxies", "courier"];

/// What has the compiler count which code is reached, and tell what is compared with what.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that the flags are for the programs alone and not for what builds them.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// The longest input, in bytes.
const INPUT_BYTES_MAX: usize = 2048;

/// How the targets are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fuzz {
    /// Names of [`TARGETS`].
    pub targets: Vec<String>,
    /// Seconds for each.
    pub seconds: u64,
}

impl Fuzz {
    /// Runs them in the workspace at `root`, blocking until the last has ended; `false`: one failed. What it
    /// failed by is printed, and kept in `fuzz/artifacts`.
    ///
    /// # Errors
    /// When a command cannot be started.
    pub fn run(&self, root: &Path) -> Result<bool, Failure> {
        ci::fuzz(root, self)
    }

    /// What there is to do: build all, and then run each, from the seeds and what earlier runs have found.
    pub(crate) fn tasks(&self, root: &Path) -> Result<Vec<Task>, Failure> {
        let folder = ci::target_folder(root, "fuzz");
        let artifacts = root.join("fuzz/artifacts");
        std::fs::create_dir_all(&artifacts).map_err(Failure::at(&artifacts))?;
        let cargo = |line: &str| {
            let manifest = "--manifest-path fuzz/Cargo.toml --locked --release";
            let line = format!("cargo {line} {manifest} --target {PLATFORM}");
            let task = Task::new(&line, 15).with("RUSTFLAGS", FLAGS);
            task.with("CARGO_TARGET_DIR", folder.clone())
        };
        let mut tasks = vec![cargo("build --bins")];
        for target in &self.targets {
            let corpus = Path::new(&folder).join("corpus").join(target);
            std::fs::create_dir_all(&corpus).map_err(Failure::at(&corpus))?;
            let program = Path::new(&folder)
                .join(PLATFORM)
                .join("release")
                .join(target);
            let line = format!(
                "{} {} fuzz/seeds/{target} -max_total_time={} -max_len={INPUT_BYTES_MAX} -timeout=25 \
                 -seed=1 -print_final_stats=1 -verbosity=0 -artifact_prefix=fuzz/artifacts/{target}-",
                program.display(),
                corpus.display(),
                self.seconds
            );
            // Each target's own time, and as much again as a slow machine may need to begin and to end.
            let minutes = self.seconds / 60 + 5;
            tasks.push(Task::new(&line, minutes).with("GAGGLE_BACKEND", "threads"));
        }
        Ok(tasks)
    }
}
