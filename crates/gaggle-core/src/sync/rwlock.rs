//! A lock that many may hold to read, or one to write, for as long as they like, and over any wait.
//!
//! As the mutex ([`super::mutex`]), with one word, a queue beside it, and two modes. Normally whoever is there
//! first takes the lock, with one exception: while a writer waits, or was woken and is on its way, no reader comes
//! in that has not waited itself, so that the readers come to an end and the writer is next. A woken task that
//! fails for a millisecond makes the lock *starving*: then it is handed over in the order of the queue, to one
//! writer or to all the readers up to the next writer.
//!
//! *Held* means below: by a writer, or by one reader or more.
//!
//! - V1: `WRITER` and a number of readers are never set at the same time. Each is set by the task that takes
//!   the lock, or for the one that it is handed to, and taken back by that task's `unlock`.
//! - V2: `PARKED` and `WRITER_WAITS` change under the queue's lock only; while that is free the first is set if
//!   a waiter is in the queue, and the second if a writer is.
//! - V3: while the queue's lock is free and a waiter is in the queue, the lock is held, or `WOKEN` is set, or
//!   the task that unlocked it is on its way to the queue; and if readers hold it and nobody has `WOKEN`, the
//!   first in the queue is a writer, or whoever changed that is on the way to the queue.
//! - V4: one task at most has `WOKEN`: it was woken and is going to try; a writer has `WRITER_WOKEN` besides. It
//!   clears them as it takes the lock, parks or gives up; a reader that takes it, and who gives up, sees to V3.
//! - V5: while `STARVING` is set nobody takes the lock, it is handed over; and nobody has `WOKEN`.
//! - V6: no task is readied while the queue's lock is held.
//! - V7: from the moment in which a writer is in the queue until it takes the lock or gives up, `WRITER_WAITS` or
//!   `WRITER_WOKEN` is set, and no reader takes the lock that was not in the queue before.
//!
//! Source: as the mutex; that a waiting writer keeps new readers out is Go's `sync/rwmutex.go`.

mod queue;
mod taking;

use super::contention::{
    Backoff, HANDED_OVER, PARKED, STARVING, TRY_AGAIN, WOKEN, is_starving, take_slow,
};
use super::limit::{Ended, Limit};
use crate::contract::Runtime;
use crate::select_lock::Guarded;
use crate::shim::atomic::{AtomicU32, Ordering};
use crate::wait_queue::ClaimedChain;
use queue::{Queue, Request, Want};
use std::fmt;
use taking::Taking;

/// A writer holds the lock (V1).
const WRITER: u32 = 1;
/// A writer waits (V2).
const WRITER_WAITS: u32 = 16;
/// Who has `WOKEN` is a writer (V4).
const WRITER_WOKEN: u32 = 32;
/// One reader holds the lock; the number of readers is in the bits from here on.
const READER: u32 = 64;
/// More readers than this would be a leak of guards, long before the number overflows.
const READERS_MAX: u32 = u32::MAX / READER / 2;

/// The lock without the value that it guards.
pub struct RawRwLock<R: Runtime> {
    word: AtomicU32,
    queue: Guarded<Queue<R>, R::Lock>,
}

// SAFETY: the waiters are reached only under the queue's lock (W1) and carry no value of the user's.
unsafe impl<R: Runtime> Sync for RawRwLock<R> {}
// SAFETY: waiters point into frames that outlive their wait (W3), not into a thread.
unsafe impl<R: Runtime> Send for RawRwLock<R> {}

/// Whether anybody holds the lock.
fn is_held(word: u32) -> bool {
    word & WRITER != 0 || word >= READER
}

/// The word after a task that wants `want` has taken the lock; `None`: it has to wait. A reader that has waited
/// does not wait for the writers in the queue: they came later.
#[inline]
fn taken(word: u32, want: Want, has_waited: bool) -> Option<u32> {
    let (in_the_way, new) = match want {
        Want::Write if word < READER => (WRITER | STARVING, word | WRITER),
        Want::Write => return None,
        Want::Read if has_waited => (WRITER | STARVING, word + READER),
        // V7.
        Want::Read => (
            WRITER | STARVING | WRITER_WAITS | WRITER_WOKEN,
            word + READER,
        ),
    };
    (word & in_the_way == 0).then_some(new)
}

