//! What `#[gaggle::main]` and `#[gaggle::test]` expand to, and what our own tests count; not for direct use.

use std::process::{ExitCode, Termination};

/// Runs the body of a program as the main goroutine; its result is reported there, so it need not be
/// `Send`.
#[doc(hidden)]
#[track_caller]
pub fn main<T: Termination>(body: fn() -> T) -> ExitCode {
    crate::run(|| body().report())
}

/// Runs the body of a test as a goroutine of the test's name; as [`main`].
#[doc(hidden)]
#[track_caller]
pub fn test<T: Termination>(name: &str, body: fn() -> T) -> ExitCode {
    crate::run::run_named(name, || body().report())
}

/// As [`test`], for a test that answers nothing (which `should_panic` insists on).
#[doc(hidden)]
#[track_caller]
pub fn test_unit(name: &str, body: fn()) {
    crate::run::run_named(name, body);
}

/// What the backend has counted since the start of the process; all zero on the threads backend.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// How often a goroutine was suspended.
    pub suspensions: u64,
    /// How often a goroutine went on on another OS thread than before.
    pub migrations: u64,
    /// How often a P went on without the OS thread of a blocked call.
    pub hand_offs: u64,
    /// OS threads that run goroutines, or are kept for that.
    pub machines: usize,
}

/// Reads the figures.
#[doc(hidden)]
pub fn figures() -> Figures {
    crate::backend::figures()
}
