//! The expensive half of an asymmetric fence: `membarrier(2)`.
//!
//! A hot path stores, then loads, with only the compiler kept from exchanging the two; a rare path
//! stores, calls [`all_threads`], then loads. The kernel makes every thread of the process that runs at
//! that moment pass a full barrier, so of the two at least one sees the other's store, as if both had
//! fences. Source: Linux's Documentation of `MEMBARRIER_CMD_PRIVATE_EXPEDITED`, and liburcu.

use crate::call::raw;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering, fence};

const REGISTER: usize = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as usize;
const BARRIER: usize = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED as usize;

const UNKNOWN: u8 = 0;
const REGISTERED: u8 = 1;
const REFUSED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

fn membarrier(command: usize) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    match unsafe { raw(libc::SYS_membarrier, [command, 0, 0, 0, 0, 0]) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error as i32)),
    }
}

/// Registers the process, as [`all_threads`] does when it is first called. Takes some milliseconds where
/// the process has another thread: the kernel then tells all its processors about it.
///
/// # Errors
/// When the kernel (before 4.14) or a filter of system calls does not allow it.
pub fn register() -> io::Result<()> {
    let registered = membarrier(REGISTER);
    let state = if registered.is_ok() {
        REGISTERED
    } else {
        REFUSED
    };
    // Relaxed: registering twice is the same as once.
    STATE.store(state, Ordering::Relaxed);
    registered
}

/// Makes every running thread of this process pass a full memory barrier (those that do not run passed one
/// when they left their processor); `false`: the kernel, or a filter of system calls, does not allow it. It
/// does not fail once [`register`] has succeeded.
pub fn all_threads() -> bool {
    // SeqCst: this thread's own half.
    fence(Ordering::SeqCst);
    // Relaxed: as in `register`.
    let registered = match STATE.load(Ordering::Relaxed) {
        UNKNOWN => register().is_ok(),
        state => state == REGISTERED,
    };
    let done = registered && membarrier(BARRIER).is_ok();
    // SeqCst: as above, for what follows.
    fence(Ordering::SeqCst);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_needs_registration_only() {
        register().expect("this kernel has membarrier");
        assert!(all_threads());
    }
}