/// What V2 wants in the word.
fn marks_of<R: Runtime>(queue: &Queue<R>) -> u32 {
    let parked = if queue.is_empty() { 0 } else { PARKED };
    let writer = if queue.has_writer() { WRITER_WAITS } else { 0 };
    parked | writer
}

/// What a task that wants `want` has in the word if it `is_woken` (V4).
fn marks_of_woken(is_woken: bool, want: Want) -> u32 {
    match (is_woken, want) {
        (false, _) => 0,
        (true, Want::Read) => WOKEN,
        (true, Want::Write) => WOKEN | WRITER_WOKEN,
    }
}

impl<R: Runtime> RawRwLock<R> {
    /// A lock that nobody holds.
    pub fn new() -> Self {
        RawRwLock {
            word: AtomicU32::new(0),
            queue: Guarded::new(Queue::new()),
        }
    }

    /// A lock that nobody holds, made of an unlocked `lock`: for statics.
    #[cfg(not(loom))]
    pub const fn from_lock(lock: R::Lock) -> Self {
        RawRwLock {
            word: AtomicU32::new(0),
            queue: Guarded::from_raw(lock, Queue::new()),
        }
    }

    /// How many tasks wait for the lock at the time of the call.
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    /// Takes the lock to read, if no writer holds it, and none waits for it.
    #[inline]
    pub fn try_read(&self) -> bool {
        self.try_take(Want::Read)
    }

    /// Takes the lock to write, if nobody holds it.
    #[inline]
    pub fn try_write(&self) -> bool {
        self.try_take(Want::Write)
    }

    /// Takes the lock to read, parking the task while it cannot be had, for as long as `limit` says.
    ///
    /// # Errors
    /// Which limit was reached; the lock is not taken.
    #[inline]
    pub fn read_limited(&self, limit: &Limit<'_, R>) -> Result<(), Ended> {
        if self.try_read() {
            return Ok(());
        }
        take_slow(&self.to(Want::Read), limit)
    }

    /// Takes the lock to write, parking the task while it cannot be had, for as long as `limit` says.
    ///
    /// # Errors
    /// Which limit was reached; the lock is not taken.
    #[inline]
    pub fn write_limited(&self, limit: &Limit<'_, R>) -> Result<(), Ended> {
        if self.try_write() {
            return Ok(());
        }
        take_slow(&self.to(Want::Write), limit)
    }

    /// Gives the lock up that was taken to read.
    ///
    /// # Safety
    /// The caller holds it so, whichever task took it, and gives it up once.
    #[inline]
    pub unsafe fn unlock_read(&self) {
        // Release: pairs with the Acquire of the next writer in `exchange`.
        let before = self.word.fetch_sub(READER, Ordering::Release);
        debug_assert!(before >= READER && before & WRITER == 0, "V1");
        self.unlocked(before - READER);
    }

    /// Gives the lock up that was taken to write.
    ///
    /// # Safety
    /// The caller holds it so, whichever task took it, and gives it up once.
    #[inline]
    pub unsafe fn unlock_write(&self) {
        // Release: pairs with the Acquire of the next holder in `exchange`.
        let before = self.word.fetch_sub(WRITER, Ordering::Release);
        debug_assert!(before & WRITER != 0 && before < READER, "V1");
        self.unlocked(before - WRITER);
    }

    /// Turns a lock that was taken to write into one that was taken to read, without letting a writer in
    /// between.
    ///
    /// # Safety
    /// The caller holds it to write.
    pub unsafe fn downgrade(&self) {
        // Release: pairs with the Acquire of the next reader in `exchange`.
        let before = self.word.fetch_add(READER - WRITER, Ordering::Release);
        debug_assert!(before & WRITER != 0 && before < READER, "V1");
        if before & PARKED != 0 {
            // A reader may be the first in the queue (V3).
            self.see_to_queue();
        }
    }

    /// The word was `word` after an unlocking.
    #[inline]
    fn unlocked(&self, word: u32) {
        if word & (PARKED | WOKEN) == PARKED && word < READER {
            self.see_to_queue();
        }
    }

    #[inline]
    fn try_take(&self, want: Want) -> bool {
        // Relaxed: the exchange decides.
        let word = self.word.load(Ordering::Relaxed);
        let Some(new) = taken(word, want, false) else {
            return false;
        };
        self.exchange(word, new).is_ok() || self.try_take_from_others(want)
    }

