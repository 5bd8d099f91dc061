//! Private facts of glibc that per-goroutine thread-local storage rests on, each found or checked at
//! start-up and none assumed. Tested with glibc 2.36; the checks are what makes others safe to try.
//!
//! Whatever does not hold becomes a [`Refusal`], and the process runs on the threads backend.

pub mod ballast;
pub mod dtv;
pub mod modules;
pub mod platform;
pub mod snapshot;
pub mod symbols;
pub mod sync_objects;
pub mod template;

use std::fmt;

/// Why the green backend cannot run in this process.
#[derive(Clone, Debug)]
pub struct Refusal {
    check: &'static str,
    reason: String,
}

impl Refusal {
    /// The self-check `check` failed because of `reason`.
    pub fn new(check: &'static str, reason: impl Into<String>) -> Self {
        Refusal {
            check,
            reason: reason.into(),
        }
    }

    /// The name of the self-check that failed.
    pub fn check(&self) -> &'static str {
        self.check
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (self-check `{}`)", self.reason, self.check)
    }
}

impl std::error::Error for Refusal {}

/// The environment variable by which a test makes one self-check fail, by its name.
pub const FAIL_CHECK_VARIABLE: &str = "GAGGLE_TEST_FAIL_SELF_CHECK";

/// Goes on if `holds`, and refuses otherwise, or if a test asked for this check to fail.
pub fn require(
    check: &'static str,
    holds: bool,
    reason: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    if std::env::var_os(FAIL_CHECK_VARIABLE).is_some_and(|name| name == check) {
        return Err(Refusal::new(check, "a test asked for this check to fail"));
    }
    if holds {
        Ok(())
    } else {
        Err(Refusal::new(check, reason()))
    }
}
