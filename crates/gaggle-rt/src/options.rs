//! What the environment asks for, read once at the start: `GAGGLE_DEBUG` and `GAGGLE_TRACEBACK`.
//!
//! Names and meanings are those of Go's `GODEBUG` and `GOTRACEBACK`. What is not understood is said on
//! stderr, once, and changes nothing.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// How much of the stacks a fatal error shows (`GAGGLE_TRACEBACK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Traceback {
    /// The error's line only.
    None = 0,
    /// The default: all goroutines, since our fatal errors are no single goroutine's.
    Single,
    /// All goroutines.
    All,
    /// All goroutines with the runtime's frames.
    System,
    /// As `System`, then SIGABRT, for a core file.
    Crash,
}

const TRACEBACKS: [(&str, Traceback); 10] = [
    ("none", Traceback::None),
    ("0", Traceback::None),
    ("single", Traceback::Single),
    ("", Traceback::Single),
    ("all", Traceback::All),
    ("1", Traceback::All),
    ("system", Traceback::System),
    ("2", Traceback::System),
    ("crash", Traceback::Crash),
    ("3", Traceback::Crash),
];

// All of these are written before any M runs, and read after: Relaxed everywhere.
static TRACEBACK: AtomicU8 = AtomicU8::new(Traceback::Single as u8);
static TRACE_MILLIS: AtomicU64 = AtomicU64::new(0);
static TRACE_DETAIL: AtomicBool = AtomicBool::new(false);
static PREEMPTION_OFF: AtomicBool = AtomicBool::new(false);

/// How much of the stacks a fatal error shows.
pub fn traceback() -> Traceback {
    let number = TRACEBACK.load(Ordering::Relaxed);
    let found = TRACEBACKS.iter().find(|(_, level)| *level as u8 == number);
    found.map_or(Traceback::Single, |&(_, level)| level)
}

/// Every how many milliseconds the monitor writes a line of the scheduler trace; 0: never.
pub fn trace_millis() -> u64 {
    TRACE_MILLIS.load(Ordering::Relaxed)
}

/// Whether the scheduler trace lists all Ps, Ms and goroutines.
pub fn trace_detail() -> bool {
    TRACE_DETAIL.load(Ordering::Relaxed)
}

/// Whether goroutines are preempted at their calls into the runtime only (`asyncpreemptoff=1`).
pub fn preemption_is_off() -> bool {
    PREEMPTION_OFF.load(Ordering::Relaxed)
}

/// Reads the environment. Called once, before any M runs.
pub fn read_environment() {
    if let Some(value) = env::var_os("GAGGLE_TRACEBACK") {
        let text = value.to_string_lossy();
        match TRACEBACKS.iter().find(|(name, _)| *name == text) {
            Some(&(_, level)) => TRACEBACK.store(level as u8, Ordering::Relaxed),
            None => eprintln!(
                "gaggle: GAGGLE_TRACEBACK is {value:?}; it must be none, single, all, system or crash"
            ),
        }
    }
    if let Some(value) = env::var_os("GAGGLE_DEBUG") {
        for complaint in read_debug(&value.to_string_lossy()) {
            eprintln!("gaggle: GAGGLE_DEBUG: {complaint}");
        }
    }
}

/// Takes over a list of `key=value`; answers what was not understood.
fn read_debug(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let Some((key, value)) = item.split_once('=') else {
            complaints.push(format!("{item:?} has no value; write it as key=value"));
            continue;
        };
        let number = value.parse::<u64>();
        match (key, number) {
            ("schedtrace", Ok(millis)) => TRACE_MILLIS.store(millis, Ordering::Relaxed),
            ("scheddetail", Ok(flag @ 0..=1)) => TRACE_DETAIL.store(flag == 1, Ordering::Relaxed),
            ("asyncpreemptoff", Ok(flag @ 0..=1)) => {
                PREEMPTION_OFF.store(flag == 1, Ordering::Relaxed);
            }
            ("schedtrace", Err(_)) => {
                complaints.push(format!("schedtrace is {value:?}; it must be milliseconds"));
            }
            ("scheddetail" | "asyncpreemptoff", _) => {
                complaints.push(format!("{key} is {value:?}; it must be 0 or 1"));
            }
            _ => complaints.push(format!(
                "there is no key {key:?}; there are schedtrace, scheddetail and asyncpreemptoff"
            )),
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_said_and_the_rest_is_taken() {
        let complaints = read_debug("schedtrace=250,,nonsense=1,scheddetail=2,asyncpreemptoff");
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].contains("nonsense"), "{complaints:?}");
        assert!(complaints[1].contains("scheddetail"), "{complaints:?}");
        assert!(complaints[2].contains("key=value"), "{complaints:?}");
        assert_eq!(trace_millis(), 250);
        assert!(!trace_detail() && !preemption_is_off());
        TRACE_MILLIS.store(0, Ordering::Relaxed);
    }
}