    /// As `try_take`, after others changed the word in between.
    #[cold]
    fn try_take_from_others(&self, want: Want) -> bool {
        let mut backoff = Backoff::new::<R>();
        loop {
            backoff.pass();
            // Relaxed: as in `try_take`.
            let word = self.word.load(Ordering::Relaxed);
            let Some(new) = taken(word, want, false) else {
                return false;
            };
            if self.exchange(word, new).is_ok() {
                return true;
            }
        }
    }

    /// Changes the word from `old` to `new`; fails spuriously too.
    #[inline]
    fn exchange(&self, old: u32, new: u32) -> Result<(), u32> {
        debug_assert!(new / READER <= READERS_MAX, "too many readers");
        // Acquire: pairs with the Release of the unlockings, where the exchange takes the lock.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        self.word
            .compare_exchange_weak(old, new, success, failure)
            .map(drop)
    }

    fn to(&self, want: Want) -> Taking<'_, R> {
        Taking { lock: self, want }
    }

    /// Wakes the first in the queue, or hands the lock over, if V3 wants it.
    #[cold]
    fn see_to_queue(&self) {
        let mut woken = ClaimedChain::new();
        let mut queue = self.queue.lock();
        self.serve(&mut queue, &mut woken);
        drop(queue);
        woken.ready_all();
    }

    /// What [`RawRwLock::see_to_queue`] does under the queue's lock.
    fn serve(&self, queue: &mut Queue<R>, woken: &mut ClaimedChain<R, Request>) {
        // Relaxed: as in `enqueue`.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let has_first_in_hand = word & (WRITER | WOKEN) != 0 || word & PARKED == 0;
            let first = queue.first();
            if has_first_in_hand || (word >= READER && first == Some(Want::Write)) {
                // Its holder, or who is awake, sees to the queue; or it is empty.
                return;
            }
            if word & STARVING != 0 {
                if !is_held(word) {
                    self.hand_over(queue, woken);
                }
                return;
            }
            // Exchanged, since a task that did not wait may have taken the lock meanwhile.
            match self.exchange(word, word | WOKEN) {
                Ok(()) => break,
                Err(current) => word = current,
            }
        }
        let next = loop {
            match queue.take_front(woken, TRY_AGAIN) {
                Some((_, false)) => {}
                Some((request, true)) => break Some(request.want),
                None => break None,
            }
        };
        // Nobody else changes these: the queue's lock is held (V2), and who was woken is not readied yet (V4, V6).
        let before = WOKEN | word & (PARKED | WRITER_WAITS);
        let after = next.map_or(0, |want| marks_of_woken(true, want)) | marks_of(queue);
        // Relaxed: V2 is ordered by the queue's lock, and a task takes the lock by an Acquire of its own. All of
        // them at once, so that no reader finds a moment in which neither mark of the writer is set (V7).
        self.word.fetch_xor(before ^ after, Ordering::Relaxed);
    }

    /// Gives the lock, which nobody holds, to the first writer or the first readers, in starvation (V5).
    fn hand_over(&self, queue: &mut Queue<R>, woken: &mut ClaimedChain<R, Request>) {
        let (mut word, mut owner_since) = (0, None);
        while word & WRITER == 0 {
            let first = queue.first();
            if first.is_none() || (word >= READER && first == Some(Want::Write)) {
                break;
            }
            if let Some((request, true)) = queue.take_front(woken, HANDED_OVER) {
                owner_since = owner_since.or(Some(request.since));
                word += match request.want {
                    Want::Read => READER,
                    Want::Write => WRITER,
                };
            }
        }
        word |= marks_of(queue);
        if word & PARKED != 0 && owner_since.is_some_and(|since| is_starving(since, R::now())) {
            word |= STARVING;
        }
        // By V5 and the queue's lock nobody else changes the word now. Acquire: pairs with the Release of every
        // unlocking, of which this task made one at most (several readers have gone, or it only looks after the
        // queue); whom the lock is handed to sees what this task has seen by being readied (C2). A swap and no
        // store, so that whoever else takes the lock next still synchronises with those unlockings.
        self.word.swap(word, Ordering::Acquire);
    }
}

impl<R: Runtime> Default for RawRwLock<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for RawRwLock<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for people.
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("RawRwLock")
            .field("is_written", &(word & WRITER != 0))
            .field("readers", &(word / READER))
            .finish_non_exhaustive()
    }
}
