//! Where the dangerous things may be: unsafe code, assembly, system calls, thread-local state.
//!
//! - Crates that promise it forbid unsafe code in each of their roots.
//! - Assembly is written in gaggle-sys only.
//! - Of the library's crates only gaggle-sys knows a crate that makes system calls, and nothing but
//!   it names libc's `syscall` (gaggle-rt defines a symbol of that name, which is no call).
//! - gaggle-core has no `thread_local!`: a goroutine's state is the backend's.

use super::Finding;
use super::paths;
use super::source::{Package, Source};
use std::path::Path;

const FORBIDS_UNSAFE: [&str; 4] = ["gaggle-http", "gaggle-sql", "courier", "xtask"];

const SYSTEM_CRATE: &str = "gaggle-sys";

/// The crates that applications link; programs may make system calls of their own.
const LIBRARY: [&str; 9] = [
    "gaggle",
    "gaggle-core",
    "gaggle-debug",
    "gaggle-http",
    "gaggle-macros",
    "gaggle-rt",
    "gaggle-sql",
    "gaggle-sys",
    "gaggle-threads",
];

const SYSTEM_CALL_CRATES: [&str; 5] = ["libc", "linux-raw-sys", "nix", "rustix", "syscalls"];

const ASSEMBLY: [&str; 3] = ["asm", "global_asm", "naked_asm"];

/// Reports each dangerous thing outside its place.
pub fn check(packages: &[Package], sources: &[Source], findings: &mut Vec<Finding>) {
    for package in packages {
        promises(package, sources, findings);
        if LIBRARY.contains(&package.name.as_str()) && package.name != SYSTEM_CRATE {
            for dependency in &package.dependencies {
                if !dependency.is_development
                    && SYSTEM_CALL_CRATES.contains(&dependency.name.as_str())
                {
                    let message = format!(
                        "{} depends on {}; only {SYSTEM_CRATE} makes system calls",
                        package.name, dependency.name
                    );
                    findings.push(Finding::error(&package.manifest, 0, message));
                }
            }
        }
    }
    for source in sources
        .iter()
        .filter(|source| source.package != SYSTEM_CRATE)
    {
        assembly(source, findings);
        system_calls(source, findings);
    }
    for source in sources
        .iter()
        .filter(|source| source.package == "gaggle-core")
    {
        if source.path_in_package.starts_with("src") {
            thread_locals(source, findings);
        }
    }
}

fn promises(package: &Package, sources: &[Source], findings: &mut Vec<Finding>) {
    if !FORBIDS_UNSAFE.contains(&package.name.as_str()) {
        return;
    }
    for source in sources
        .iter()
        .filter(|source| package.crate_roots.contains(&source.path))
    {
        let text: String = source
            .tokens
            .clone()
            .into_iter()
            .map(|token| token.to_string().replace(' ', ""))
            .collect();
        if !text.contains("#![forbid(unsafe_code)]") {
            let message = format!("{} promises #![forbid(unsafe_code)]", package.name);
            findings.push(Finding::error(&source.path, 1, message));
        }
    }
}

fn assembly(source: &Source, findings: &mut Vec<Finding>) {
    for (name, line) in paths::macro_calls(&source.tokens) {
        if ASSEMBLY.contains(&name.as_str()) {
            let message = format!("{name}! outside {SYSTEM_CRATE}");
            findings.push(Finding::error(&source.path, line, message));
        }
    }
}

fn system_calls(source: &Source, findings: &mut Vec<Finding>) {
    // Tests may: they check what a program that does it sees.
    let Ok(in_src) = source.path_in_package.strip_prefix("src") else {
        return;
    };
    if !LIBRARY.contains(&source.package.as_str()) {
        return;
    }
    for reference in paths::references(&source.tokens, &paths::module_of(in_src)) {
        let names_syscall = reference
            .segments
            .windows(2)
            .any(|pair| pair[0] == "libc" && pair[1] == "syscall");
        if names_syscall {
            let message = format!("libc::syscall outside {SYSTEM_CRATE}");
            findings.push(Finding::error(&source.path, reference.line, message));
        }
    }
}

fn thread_locals(source: &Source, findings: &mut Vec<Finding>) {
    // The model that the algorithms' tests run on is itself a small backend.
    if source.path_in_package == Path::new("src/model.rs")
        || source.path_in_package.starts_with("src/model")
    {
        return;
    }
    for (name, line) in paths::macro_calls(&source.tokens) {
        if name == "thread_local" {
            let message = "thread_local! in gaggle-core; the current task is the backend's";
            findings.push(Finding::error(&source.path, line, message));
        }
    }
}
