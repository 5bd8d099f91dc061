//! A lock of one word that spins a little, then blocks the OS thread. It never parks a goroutine, so
//! the scheduler itself can take it, and its sections must be short.
//!
//! - K1: the word is 0 (free), 1 (held) or 2 (held, somebody may be blocked).
//! - K2: whoever blocks has set the word to 2 before; whoever unlocks a 2 wakes one.
//! - K3: in a forked child, where a holder may be a thread that is not there any more, nobody waits.
//!
//! Source: Ulrich Drepper, "Futexes Are Tricky" (2011), mutex3; Go's runtime/lock_futex.go.

use crate::{arch, call, futex};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// Rounds of spinning before blocking; a section is tens of nanoseconds.
const SPIN_ROUNDS_MAX: u32 = 100;

/// K3.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Says that this process is a forked child, whose only thread calls (K3).
pub fn in_child() {
    // Relaxed: read by this thread.
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// See the module's text.
#[derive(Debug)]
pub struct RawLock {
    word: AtomicU32,
}

impl RawLock {
    /// An unlocked lock.
    pub const fn new() -> Self {
        RawLock {
            word: AtomicU32::new(FREE),
        }
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) {
        // Acquire: pairs with the Release in `unlock`. Relaxed on failure: nothing is read.
        if self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow();
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> bool {
        // Acquire: pairs with the Release in `unlock`.
        self.word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn lock_slow(&self) {
        // Relaxed: set by this thread (K3).
        if IS_CHILD.load(Ordering::Relaxed) {
            return;
        }
        for round in 0..SPIN_ROUNDS_MAX {
            // Relaxed: only a hint whether trying is worth it; `try_lock` acquires.
            if self.word.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
            if round % 32 == 31 {
                call::yield_thread();
            } else {
                arch::spin_pause();
            }
        }
        // K2. Acquire: pairs with the Release in `unlock`.
        while self.word.swap(CONTENDED, Ordering::Acquire) != FREE {
            futex::wait(&self.word, CONTENDED, None);
        }
    }

    /// Gives the lock up; the caller holds it.
    #[inline]
    pub fn unlock(&self) {
        // Release: pairs with the Acquire of the next holder.
        if self.word.swap(FREE, Ordering::Release) == CONTENDED {
            futex::wake(&self.word, 1);
        }
    }
}

impl Default for RawLock {
    fn default() -> Self {
        Self::new()
    }
}
