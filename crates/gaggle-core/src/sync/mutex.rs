//! A mutual-exclusion lock that a task may hold for as long as it likes, and over any wait.
//!
//! One word says who may come in; a queue, under a lock of its own, holds those who wait. Normally whoever
//! is there first takes the lock, woken or newly come: that keeps the lock busy while a woken task is on its
//! way. A task that has been woken in vain for a millisecond makes the mutex *starving*: then it is handed
//! over from owner to waiter in the order of the queue, until a waiter gets it that has waited for less, or
//! the last.
//!
//! - M1: `LOCKED` is set by the task that takes the lock, or for the task it is handed to, and cleared by
//!   the owner's `unlock` alone. So there is one owner at most.
//! - M2: `PARKED` changes under the queue's lock only; while that is free, it is set if a waiter is in the
//!   queue.
//! - M3: while the queue's lock is free and a waiter is in the queue, the mutex is locked, or `WOKEN` is set,
//!   or the task that unlocked it is on its way to the queue. So nobody waits for a lock that is free.
//! - M4: one task at most has `WOKEN`: it was woken and is going to try. It clears it as it takes the lock, parks
//!   or gives up; in giving up it sees to M3.
//! - M5: while `STARVING` is set nobody takes the lock, it is handed over; and nobody has `WOKEN`. It is set by
//!   the task that has `WOKEN`, with a waiter in the queue (itself), and cleared under the queue's lock.
//! - M6: no task is readied while the queue's lock is held.
//!
//! Source: Go's `internal/sync/mutex.go` for the two modes; the parking lot of WebKit (Pizlo, "Locking in
//! WebKit", 2016) for a queue beside a word.

use super::contention::{
    Contended, HANDED_OVER, PARKED, Patience, STARVING, TRY_AGAIN, WOKEN, is_starving, take_slow,
};
use super::limit::{Ended, Limit};
use crate::contract::{Nanos, Runtime, WaitReason};
use crate::select_lock::Guarded;
use crate::shim::atomic::{AtomicU32, Ordering};
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter};
use std::fmt;

/// Somebody owns the lock (M1).
const LOCKED: u32 = 1;
/// The lock without the value that it guards.
pub struct RawMutex<R: Runtime> {
    word: AtomicU32,
    /// The payload is when the task began to wait.
    queue: Guarded<WaitQueue<R, Nanos>, R::Lock>,
}

// SAFETY: the waiters are reached only under the queue's lock (W1) and carry no value of the user's.
unsafe impl<R: Runtime> Sync for RawMutex<R> {}
// SAFETY: waiters point into frames that outlive their wait (W3), not into a thread.
unsafe impl<R: Runtime> Send for RawMutex<R> {}

impl<R: Runtime> RawMutex<R> {
    /// An unlocked mutex.
    pub fn new() -> Self {
        RawMutex {
            word: AtomicU32::new(0),
            queue: Guarded::new(WaitQueue::new()),
        }
    }

    /// An unlocked mutex made of an unlocked `lock`: for statics.
    #[cfg(not(loom))]
    pub const fn from_lock(lock: R::Lock) -> Self {
        RawMutex {
            word: AtomicU32::new(0),
            queue: Guarded::from_raw(lock, WaitQueue::new()),
        }
    }

    /// Whether somebody owns the lock at the time of the call.
    pub fn is_locked(&self) -> bool {
        // Relaxed: the answer may be old as soon as it is given.
        self.word.load(Ordering::Relaxed) & LOCKED != 0
    }

