//! Waiting until a number of others are done.
//!
//! The counter (upper half) and the number of waiting tasks (lower half) share one word.
//!
//! - G1: the counter is never negative, and nobody waits while it is zero.
//! - G2: the `add` that brings the counter to zero takes all waiting tasks out of the word in that
//!   moment's value and releases exactly as many.
//! - G3: a task that was released sees the word at zero; anything else means that the group was used
//!   again before its waiters had left, which is a bug of the program and panics.
//! - G4: a task whose limit is reached takes itself out of the word, while the counter is not zero. If it
//!   is, G2's release counts that task, which then takes what is released and has waited to the end.
//!
//! Source: Go's `sync/waitgroup.go`.

use crate::contract::Runtime;
use crate::shim::atomic::{AtomicU64, Ordering};
use crate::sync::{Ended, Limit, Semaphore};
use std::fmt;

/// One task that waits, in the word.
const ONE_WAITER: u64 = 1;
/// One to be done, in the word.
const ONE_TO_DO: u64 = 1 << 32;

/// A counter to wait for; at zero nobody waits.
pub struct WaitGroup<R: Runtime> {
    word: AtomicU64,
    released: Semaphore<R>,
}

impl<R: Runtime> WaitGroup<R> {
    /// A group of nothing to be done.
    pub fn new() -> Self {
        WaitGroup {
            word: AtomicU64::new(0),
            released: Semaphore::new(0),
        }
    }

    /// Adds `delta`, which may be negative, to the counter; all who wait go on once it is zero.
    ///
    /// # Panics
    /// When the counter becomes negative or overflows, and when it is raised from zero while a task is
    /// about to wait (`add` must happen before `wait`).
    #[track_caller]
    pub fn add(&self, delta: i32) {
        // AcqRel: Release pairs with the Acquire of the last `add` and of `wait`, so that what each
        // did before is visible to those who waited; Acquire, for the last `add` to pass it on.
        let change = (delta as u32 as u64).wrapping_mul(ONE_TO_DO);
        let word = self
            .word
            .fetch_add(change, Ordering::AcqRel)
            .wrapping_add(change);
        let (counter, waiting) = ((word >> 32) as u32 as i32, word as u32);
        assert!(
            counter >= 0,
            "a WaitGroup's counter became negative: more done than added"
        );
        assert!(
            waiting == 0 || delta <= 0 || counter != delta,
            "WaitGroup misuse: add from zero while another task begins to wait"
        );
        if counter > 0 || waiting == 0 {
            return;
        }
        // The counter is zero and tasks wait, so nobody may touch the word now (G1); a change since is
        // a misuse, found here or by the task that is released.
        // AcqRel: as above; Relaxed on failure, which panics.
        let taken = self
            .word
            .compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
        assert!(
            taken.is_ok(),
            "WaitGroup misuse: add at the same time as wait"
        );
        self.released.release(waiting as usize);
    }

    /// Takes one from the counter.
    ///
    /// # Panics
    /// When it was zero.
    #[track_caller]
    pub fn done(&self) {
        self.add(-1);
    }

    /// Parks the task until the counter is zero, whatever becomes of the contexts that the task runs under.
    ///
    /// # Panics
    /// When the group is used again before this call has returned.
    #[track_caller]
    pub fn wait(&self) {
        let waited = self.wait_limited(&Limit::shielded());
        debug_assert!(waited.is_ok(), "no limit can have been reached");
    }

    /// As [`WaitGroup::wait`], for as long as `limit` says.
    ///
    /// # Errors
    /// Which limit was reached before the counter was zero.
    ///
    /// # Panics
    /// As [`WaitGroup::wait`].
    #[track_caller]
    pub fn wait_limited(&self, limit: &Limit<'_, R>) -> Result<(), Ended> {
        // Acquire: pairs with the Release of the `add` that made it zero.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word >> 32 == 0 {
                return Ok(());
            }
            // Acquire on both: as above. Nothing is published to others by waiting.
            match self.word.compare_exchange_weak(
                word,
                word + ONE_WAITER,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(current) => word = current,
            }
        }
        if let Err(ended) = self.released.acquire_limited(1, limit) {
            if self.leave() {
                return Err(ended);
            }
            // On its way, or here already (G4).
            self.released.acquire(1);
        }
        // Acquire: as above.
        let word = self.word.load(Ordering::Acquire);
        assert!(
            word == 0,
            "WaitGroup misuse: it was used again before a wait had returned"
        );
        Ok(())
    }

    /// Takes a waiting task out of the word. `false`: it is released, or about to be (G4).
    fn leave(&self) -> bool {
        // Acquire, here and on failure: pairs with the Release of the `add` that made it zero.
        let mut word = self.word.load(Ordering::Acquire);
        while word >> 32 != 0 && word as u32 != 0 {
            // AcqRel: as in `add`, which counts the waiters that it finds.
            match self.word.compare_exchange_weak(
                word,
                word - ONE_WAITER,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(current) => word = current,
            }
        }
        false
    }
}

impl<R: Runtime> Default for WaitGroup<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for WaitGroup<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for people.
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("WaitGroup")
            .field("to_do", &(word >> 32))
            .field("waiting", &(word as u32))
            .finish_non_exhaustive()
    }
}
