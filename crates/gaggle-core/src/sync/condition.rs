//! A condition variable: tasks that wait, under a mutex, until another says that something has changed.
//!
//! - N1: a task is in the queue before it gives the mutex up, so a notification that is made under the mutex,
//!   or after it was had once, reaches it.
//! - N2: one notification ends one wait, of the task that has waited longest; a wait that its limit ends takes
//!   none, since one claim wins (T1).
//! - N3: a task ends its wait with the mutex taken, however it ended. Nothing else ends one.
//! - N4: between publishing its ticket and parking, the task does no more than give up the mutex, which takes
//!   locks of the backend and readies others, but begins no wait (T5).
//!
//! Source: the notification list of Go's `runtime/sema.go`, for the order.

use super::limit::{Ended, Limit};
use super::mutex::RawMutex;
use crate::contract::{Runtime, WaitReason};
use crate::select_lock::Guarded;
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter};
use std::fmt;

/// Tasks that wait for a change of what a mutex guards.
pub struct Condition<R: Runtime> {
    queue: Guarded<WaitQueue<R, ()>, R::Lock>,
}

// SAFETY: the waiters are reached only under the queue's lock (W1) and carry no value of the user's.
unsafe impl<R: Runtime> Sync for Condition<R> {}
// SAFETY: waiters point into frames that outlive their wait (W3), not into a thread.
unsafe impl<R: Runtime> Send for Condition<R> {}

impl<R: Runtime> Condition<R> {
    /// A condition variable that nobody waits on.
    pub fn new() -> Self {
        Condition {
            queue: Guarded::new(WaitQueue::new()),
        }
    }

    /// A condition variable that nobody waits on, made of an unlocked `lock`: for statics.
    #[cfg(not(loom))]
    pub const fn from_lock(lock: R::Lock) -> Self {
        Condition {
            queue: Guarded::from_raw(lock, WaitQueue::new()),
        }
    }

    /// Gives `mutex` up, parks the task until it is notified, and takes `mutex` again, whatever the outcome.
    ///
    /// # Errors
    /// Which limit was reached; no notification was taken.
    ///
    /// # Safety
    /// The caller owns `mutex`.
    pub unsafe fn wait(&self, mutex: &RawMutex<R>, limit: &Limit<'_, R>) -> Result<(), Ended> {
        let ticket = match limit.begin() {
            Ok(ticket) => ticket,
            Err(ended) => {
                // Others get the mutex all the same: who waits in a loop must not keep them out for ever.
                // SAFETY: the caller owns it, and owns it again when this returns.
                unsafe { mutex.unlock() };
                mutex.lock();
                return Err(ended);
            }
        };
        let waiter = Waiter::new(ticket, 0, ());
        // SAFETY: the guard, a temporary, holds the lock (W1); the waiter stays in this frame, which is left
        // only after it was claimed, and so taken out, or removed below (W2, W3).
        unsafe { self.queue.lock().push_back(&waiter) };
        // SAFETY: the caller owns it, and owns it again when this returns.
        unsafe { mutex.unlock() };
        let outcome = limit.park(ticket, WaitReason::Condition);
        if outcome.is_err() {
            // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
            unsafe { self.queue.lock().remove(&waiter) };
        }
        mutex.lock();
        outcome.map(drop)
    }

    /// Ends the wait of the task that has waited longest, if any waits.
    pub fn notify_one(&self) {
        let first = self.queue.lock().pop_claimed();
        if let Some((_, claimed)) = first {
            claimed.ready();
        }
    }

    /// Ends the waits of all tasks that wait at the time of the call.
    pub fn notify_all(&self) {
        let mut woken = ClaimedChain::new();
        let mut queue = self.queue.lock();
        while woken.take_from(&mut queue) {}
        drop(queue);
        woken.ready_all();
    }
}

impl<R: Runtime> Default for Condition<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for Condition<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}
