//! The alternate signal stack of an M: where handlers run while a goroutine's own stack may be full.
//!
//! std gives each of its threads an alternate stack of a few KiB; an M gets this larger one instead,
//! with a guard below, since a report of an overflow is written on it, handlers of the program run on
//! it (those that asked for `SA_ONSTACK`), and a vector state of several KiB is saved there first.

use gaggle_sys::stack::{guard, map};
use gaggle_sys::thread;
use std::io;

/// Bytes that handlers can use.
pub const BYTES: usize = 256 << 10;

/// Gives the calling OS thread an alternate signal stack of [`BYTES`] and answers its lowest usable
/// address. It is committed page by page, when a handler first touches it.
///
/// # Errors
/// When the kernel has no address space or no mapping left.
pub fn install() -> io::Result<usize> {
    let base = map::reserve(guard::GUARD_BYTES + BYTES)?;
    let lowest = base + guard::GUARD_BYTES;
    // SAFETY: the lowest part of a mapping that was just made and that nobody else knows.
    let guarded = unsafe { guard::install(base, guard::GUARD_BYTES, 1) };
    // SAFETY: the mapping outlives the thread: nothing but a failure here takes it away.
    let installed = guarded.and_then(|_| unsafe { thread::set_signal_stack(lowest, BYTES) });
    if let Err(error) = installed {
        // SAFETY: reserved above; the thread's signal stack was not changed.
        unsafe { map::release(base, guard::GUARD_BYTES + BYTES) };
        return Err(error);
    }
    Ok(lowest)
}

/// Takes the calling OS thread's alternate signal stack, at `lowest`, away again. No handler is on it.
pub fn remove(lowest: usize) {
    thread::remove_signal_stack();
    // SAFETY: what `install` reserved; the kernel uses it no more.
    unsafe { map::release(lowest - guard::GUARD_BYTES, guard::GUARD_BYTES + BYTES) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_sys::fault;
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn note_where(_signal: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
        let here = 0u8;
        SEEN.store(&raw const here as usize, Ordering::SeqCst);
    }

    #[test]
    fn a_handler_runs_on_it() {
        let lowest = install().expect("address space for a signal stack");
        fault::install(libc::SIGUSR2, note_where, &[], 0).expect("there is such a signal");
        fault::send_to_self(libc::SIGUSR2);
        let seen = SEEN.load(Ordering::SeqCst);
        assert!(
            (lowest..lowest + BYTES).contains(&seen),
            "{seen:#x} is not on {lowest:#x}"
        );
    }
}
