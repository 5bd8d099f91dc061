//! A first-in, first-out queue of waiting tasks whose nodes live on those tasks' stacks.
//!
//! Nothing is allocated to wait. A node ([`Waiter`]) carries the ticket of the wait, what the claim
//! shall say, and a payload that tells whoever serves it what is wanted (a channel: the place of the
//! value; a semaphore: how many permits).
//!
//! - W1: a queue, and the links of the waiters in it, are touched only under the one lock that guards
//!   the queue.
//! - W2: a waiter is in at most one queue, and does not move in memory while it is in one.
//! - W3: the frame that owns a waiter is not left before the waiter is out of its queue: either the
//!   task that claimed its ticket took it out, under the lock and before the `ready`; or the owner did
//!   so itself, under the lock.
//! - W4: so a waiter found in a queue is alive while the lock is held, and a claimed one until its
//!   [`Claimed`] is readied.
//! - W5: a waiter whose ticket was claimed elsewhere (its deadline came, another arm of its select was
//!   served) may still stand in the queue. It is *stale*: it counts for nothing, and whoever meets it
//!   may take it out.
//!
//! Source: the `sudog` lists of Go's `runtime/chan.go`.

use crate::context::ContextError;
use crate::contract::{NEVER, Nanos, Runtime, WaitReason};
use crate::interrupt;
use crate::task::{Claimed, Ticket};
use std::cell::Cell;
use std::ptr;

/// One task that waits, for one thing.
pub(crate) struct Waiter<R: Runtime, P: Copy> {
    ticket: Ticket<R>,
    /// What the claim says to the task, if it is made through this waiter.
    token: usize,
    payload: P,
    linked: Cell<bool>,
    /// The duty to ready the task, while the waiter is in a [`ClaimedChain`].
    claimed: Cell<Option<Claimed<R>>>,
    previous: Cell<*const Waiter<R, P>>,
    next: Cell<*const Waiter<R, P>>,
}

