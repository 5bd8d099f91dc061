//! Channels that the clock feeds: a receive from one waits for a point of time and nothing else.
//!
//! There is no timer of the backend, no goroutine and no sender behind them, only the next point of
//! time: a receiver parks until then. So one that is dropped, or never looked at, costs nothing more.
//! Whoever holds the [`Clock`] of one may set it to another time, or to none.
//!
//! - M1: each point of time is received once: the receive that takes it moves `next` on, under the lock.
//! - M2: a ticker's points lie on the grid of its start; a receiver that comes late gets one value and
//!   the points it missed are left out, so that at most one is ever waiting.
//! - M3: who waits has read `next` under the lock under which it entered the queue, and a change of
//!   `next` by the clock's holder claims all who stand there, to look again. So nobody sleeps past the
//!   new time; and after the change no older point is received: what was due and not taken is gone.
//! - M4: a claim through the queue says [`TIMED_OUT`], as the deadline's own: both mean "look again".
//!
//! Source: the `at` and `tick` flavours of crossbeam-channel; M2 and M3 are the rules of `time.Ticker`
//! and, since Go 1.23, of `time.Timer`.

use crate::context::ContextError;
use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::select_lock::{Guard, Guarded};
use crate::shim::atomic::{AtomicU64, Ordering};
use crate::task::Ticket;
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter, wait_under_context};
use std::ptr::NonNull;
use std::sync::Arc;

use super::Receiver;
use super::state::Slot;

/// What the lock guards, with `next`.
pub(super) struct State<T, R: Runtime> {
    /// The distance from one point to the one after it; 0: there is none.
    period: Nanos,
    /// Who waits. The slots are never looked at: nothing goes from frame to frame.
    pub(super) waiters: WaitQueue<R, Slot<T>>,
}

/// Makes the value that is received; it is told how long ago its point of time was.
type Make<T> = fn(Nanos) -> T;

/// One point of time, or a grid of them.
pub(crate) struct Timed<T, R: Runtime> {
    /// The next point that nobody has received; [`NEVER`] when there is none. Written under the lock.
    next: AtomicU64,
    pub(super) guarded: Guarded<State<T, R>, R::Lock>,
    make: Make<T>,
}

// SAFETY: the waiters are reached only under the lock (W1) and their slots never; no value is kept.
unsafe impl<T, R: Runtime> Sync for Timed<T, R> {}
// SAFETY: waiters point into frames that outlive their wait (W3), not into a thread.
unsafe impl<T, R: Runtime> Send for Timed<T, R> {}

impl<T, R: Runtime> Timed<T, R> {
    /// The point `first`, then every `period` if that is not 0.
    pub(crate) fn new(first: Nanos, period: Nanos, make: Make<T>) -> Self {
        Timed {
            next: AtomicU64::new(first),
            guarded: Guarded::new(State {
                period,
                waiters: WaitQueue::new(),
            }),
            make,
        }
    }

    /// The next point of time, [`NEVER`] when there is none. Final only under the lock.
    pub(crate) fn next(&self) -> Nanos {
        // Relaxed: the number is all there is; nothing is published with it.
        self.next.load(Ordering::Relaxed)
    }

    /// Receives the next point, if it has come.
    pub(crate) fn try_recv(&self, now: Nanos) -> Option<T> {
        if self.next() > now {
            return None;
        }
        self.take(&mut self.guarded.lock(), now)
    }

    /// As [`Timed::try_recv`], under the lock.
    pub(super) fn take(&self, state: &mut State<T, R>, now: Nanos) -> Option<T> {
        let next = self.next();
        if next == NEVER || next > now {
            return None;
        }
        let after = match (now - next).checked_div(state.period) {
            None => NEVER,
            Some(missed) => next.saturating_add(state.period.saturating_mul(missed + 1)),
        };
        // Relaxed: as in `next`.
        self.next.store(after, Ordering::Relaxed);
        Some((self.make)(now - next))
    }

    /// Receives, waiting until `deadline` at most.
    pub(crate) fn recv(&self, deadline: Nanos) -> Option<T> {
        loop {
            let now = R::now();
            let mut state = self.guarded.lock();
            if let Some(value) = self.take(&mut state, now) {
                return Some(value);
            }
            if now >= deadline || self.wait(state, deadline).is_some() {
                return None;
            }
        }
    }

    /// Parks until the next point as it is now, until that is changed, or until `deadline` (M3); answers
    /// how a context that the task runs under has ended.
    fn wait(
        &self,
        mut state: Guard<'_, State<T, R>, R::Lock>,
        deadline: Nanos,
    ) -> Option<ContextError> {
        let until = self.next().min(deadline);
        let ticket = Ticket::take();
        let waiter = Waiter::new(ticket, TIMED_OUT, NonNull::dangling());
        // SAFETY: the guard holds the lock (W1); the waiter stays in this frame, which is left only
        // after it was removed below (W2, W3).
        unsafe { state.waiters.push_back(&waiter) };
        drop(state);
        let ended = wait_under_context(ticket, until, WaitReason::ChanReceive);
        // SAFETY: as above, and the waiter was put into this queue only.
        unsafe { self.guarded.lock().waiters.remove(&waiter) };
        ended
    }

    /// Changes the next point and the period; whether there was a point that nobody had received (M3).
    fn set(&self, next: Nanos, period: Nanos) -> bool {
        let mut woken = ClaimedChain::new();
        let mut state = self.guarded.lock();
        let was_set = self.next() != NEVER;
        // Relaxed: as in `next`.
        self.next.store(next, Ordering::Relaxed);
        state.period = period;
        while woken.take_from(&mut state.waiters) {}
        drop(state);
        woken.ready_all();
        was_set
    }
}

/// The right to set a channel that the clock feeds.
pub struct Clock<T, R: Runtime>(Arc<Timed<T, R>>);

impl<T, R: Runtime> Clone for Clock<T, R> {
    fn clone(&self) -> Self {
        Clock(Arc::clone(&self.0))
    }
}

impl<T, R: Runtime> Clock<T, R> {
    /// A receiver of a value that `make` makes of its lateness, at `first` ([`NEVER`]: of none), then every `period` if that
    /// is not 0; and the right to change that. It is never closed.
    pub fn new(first: Nanos, period: Nanos, make: Make<T>) -> (Self, Receiver<T, R>) {
        let timed = Arc::new(Timed::new(first, period, make));
        (Clock(Arc::clone(&timed)), Receiver::timed(timed))
    }

    /// Sets the next point of time ([`NEVER`]: none), and the period from there (0: none). What was due
    /// and not received is forgotten. `true`: there was a point that nobody had received.
    pub fn set(&self, next: Nanos, period: Nanos) -> bool {
        self.0.set(next, period)
    }
}

impl<T, R: Runtime> std::fmt::Debug for Clock<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
