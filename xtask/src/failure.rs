//! Why a command could not do its work, as a sentence for the person who ran it.

use std::fmt;
use std::path::Path;

/// A command could not do its work (as opposed to: it did, and found something).
#[derive(Debug)]
pub struct Failure {
    what: String,
}

impl Failure {
    /// `what` is shown after `error: `.
    pub fn new(what: impl Into<String>) -> Self {
        Failure { what: what.into() }
    }

    /// For `map_err`: names the file that an operation failed on.
    pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Failure::new(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}
