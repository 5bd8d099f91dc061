//! What `#[gaggle::main]` and `#[gaggle::test]` expand to; not for direct use.

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
