//! A lock that costs one atomic exchange to take and a plain store to give up, and blocks the OS thread
//! when spinning has not helped. It never parks a task, so its sections must be short.
//!
//! ```text
//!   who unlocks                        who blocks
//!   word = FREE                        blocked += 1
//!   (no barrier)                       barrier on every thread (membarrier)
//!   blocked != 0? wakes one            sleeps while word == HELD
//! ```
//!
//! - K1: the word is 0 (free) or 1 (held).
//! - K2: of the two sides above one sees the other: either the count is visible to the one that unlocks, or
//!   its store to the one that is about to sleep (Dekker's argument with the barrier of both sides made by
//!   the rare one). So nobody sleeps on a free lock without a wake to come.
//! - K3: who was woken competes like any other; it stays counted until it holds the lock, so that every
//!   unlock before that wakes one again.
//! - K4: where there is no barrier on every thread a sleep is short and repeated.
//!
//! Compared with one word that says that somebody may be blocked (Drepper's mutex3), an unlock saves its
//! atomic exchange: 6 of the 13 ns that a pair took.
//!
//! Source: Ulrich Drepper, "Futexes Are Tricky" (2011); the asymmetric fence as in liburcu.

use crate::shim::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;

/// Rounds of spinning before blocking; a section is tens of nanoseconds.
#[cfg(not(loom))]
const SPIN_ROUNDS_MAX: u32 = 100;
/// The model checker blocks at once.
#[cfg(loom)]
const SPIN_ROUNDS_MAX: u32 = 0;

/// How OS threads wait for each other.
pub trait Waiting {
    /// Makes every thread of the process pass a full memory barrier, the caller included; `false`: it
    /// cannot (K4).
    fn barrier() -> bool;

    /// Sleeps until somebody wakes this thread, if `word` still is `value` when it would begin to. May
    /// return at any time; a `short` sleep does so within milliseconds.
    fn sleep_while(word: &AtomicU32, value: u32, short: bool);

    /// Wakes one thread that sleeps on `word`.
    fn wake_one(word: &AtomicU32);

    /// Passes the time of one round of spinning.
    fn spin(round: u32);

    /// Whether nobody is to wait: a holder may be a thread that is not there any more.
    fn is_alone() -> bool;
}

/// The barrier of the blocking side covers this one's. The model checker has no such thing, so there both
/// sides have one.
fn light_fence() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// See the module's text.
#[derive(Debug)]
pub struct WordLock {
    word: AtomicU32,
    /// How many threads block, or are about to.
    blocked: AtomicU32,
}

impl WordLock {
    /// An unlocked lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        WordLock {
            word: AtomicU32::new(FREE),
            blocked: AtomicU32::new(0),
        }
    }

    /// An unlocked lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        WordLock {
            word: AtomicU32::new(FREE),
            blocked: AtomicU32::new(0),
        }
    }

    /// Takes the lock.
    #[inline]
    pub fn lock<W: Waiting>(&self) {
        if !self.try_lock() {
            self.lock_slow::<W>();
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        // Acquire: pairs with the Release in `unlock`. Relaxed on failure: nothing is read.
        self.word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn lock_slow<W: Waiting>(&self) {
        if W::is_alone() {
            return;
        }
        for round in 0..SPIN_ROUNDS_MAX {
            // Relaxed: only a hint whether trying is worth it; `try_lock` acquires.
            if self.word.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
            W::spin(round);
        }
        // Relaxed: the barrier orders it (K2).
        self.blocked.fetch_add(1, Ordering::Relaxed);
        let is_ordered = W::barrier();
        while !self.try_lock() {
            W::sleep_while(&self.word, HELD, !is_ordered);
        }
        // Relaxed: a count that is seen too late costs a wake in vain.
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the lock up; the caller holds it.
    #[inline]
    pub fn unlock<W: Waiting>(&self) {
        // Release: pairs with the Acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
        light_fence();
        // Relaxed: K2.
        if self.blocked.load(Ordering::Relaxed) != 0 {
            W::wake_one(&self.word);
        }
    }
}

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}
