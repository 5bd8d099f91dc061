//! A weighted semaphore that serves tasks in the order they came.
//!
//! - P1: permits are in exactly one place: `available`, or with the tasks that acquired them.
//! - P2: whenever the lock is free, the task that has waited longest wants more permits than are
//!   available (or nobody waits): permits are handed over by whoever releases them, so nobody can
//!   overtake, and a large request is not starved by small ones.
//! - P3: whoever leaves the queue without permits re-establishes P2, since those behind it may now be
//!   served.
//! - P4: no task is readied while the lock is held.
//!
//! Source: `golang.org/x/sync/semaphore`.

use super::limit::{Ended, Limit};
use crate::contract::{Runtime, WaitReason};
use crate::select_lock::Guarded;
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

struct State<R: Runtime> {
    available: usize,
    /// The payload is how many permits the task wants.
    waiters: WaitQueue<R, usize>,
}

impl<R: Runtime> State<R> {
    /// Takes `permits`, if they are there and nobody is before the caller (P2).
    fn try_acquire(&mut self, permits: usize) -> bool {
        let can = permits <= self.available && self.waiters.first_waiting().is_none();
        if can {
            self.available -= permits;
        }
        can
    }

    /// Hands permits to those who wait for them, from the front (P2).
    fn grant(&mut self, woken: &mut ClaimedChain<R, usize>) {
        while let Some(permits) = self.waiters.first_waiting() {
            if permits > self.available {
                return;
            }
            // The head may have become stale since; then it is out, and the next is looked at.
            if woken.take_head_from(&mut self.waiters) {
                self.available -= permits;
            }
        }
    }
}

/// Permits that tasks acquire, wait for, and release.
pub struct Semaphore<R: Runtime> {
    guarded: Guarded<State<R>, R::Lock>,
}

// SAFETY: the waiters are reached only under the lock (W1) and carry no value of the user's.
unsafe impl<R: Runtime> Sync for Semaphore<R> {}
// SAFETY: waiters point into frames that outlive their wait (W3), not into a thread.
unsafe impl<R: Runtime> Send for Semaphore<R> {}

impl<R: Runtime> Semaphore<R> {
    /// A semaphore with `permits` available.
    pub fn new(permits: usize) -> Self {
        Semaphore {
            guarded: Guarded::new(State {
                available: permits,
                waiters: WaitQueue::new(),
            }),
        }
    }

    /// How many permits are available now.
    pub fn available(&self) -> usize {
        self.guarded.lock().available
    }

    /// Acquires `permits` at once, or none.
    pub fn try_acquire(&self, permits: usize) -> bool {
        self.guarded.lock().try_acquire(permits)
    }

    /// Acquires `permits`, parking the task until it is its turn and they are there, whatever becomes of the
    /// contexts that the task runs under.
    pub fn acquire(&self, permits: usize) {
        let acquired = self.acquire_limited(permits, &Limit::shielded());
        debug_assert!(acquired.is_ok(), "no limit can have been reached");
    }

    /// As [`Semaphore::acquire`], for as long as `limit` says.
    ///
    /// # Errors
    /// Which limit was reached; no permit was acquired.
    pub fn acquire_limited(&self, permits: usize, limit: &Limit<'_, R>) -> Result<(), Ended> {
        if self.try_acquire(permits) {
            return Ok(());
        }
        let ticket = limit.begin()?;
        let waiter = Waiter::new(ticket, 0, permits);
        let mut state = self.guarded.lock();
        if state.try_acquire(permits) {
            drop(state);
            limit.withdraw(ticket);
            return Ok(());
        }
        // SAFETY: the guard holds the lock (W1); the waiter stays in this frame, which is left only
        // after it was claimed, and so taken out, or removed by `leave` (W2, W3).
        unsafe { state.waiters.push_back(&waiter) };
        drop(state);
        let outcome = limit.park(ticket, WaitReason::Semaphore);
        if outcome.is_err() {
            self.leave(&waiter);
        }
        outcome.map(drop)
    }

    /// Gives `permits` back, and hands them to those who wait.
    ///
    /// # Panics
    /// When more permits were given back than a number can count.
    pub fn release(&self, permits: usize) {
        let mut woken = ClaimedChain::new();
        let mut state = self.guarded.lock();
        let available = state.available.checked_add(permits);
        state.available = available.expect("more permits were released than a number can count");
        state.grant(&mut woken);
        drop(state);
        woken.ready_all();
    }

    /// Takes a stale waiter out of the queue and serves those whom it kept waiting (P3).
    fn leave(&self, waiter: &Waiter<R, usize>) {
        let mut woken = ClaimedChain::new();
        let mut state = self.guarded.lock();
        // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
        unsafe { state.waiters.remove(waiter) };
        state.grant(&mut woken);
        drop(state);
        woken.ready_all();
    }
}

// A panic cannot leave a semaphore half-changed: nothing of the user's runs under its lock.
impl<R: Runtime> UnwindSafe for Semaphore<R> {}
impl<R: Runtime> RefUnwindSafe for Semaphore<R> {}

impl<R: Runtime> fmt::Debug for Semaphore<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").finish_non_exhaustive()
    }
}
