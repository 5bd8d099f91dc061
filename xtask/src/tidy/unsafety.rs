//! Where the dangerous things may be: unsafe code, assembly, system calls, thread-local state.
//!
//! - Crates that promise it forbid unsafe code in each of their roots.
//! - Assembly is written in gaggle-sys only; the workspaces of their own may measure with some.
//! - Of the library's crates only gaggle-sys knows a crate that makes system calls. gaggle-rt, which
//!   defines libc's symbols, knows libc for its types and constants, and calls none of its wrappers of
//!   system calls: they are its own symbols, and it would call itself.
//! - gaggle-core has no `thread_local!`: a goroutine's state is the backend's.

use super::Finding;
use super::paths;
use super::source::{OWN_WORKSPACES, Package, Source};
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

/// The crate that defines libc's symbols, and so needs libc's types.
const DEFINES_SYMBOLS: &str = "gaggle-rt";

/// Beginnings of the names of libc's functions that are system calls.
const SYSTEM_CALLS: &[&str] = &[
    "accept",
    "bind",
    "brk",
    "clock_nanosleep",
    "clone",
    "close",
    "connect",
    "copy_file_range",
    "dup",
    "epoll_",
    "eventfd",
    "execv",
    "fcntl",
    "fdatasync",
    "flock",
    "fork",
    "fsync",
    "futex",
    "getsockopt",
    "ioctl",
    "kill",
    "listen",
    "lseek",
    "madvise",
    "memfd_",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "open",
    "pipe",
    "poll",
    "ppoll",
    "prctl",
    "pread",
    "preadv",
    "pselect",
    "pwrite",
    "pwritev",
    "read",
    "readv",
    "recv",
    "sched_",
    "select",
    "send",
    "setsockopt",
    "sigaction",
    "sigaltstack",
    "sigprocmask",
    "sigwait",
    "socket",
    "splice",
    "syscall",
    "tgkill",
    "timerfd_",
    "usleep",
    "wait",
    "write",
    "writev",
];

/// Beginnings of names that are types, though they look like those above.
const TYPES: [&str; 3] = ["epoll_event", "epoll_params", "sched_param"];

const ASSEMBLY: [&str; 3] = ["asm", "global_asm", "naked_asm"];

/// Reports each dangerous thing outside its place.
pub fn check(packages: &[Package], sources: &[Source], findings: &mut Vec<Finding>) {
    for package in packages {
        promises(package, sources, findings);
        if LIBRARY.contains(&package.name.as_str()) && package.name != SYSTEM_CRATE {
            for dependency in &package.dependencies {
                let is_for_types = package.name == DEFINES_SYMBOLS && dependency.name == "libc";
                if !dependency.is_development
                    && !is_for_types
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
    let is_own = OWN_WORKSPACES
        .iter()
        .any(|folder| source.path.starts_with(folder));
    // Tests may: they check what a program that has some sees, such as registers that no function of std holds.
    if is_own || source.path_in_package.starts_with("tests") {
        return;
    }
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
        let segments = &reference.segments;
        for pair in segments.windows(2).filter(|pair| pair[0] == "libc") {
            if is_system_call(&pair[1]) {
                let message = format!("libc::{} outside {SYSTEM_CRATE}", pair[1]);
                findings.push(Finding::error(&source.path, reference.line, message));
            }
        }
    }
}

fn is_system_call(name: &str) -> bool {
    let begins = |prefix: &&str| {
        name.strip_prefix(*prefix).is_some_and(|rest| {
            // `read` is not `readlink`, but `epoll_` is `epoll_wait`, and `wait` is `wait4`.
            prefix.ends_with('_') || !rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        })
    };
    SYSTEM_CALLS.iter().any(begins) && !TYPES.contains(&name)
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
