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

use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::select::Arm;
use crate::select_lock::Guarded;
use crate::task::{Claimed, Ticket};
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter, wait, wait_under_context};
use std::cell::{Cell, UnsafeCell};
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
        let can = self.can_acquire(permits);
        if can {
            self.available -= permits;
        }
        can
    }

    fn can_acquire(&mut self, permits: usize) -> bool {
        permits <= self.available && self.waiters.first_waiting().is_none()
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

    /// Acquires `permits`, parking the task until it is its turn and they are there. The end of a context
    /// that the task runs under does not end this.
    pub fn acquire(&self, permits: usize) {
        let acquired = self.acquire_by(permits, NEVER, |ticket| {
            wait(ticket, NEVER, WaitReason::Semaphore);
        });
        debug_assert!(acquired, "no deadline can have come");
    }

    /// As [`Semaphore::acquire`], until `deadline` or the end of a context that the task runs under.
    /// `false`: that came first, and no permit was acquired.
    pub fn acquire_deadline(&self, permits: usize, deadline: Nanos) -> bool {
        self.acquire_by(permits, deadline, |ticket| {
            wait_under_context(ticket, deadline, WaitReason::Semaphore);
        })
    }

    fn acquire_by(&self, permits: usize, deadline: Nanos, wait: impl FnOnce(Ticket<R>)) -> bool {
        let mut state = self.guarded.lock();
        if state.try_acquire(permits) {
            return true;
        }
        if deadline != NEVER && deadline <= R::now() {
            return false;
        }
        let ticket = Ticket::take();
        let waiter = Waiter::new(ticket, 0, permits);
        // SAFETY: the guard holds the lock (W1); the waiter stays in this frame, which is left only
        // after it was claimed, and so taken out, or removed below (W2, W3).
        unsafe { state.waiters.push_back(&waiter) };
        drop(state);
        wait(ticket);
        let acquired = ticket.token() != TIMED_OUT;
        if !acquired {
            self.leave(&waiter);
        }
        acquired
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

/// Acquiring permits, as an operation of a select.
pub struct AcquireArm<'a, R: Runtime> {
    semaphore: &'a Semaphore<R>,
    permits: usize,
    /// Written by the owner while the waiter stands in no queue.
    waiter: UnsafeCell<Option<Waiter<R, usize>>>,
    chosen: Cell<bool>,
}

impl<'a, R: Runtime> AcquireArm<'a, R> {
    /// The operation of acquiring `permits` of `semaphore`.
    pub fn new(semaphore: &'a Semaphore<R>, permits: usize) -> Self {
        let (waiter, chosen) = (UnsafeCell::new(None), Cell::new(false));
        AcquireArm {
            semaphore,
            permits,
            waiter,
            chosen,
        }
    }

    /// Whether a select has chosen this operation, so that its owner now has the permits.
    pub fn is_chosen(&self) -> bool {
        self.chosen.get()
    }
}

// SAFETY: the lock is the semaphore's, which its address names; the waiter stays in the arm, which is
// borrowed while it waits, and is removed under the lock.
unsafe impl<R: Runtime> Arm<R> for AcquireArm<'_, R> {
    fn lock_address(&self) -> usize {
        self.semaphore.guarded.address()
    }

    fn lock(&self) {
        self.semaphore.guarded.lock_raw();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller took it by `lock`.
        unsafe { self.semaphore.guarded.unlock_raw() };
    }

    unsafe fn is_ready(&self, _now: Nanos) -> bool {
        // SAFETY: the caller holds the lock, and this reference ends with the statement.
        let state = unsafe { self.semaphore.guarded.state() };
        state.can_acquire(self.permits)
    }

    unsafe fn try_complete(&self, _now: Nanos) -> Option<Option<Claimed<R>>> {
        // SAFETY: the caller holds the lock, and this reference ends with the call.
        let state = unsafe { self.semaphore.guarded.state() };
        state.try_acquire(self.permits).then_some(None)
    }

    unsafe fn enqueue(&self, ticket: Ticket<R>, token: usize) {
        // SAFETY: the waiter of the wait before stands in no queue any more, so nobody sees this.
        let place = unsafe { &mut *self.waiter.get() };
        let waiter = &*place.insert(Waiter::new(ticket, token, self.permits));
        // SAFETY: the caller holds the lock, and this reference ends with the call.
        let state = unsafe { self.semaphore.guarded.state() };
        // SAFETY: the caller holds the lock (W1) and keeps the arm until it has left (W2, W3).
        unsafe { state.waiters.push_back(waiter) };
    }

    fn dequeue(&self) {
        // SAFETY: only shared references to the waiter exist while it may be in a queue.
        if let Some(waiter) = unsafe { &*self.waiter.get() } {
            self.semaphore.leave(waiter);
        }
    }

    fn deadline(&self) -> Nanos {
        NEVER
    }

    fn choose(&self) {
        self.chosen.set(true);
    }
}

impl<R: Runtime> fmt::Debug for AcquireArm<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireArm")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}