impl<R: Runtime, P: Copy> Waiter<R, P> {
    /// A waiter that stands in no queue.
    pub(crate) fn new(ticket: Ticket<R>, token: usize, payload: P) -> Self {
        Waiter {
            ticket,
            token,
            payload,
            linked: Cell::new(false),
            claimed: Cell::new(None),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }
}

/// The tasks that wait, the one that has waited longest in front.
pub(crate) struct WaitQueue<R: Runtime, P: Copy> {
    head: *const Waiter<R, P>,
    tail: *const Waiter<R, P>,
}

impl<R: Runtime, P: Copy> WaitQueue<R, P> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        WaitQueue {
            head: ptr::null(),
            tail: ptr::null(),
        }
    }

    /// Whether no waiter, not even a stale one, is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Puts `waiter` behind all others.
    ///
    /// # Safety
    /// The caller holds the lock that guards this queue (W1) and keeps W2 and W3 for `waiter`.
    pub(crate) unsafe fn push_back(&mut self, waiter: &Waiter<R, P>) {
        debug_assert!(!waiter.linked.get(), "W2");
        let pointer: *const Waiter<R, P> = waiter;
        waiter.linked.set(true);
        waiter.previous.set(self.tail);
        waiter.next.set(ptr::null());
        if self.tail.is_null() {
            self.head = pointer;
        } else {
            // SAFETY: the tail is in this queue, so it is alive (W4): the caller holds the lock.
            let tail = unsafe { &*self.tail };
            tail.next.set(pointer);
        }
        self.tail = pointer;
    }

    /// Puts `waiter` before all others: it has waited before, and was woken in vain.
    ///
    /// # Safety
    /// As [`WaitQueue::push_back`].
    pub(crate) unsafe fn push_front(&mut self, waiter: &Waiter<R, P>) {
        debug_assert!(!waiter.linked.get(), "W2");
        let pointer: *const Waiter<R, P> = waiter;
        waiter.linked.set(true);
        waiter.previous.set(ptr::null());
        waiter.next.set(self.head);
        if self.head.is_null() {
            self.tail = pointer;
        } else {
            // SAFETY: the head is in this queue, so it is alive (W4): the caller holds the lock.
            let head = unsafe { &*self.head };
            head.previous.set(pointer);
        }
        self.head = pointer;
    }

    /// How many waiters are in the queue, stale ones too.
    pub(crate) fn len(&self) -> usize {
        let (mut count, mut next) = (0, self.head);
        while !next.is_null() {
            // SAFETY: it is in this queue, so it is alive (W4): `&self` comes from the lock.
            let waiter = unsafe { &*next };
            next = waiter.next.get();
            count += 1;
        }
        count
    }

    /// The payload of the first waiter, stale or not.
    pub(crate) fn front(&self) -> Option<P> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: the head is in this queue, so it is alive (W4): `&self` comes from the lock.
        let head = unsafe { &*self.head };
        Some(head.payload)
    }

    /// Takes `waiter` out. `false`: it was out already.
    ///
    /// # Safety
    /// The caller holds the lock that guards this queue (W1), and `waiter` is in no other queue.
    pub(crate) unsafe fn remove(&mut self, waiter: &Waiter<R, P>) -> bool {
        if !waiter.linked.replace(false) {
            return false;
        }
        let (previous, next) = (waiter.previous.get(), waiter.next.get());
        if previous.is_null() {
            self.head = next;
        } else {
            // SAFETY: the neighbour is in this queue, so it is alive (W4): the caller holds the lock.
            let previous = unsafe { &*previous };
            previous.next.set(next);
        }
        if next.is_null() {
            self.tail = previous;
        } else {
            // SAFETY: as for the neighbour in front.
            let next = unsafe { &*next };
            next.previous.set(previous);
        }
        true
    }

    /// The payload of the first waiter that can still be claimed, after taking out the stale ones in
    /// front of it (W5). It may become stale at any time, but stays in the queue while the lock is
    /// held.
    pub(crate) fn first_waiting(&mut self) -> Option<P> {
        while !self.head.is_null() {
            // SAFETY: the head is in this queue, so it is alive (W4): `&mut self` comes from the lock.
            let head = unsafe { &*self.head };
            if head.ticket.is_waiting() {
                return Some(head.payload);
            }
            // SAFETY: `&mut self` comes from the lock, and the head is in this queue (W2).
            unsafe { self.remove(head) };
        }
        None
    }

    /// Claims the first waiter that still can be, and takes it out with all stale ones before it. The
    /// caller serves the payload, releases the lock, and only then readies the task (W4).
    #[inline]
    pub(crate) fn pop_claimed(&mut self) -> Option<(P, Claimed<R>)> {
        if self.head.is_null() {
            return None;
        }
        self.pop()
            .map(|(waiter, claimed)| (waiter.payload, claimed))
    }

    /// As [`WaitQueue::pop_claimed`], answering the waiter, which is alive until the `ready`.
    fn pop<'a>(&mut self) -> Option<(&'a Waiter<R, P>, Claimed<R>)> {
        while !self.head.is_null() {
            if let Some(found) = self.pop_head() {
                return Some(found);
            }
        }
        None
    }

    /// Takes out the head, whatever it is, and answers it if it could be claimed.
    fn pop_head<'a>(&mut self) -> Option<(&'a Waiter<R, P>, Claimed<R>)> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: the head is in this queue, so it is alive (W4): `&mut self` comes from the lock.
        let head = unsafe { &*self.head };
        // SAFETY: `&mut self` comes from the lock, and the head is in this queue (W2).
        unsafe { self.remove(head) };
        let claimed = head.ticket.claim(head.token)?;
        Some((head, claimed))
    }
}

/// Claimed waiters on their way out of a critical section, to be readied behind it.
///
/// The chain uses the waiters' own links, which belong to the claimer until the `ready` (W4), so any
/// number leaves one critical section and nothing is allocated.
pub(crate) struct ClaimedChain<R: Runtime, P: Copy> {
    head: *const Waiter<R, P>,
    tail: *const Waiter<R, P>,
}

