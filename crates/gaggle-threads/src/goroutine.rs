//! Goroutines: an OS thread each, numbered and counted.

use gaggle_core::contract::{Entry, SpawnOptions};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The number of the last goroutine started.
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// How many goroutines exist.
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The calling goroutine's number; 0 on other threads. Without a destructor, so that it answers
    /// in TLS destructors too.
    static ID: Cell<u64> = const { Cell::new(0) };

    /// What the goroutine ran. Registered first, so that std destroys it after all other thread-local
    /// variables (C6 of the contract).
    static RUN: Cell<Option<Entry>> = const { Cell::new(None) };
}

/// One goroutine in [`COUNT`], from before its thread exists.
struct Counted;

impl Counted {
    fn new() -> Self {
        // Relaxed: a count for people and tests; what must be ordered is ordered by joins.
        COUNT.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Relaxed: as in `new`.
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn current_id() -> Option<u64> {
    Some(ID.get()).filter(|&id| id != 0)
}

pub(crate) fn count() -> usize {
    // Relaxed: as in `Counted::new`.
    COUNT.load(Ordering::Relaxed)
}

/// How many goroutines were ever started.
pub(crate) fn created() -> u64 {
    // Relaxed: a figure to report.
    LAST_ID.load(Ordering::Relaxed)
}

pub(crate) fn spawn(options: SpawnOptions, entry: Entry) -> io::Result<u64> {
    let mut builder = std::thread::Builder::new();
    if let Some(name) = options.name {
        if name.contains('\0') {
            let reason = "a goroutine's name must not contain a NUL character";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        builder = builder.name(name.to_string());
    }
    if let Some(stack_bytes) = options.stack_bytes {
        builder = builder.stack_size(stack_bytes);
    }
    // Relaxed: only the numbers' being distinct matters.
    let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
    let counted = Counted::new();
    // Dropping the handle detaches the thread.
    builder.spawn(move || {
        let _counted = counted;
        ID.set(id);
        RUN.set(None);
        let mut entry = entry;
        entry.run();
        RUN.set(Some(entry));
    })?;
    Ok(id)
}
