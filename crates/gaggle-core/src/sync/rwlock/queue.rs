//! Who waits for a read-write lock, and how many of them are writers.

use crate::contract::{Nanos, Runtime};
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter};

/// What a task wants of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Read,
    Write,
}

/// What the queue knows of who waits.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) want: Want,
    /// When the task began to wait.
    pub(super) since: Nanos,
}

/// The tasks that wait, in the order in which they are served.
pub(super) struct Queue<R: Runtime> {
    waiters: WaitQueue<R, Request>,
    /// How many of them are writers.
    writers: usize,
}

impl<R: Runtime> Queue<R> {
    /// Nobody waits.
    pub(super) const fn new() -> Self {
        Queue {
            waiters: WaitQueue::new(),
            writers: 0,
        }
    }

    /// How many wait, stale ones too.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Whether a writer waits.
    pub(super) fn has_writer(&self) -> bool {
        self.writers > 0
    }

    /// What the first wants.
    pub(super) fn first(&self) -> Option<Want> {
        self.waiters.front().map(|request| request.want)
    }

    /// Puts `waiter`, which wants `want`, behind the others, or before them if it has waited before.
    ///
    /// # Safety
    /// The caller holds the lock that guards this queue (W1) and keeps W2 and W3 for `waiter`.
    pub(super) unsafe fn put(&mut self, waiter: &Waiter<R, Request>, want: Want, in_front: bool) {
        if want == Want::Write {
            self.writers += 1;
        }
        if in_front {
            // SAFETY: promised by the caller.
            unsafe { self.waiters.push_front(waiter) };
        } else {
            // SAFETY: as above.
            unsafe { self.waiters.push_back(waiter) };
        }
    }

    /// Takes `waiter`, which wants `want`, out, if it is in.
    ///
    /// # Safety
    /// The caller holds the lock that guards this queue (W1), and `waiter` is in no other.
    pub(super) unsafe fn remove(&mut self, waiter: &Waiter<R, Request>, want: Want) {
        // SAFETY: promised by the caller.
        if unsafe { self.waiters.remove(waiter) } {
            self.forget(want);
        }
    }

    /// Moves the first waiter to `woken` if it can be claimed; answers what it wanted, and whether it was.
    pub(super) fn take_front(
        &mut self,
        woken: &mut ClaimedChain<R, Request>,
        token: usize,
    ) -> Option<(Request, bool)> {
        let (request, is_claimed) = woken.take_front_as(&mut self.waiters, token)?;
        self.forget(request.want);
        Some((request, is_claimed))
    }

    /// A waiter that wanted `want` has left.
    fn forget(&mut self, want: Want) {
        if want == Want::Write {
            self.writers -= 1;
        }
    }
}