impl<R: Runtime, P: Copy> ClaimedChain<R, P> {
    /// A chain of nobody.
    pub(crate) const fn new() -> Self {
        ClaimedChain {
            head: ptr::null(),
            tail: ptr::null(),
        }
    }

    /// Claims the first waiter of `queue` that still can be and moves it here; see
    /// [`WaitQueue::pop_claimed`]. `false`: there was none.
    pub(crate) fn take_from(&mut self, queue: &mut WaitQueue<R, P>) -> bool {
        queue
            .pop()
            .map(|(waiter, claimed)| self.push(waiter, claimed))
            .is_some()
    }

    /// Takes the head of `queue` out and moves it here if it can be claimed; `false`: it was stale.
    pub(crate) fn take_head_from(&mut self, queue: &mut WaitQueue<R, P>) -> bool {
        queue
            .pop_head()
            .map(|(waiter, claimed)| self.push(waiter, claimed))
            .is_some()
    }

    /// Takes the first waiter of `queue` out, whatever it is, and moves it here if it can be claimed,
    /// which is done with `token` instead of the waiter's own. Answers its payload, and whether it was
    /// claimed.
    pub(crate) fn take_front_as(
        &mut self,
        queue: &mut WaitQueue<R, P>,
        token: usize,
    ) -> Option<(P, bool)> {
        if queue.head.is_null() {
            return None;
        }
        // SAFETY: the head is in this queue, so it is alive (W4): `&mut` comes from the lock.
        let head = unsafe { &*queue.head };
        // SAFETY: `&mut` comes from the lock, and the head is in this queue (W2).
        unsafe { queue.remove(head) };
        let claimed = head.ticket.claim(token);
        let is_claimed = claimed.is_some();
        // A stale one belongs to its owner from here on, who needs the lock to go: it is alive still.
        let payload = head.payload;
        if let Some(claimed) = claimed {
            self.push(head, claimed);
        }
        Some((payload, is_claimed))
    }

    fn push(&mut self, waiter: &Waiter<R, P>, claimed: Claimed<R>) {
        waiter.claimed.set(Some(claimed));
        waiter.next.set(ptr::null());
        if self.tail.is_null() {
            self.head = waiter;
        } else {
            // SAFETY: the tail was claimed and not readied yet, so it is alive (W4).
            let tail = unsafe { &*self.tail };
            tail.next.set(waiter);
        }
        self.tail = waiter;
    }

    /// Readies all, in the order they were claimed. The caller holds no lock.
    pub(crate) fn ready_all(self) {
        let mut next = self.head;
        while !next.is_null() {
            // SAFETY: it was claimed and not readied yet, so it is alive (W4).
            let waiter = unsafe { &*next };
            let claimed = waiter.claimed.take();
            // Before the `ready`, after which the waiter may be gone.
            next = waiter.next.get();
            if let Some(claimed) = claimed {
                claimed.ready();
            }
        }
    }
}

/// Parks the calling task until its ticket is claimed, by another task or by `deadline`. The end of a
/// context that it runs under does not end this wait.
pub(crate) fn wait<R: Runtime>(ticket: Ticket<R>, deadline: Nanos, reason: WaitReason) {
    R::note_wait(reason);
    // A frame that unwinds here would leave its waiter behind in a queue, dangling (W3).
    let abort = AbortOnUnwind;
    if deadline == NEVER {
        R::park();
    } else {
        R::park_until(ticket, deadline);
    }
    std::mem::forget(abort);
}

/// As [`wait`], but the end of a context that the task runs under ends it too, with the token
/// [`TIMED_OUT`](crate::contract::TIMED_OUT) as a deadline has; then it answers how the context ended.
pub(crate) fn wait_under_context<R: Runtime>(
    ticket: Ticket<R>,
    deadline: Nanos,
    reason: WaitReason,
) -> Option<ContextError> {
    R::note_wait(reason);
    // As in `wait`.
    let abort = AbortOnUnwind;
    let ended = interrupt::park(ticket, deadline);
    std::mem::forget(abort);
    ended
}

/// Ends the process if it is dropped.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
