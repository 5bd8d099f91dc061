//! The rules of the tree that no compiler keeps.
//!
//! A rule looks at the sources (as tokens, so that comments and strings never count as code), at
//! the manifests (as `cargo metadata` tells them) or at the documents, and answers [`Finding`]s. An
//! error fails the build; a notice is only printed. What belongs to which rule is said at the top of
//! each module here.

mod arrows;
mod documents;
mod layers;
mod paths;
mod source;
mod text;
mod unsafety;

use crate::failure::Failure;
use std::fmt;
use std::path::{Path, PathBuf};

/// Whether a finding fails the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule is broken.
    Error,
    /// Somebody should look at it.
    Notice,
}

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whether it fails the build.
    pub severity: Severity,
    /// The file, relative to the workspace's root.
    pub path: PathBuf,
    /// The line, counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Finding {
    fn error(path: &Path, line: usize, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Finding {
            severity,
            path: path.to_path_buf(),
            line,
            message: message.into(),
        }
    }

    fn notice(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Notice,
            ..Finding::error(path, line, message)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Notice => "notice",
        };
        write!(f, "{severity}: {}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What [`check`] found.
#[derive(Debug)]
pub struct Report {
    /// Errors first, then by file and line.
    pub findings: Vec<Finding>,
    /// How many Rust files were read: a check that read none has checked nothing.
    pub file_count: usize,
}

impl Report {
    /// Whether no rule is broken; notices do not count.
    pub fn is_clean(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity == Severity::Notice)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let errors = self
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count();
        let notices = self.findings.len() - errors;
        write!(
            f,
            "tidy: {} Rust files, {errors} errors, {notices} notices",
            self.file_count
        )
    }
}

/// Runs every rule over the workspace at `root` and the workspaces of their own inside it.
///
/// # Errors
/// When a file or a manifest cannot be read or parsed; a broken rule is a finding, not an error.
pub fn check(root: &Path) -> Result<Report, Failure> {
    let packages = source::packages(root)?;
    let sources = source::rust_files(root, &packages)?;
    let mut findings = Vec::new();
    arrows::check(&packages, &sources, &mut findings);
    layers::check(&sources, &mut findings);
    text::check(&sources, &mut findings);
    unsafety::check(&packages, &sources, &mut findings);
    documents::check(root, &sources, &mut findings)?;
    findings.sort();
    findings.dedup();
    Ok(Report {
        findings,
        file_count: sources.len(),
    })
}