    /// How many tasks wait for the lock at the time of the call.
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        // Relaxed: the exchange decides.
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (LOCKED | STARVING) == 0 {
            match self.exchange(word, word | LOCKED) {
                Ok(()) => return true,
                Err(current) => word = current,
            }
        }
        false
    }

    /// Takes the lock, parking the task while another has it, whatever becomes of the contexts that the task runs
    /// under.
    #[inline]
    pub fn lock(&self) {
        if !self.try_lock() {
            let locked = take_slow(self, &Limit::shielded());
            debug_assert!(locked.is_ok(), "no limit can have been reached");
        }
    }

    /// As [`RawMutex::lock`], for as long as `limit` says.
    ///
    /// # Errors
    /// Which limit was reached; the lock is not taken.
    #[inline]
    pub fn lock_limited(&self, limit: &Limit<'_, R>) -> Result<(), Ended> {
        if self.try_lock() {
            return Ok(());
        }
        take_slow(self, limit)
    }

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller owns the lock, whichever task took it, and gives it up once.
    #[inline]
    pub unsafe fn unlock(&self) {
        // Release: pairs with the Acquire of the next owner in `exchange`.
        let before = self.word.fetch_sub(LOCKED, Ordering::Release);
        debug_assert!(before & LOCKED != 0, "M1");
        if before & (PARKED | WOKEN) == PARKED {
            self.pass_on();
        }
    }

    /// Changes the word from `old` to `new`; fails spuriously too.
    #[inline]
    fn exchange(&self, old: u32, new: u32) -> Result<(), u32> {
        // Acquire: pairs with the Release in `unlock`, where the exchange takes the lock.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        self.word
            .compare_exchange_weak(old, new, success, failure)
            .map(drop)
    }

    /// Says in the word that a waiter is about to be in the queue, whose lock the caller holds. `false`: the
    /// lock is free, and nothing was changed.
    fn announce(&self, patience: &Patience, is_starving: bool) -> bool {
        // Relaxed: the exchange decides, and the queue's lock orders the rest.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & (LOCKED | STARVING) == 0 {
                return false;
            }
            let mut new = word | PARKED;
            if patience.is_woken {
                new &= !WOKEN;
                if is_starving {
                    new |= STARVING;
                }
            }
            match self.exchange(word, new) {
                Ok(()) => return true,
                Err(current) => word = current,
            }
        }
    }

    /// After the mutex was unlocked with waiters in the queue: hands it to the first, or wakes it (M3).
    #[cold]
    fn pass_on(&self) {
        let mut woken = ClaimedChain::new();
        let mut queue = self.queue.lock();
        self.serve(&mut queue, &mut woken);
        drop(queue);
        woken.ready_all();
    }

    /// What [`RawMutex::pass_on`] does under the queue's lock.
    fn serve(&self, queue: &mut WaitQueue<R, Nanos>, woken: &mut ClaimedChain<R, Nanos>) {
        // Relaxed: as in `announce`.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & (LOCKED | WOKEN) != 0 || word & PARKED == 0 {
                // Its owner, or who is awake, sees to the queue; or it is empty.
                return;
            }
            if word & STARVING != 0 {
                return self.hand_over(queue, woken);
            }
            // Exchanged, since a task that did not wait may have taken the lock meanwhile.
            match self.exchange(word, word | WOKEN) {
                Ok(()) => break,
                Err(current) => word = current,
            }
        }
        let mut has_woken = false;
        while !has_woken {
            match woken.take_front_as(queue, TRY_AGAIN) {
                Some((_, is_claimed)) => has_woken = is_claimed,
                None => break,
            }
        }
        let mut gone = if has_woken { 0 } else { WOKEN };
        if queue.is_empty() {
            gone |= PARKED;
        }
        // Relaxed: M2 is ordered by the queue's lock, and a task takes the mutex by an Acquire of its own.
        self.word.fetch_and(!gone, Ordering::Relaxed);
    }

    /// Makes the first waiter the owner, in starvation, with the mutex unlocked (M5).
    fn hand_over(&self, queue: &mut WaitQueue<R, Nanos>, woken: &mut ClaimedChain<R, Nanos>) {
        let mut owner_since = None;
        while let Some((since, is_claimed)) = woken.take_front_as(queue, HANDED_OVER) {
            if is_claimed {
                owner_since = Some(since);
                break;
            }
        }
        let mut word = if queue.is_empty() { 0 } else { PARKED };
        if let Some(since) = owner_since {
            word |= LOCKED;
            if !queue.is_empty() && is_starving(since, R::now()) {
                word |= STARVING;
            }
        }
        // By M5 and the queue's lock nobody else changes the word now. Acquire: pairs with the Release in
        // `unlock`, which another task may have done than this one; whom the mutex is handed to sees what this
        // task has seen by being readied (C2). A swap and no store, so that whoever else takes the mutex next
        // still synchronises with that Release.
        self.word.swap(word, Ordering::Acquire);
    }
}

impl<R: Runtime> Contended<R> for RawMutex<R> {
    type Request = Nanos;

    fn request(&self, since: Nanos) -> Nanos {
        since
    }

    fn reason(&self) -> WaitReason {
        WaitReason::Mutex
    }

    fn try_again(&self, patience: &Patience) -> Result<(), u32> {
        let own_mark = if patience.is_woken { WOKEN } else { 0 };
        // Relaxed: the exchange decides.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & own_mark == own_mark, "M4");
            if word & (LOCKED | STARVING) != 0 {
                return Err(word);
            }
            match self.exchange(word, (word | LOCKED) & !own_mark) {
                Ok(()) => return Ok(()),
                Err(current) => word = current,
            }
        }
    }

    unsafe fn enqueue(
        &self,
        waiter: &Waiter<R, Nanos>,
        patience: &Patience,
        is_starving: bool,
    ) -> bool {
        let mut queue = self.queue.lock();
        if !self.announce(patience, is_starving) {
            return false;
        }
        if patience.has_waited {
            // SAFETY: the guard holds the lock (W1); the caller keeps W2 and W3.
            unsafe { queue.push_front(waiter) };
        } else {
            // SAFETY: as above.
            unsafe { queue.push_back(waiter) };
        }
        true
    }

    unsafe fn leave(&self, waiter: &Waiter<R, Nanos>) {
        let mut queue = self.queue.lock();
        // SAFETY: the guard holds the lock, and the waiter was in this queue only.
        unsafe { queue.remove(waiter) };
        if queue.is_empty() {
            // Relaxed: as in `serve`. M5: without a waiter nobody is left to be handed anything.
            self.word.fetch_and(!(PARKED | STARVING), Ordering::Relaxed);
        }
    }

    fn give_up(&self) {
        // Relaxed: nothing was done under the lock.
        let before = self.word.fetch_and(!WOKEN, Ordering::Relaxed);
        if before & (LOCKED | PARKED) == PARKED {
            self.pass_on();
        }
    }
}

impl<R: Runtime> Default for RawMutex<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for RawMutex<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex")
            .field("is_locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}
