//! The expensive half of an asymmetric fence: `membarrier(2)`.
//!
//! A hot path stores, then loads, with only the compiler kept from exchanging the two; a rare path
//! stores, calls [`all_threads`], then loads. The kernel makes every thread of the process that runs at
//! that moment pass a full barrier, so of the two at least one sees the other's store, as if both had
//! fences. Source: Linux's Documentation of `MEMBARRIER_CMD_PRIVATE_EXPEDITED`, and liburcu.

use crate::call::raw;
use std::sync::atomic::{AtomicU8, Ordering, fence};

const REGISTER: usize = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as usize;
const BARRIER: usize = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED as usize;

const UNKNOWN: u8 = 0;
const REGISTERED: u8 = 1;
const REFUSED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

fn membarrier(command: usize) -> bool {
    // SAFETY: the call takes no pointer.
    unsafe { raw(libc::SYS_membarrier, [command, 0, 0, 0, 0, 0]) == 0 }
}

/// Makes every running thread of this process pass a full memory barrier; `false`: the kernel, or a
/// filter of system calls, does not allow it.
///
/// The first call takes some milliseconds: the kernel tells all its processors about this process.
pub fn all_threads() -> bool {
    // SeqCst: this thread's own half.
    fence(Ordering::SeqCst);
    // Relaxed: registering twice is the same as once.
    let state = match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            let state = if membarrier(REGISTER) {
                REGISTERED
            } else {
                REFUSED
            };
            STATE.store(state, Ordering::Relaxed);
            state
        }
        state => state,
    };
    let done = state == REGISTERED && membarrier(BARRIER);
    // SeqCst: as above, for what follows.
    fence(Ordering::SeqCst);
    done
}
