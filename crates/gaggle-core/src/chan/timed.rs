//! Channels that the clock feeds: a receive from one waits for a point of time and nothing else.
//!
//! There is no timer, no goroutine and no sender behind them, only the next point of time: a receiver
//! parks until then. So one that is dropped, or never looked at, costs nothing more.
//!
//! - M1: each point of time is received once, by the task whose compare-and-swap moved it on.
//! - M2: a ticker's points lie on the grid of its start; a receiver that comes late gets one value and
//!   the points it missed are left out, so that at most one is ever waiting.
//!
//! Source: the `at` and `tick` flavours of crossbeam-channel; M2 is `time.Ticker`'s rule in Go.

use crate::contract::{NEVER, Nanos, Runtime, WaitReason};
use crate::shim::atomic::{AtomicU64, Ordering};
use crate::task::Ticket;
use crate::wait_queue::wait;

/// One point of time, or a grid of them.
pub(crate) struct Timed<T> {
    /// The next point that nobody has received; [`NEVER`] when there is none.
    next: AtomicU64,
    /// The distance to the one after it; 0: there is none.
    period: Nanos,
    /// Makes the value that is received.
    make: fn() -> T,
}

impl<T> Timed<T> {
    /// The point `first`, then every `period` if that is not 0.
    pub(crate) fn new(first: Nanos, period: Nanos, make: fn() -> T) -> Self {
        Timed {
            next: AtomicU64::new(first),
            period,
            make,
        }
    }

    /// The next point of time, [`NEVER`] when it was received.
    pub(crate) fn next(&self) -> Nanos {
        // Relaxed: the number is all there is; nothing is published with it.
        self.next.load(Ordering::Relaxed)
    }

    /// Receives the next point, if it has come.
    pub(crate) fn try_take(&self, now: Nanos) -> bool {
        // Relaxed, here and below: as in `next`.
        let mut next = self.next.load(Ordering::Relaxed);
        while next != NEVER && next <= now {
            let after = match (now - next).checked_div(self.period) {
                None => NEVER,
                Some(missed) => next.saturating_add(self.period.saturating_mul(missed + 1)),
            };
            match self
                .next
                .compare_exchange_weak(next, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(current) => next = current,
            }
        }
        false
    }

    /// The value to receive.
    pub(crate) fn make(&self) -> T {
        (self.make)()
    }

    /// Receives, waiting until `deadline` at most.
    pub(crate) fn recv<R: Runtime>(&self, deadline: Nanos) -> Option<T> {
        loop {
            let now = R::now();
            if self.try_take(now) {
                return Some(self.make());
            }
            if now >= deadline {
                return None;
            }
            // Another receiver may be quicker, hence the loop. Nobody but the clock ends this wait.
            let until = self.next().min(deadline);
            wait(Ticket::<R>::take(), until, WaitReason::ChanReceive);
        }
    }
}
