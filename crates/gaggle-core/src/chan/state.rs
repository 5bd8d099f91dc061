//! The channel's protocol: a ring and two wait queues under one lock, which [`super::channel`] has.
//!
//! An unbuffered channel is one whose ring has no room: a value always goes from the sender's frame
//! to the receiver's.
//!
//! - I1: a receiver waits only while the ring is empty.
//! - I2: a sender waits only while the ring is full.
//! - I3: no task is readied, and nothing of the user's runs (no drop either), while the lock is held.
//! - I4: nobody begins to wait on a closed channel, and none ever becomes open again. Who waits when it
//!   is closed is woken: senders in the same critical section, receivers in one or several.
//! - I5: a value is in exactly one place: the sender's slot, the ring, or the receiver's slot. Whoever
//!   moves it out of a slot that is not its own has claimed the slot's owner, and holds the lock.
//! - I6: values leave in the order they were put in, and waiting tasks of a side are served in the
//!   order they began to wait.
//! - I7: a claimed waiter learns what happened from its slot alone: a sender's still full, or a
//!   receiver's still empty, means the channel was closed.
//!
//! "Waits" leaves out the stale waiters of W5 in [`crate::wait_queue`].
//!
//! Source: `hchan` of Go's `runtime/chan.go`; by contrast a failed claim is skipped here where Go
//! tests `selectDone`.

use crate::contract::Runtime;
use crate::task::Claimed;
use crate::wait_queue::WaitQueue;
use std::collections::VecDeque;
use std::ptr::NonNull;

/// Where a waiting task keeps the value it sends, or wants the one it receives.
pub(crate) type Slot<T> = NonNull<Option<T>>;

/// What came of one try to send or receive under the lock.
pub(crate) enum Step<R: Runtime> {
    /// The value has moved; the other side's task, if one waited, is to be readied after the lock.
    Done(Option<Claimed<R>>),
    /// The channel is closed (and drained, for a receive); nothing moved.
    Closed,
    /// Only waiting helps; nothing moved.
    Blocked,
}

/// What the lock guards.
pub(crate) struct State<T, R: Runtime> {
    /// Never grows: its whole capacity is allocated when the channel is made.
    pub(super) ring: VecDeque<T>,
    capacity: usize,
    pub(super) closed: bool,
    /// A select has locked the channel (I8 of [`super::channel`]).
    pub(super) watched: bool,
    pub(super) senders: WaitQueue<R, Slot<T>>,
    pub(super) receivers: WaitQueue<R, Slot<T>>,
}

/// A bit of [`State::readiness`]: a receive would not wait.
pub(super) const RECV_READY: u8 = 1;
/// A bit of [`State::readiness`]: a send would not wait.
pub(super) const SEND_READY: u8 = 2;

impl<T, R: Runtime> State<T, R> {
    /// An empty ring with room for `capacity` values, and nobody who waits.
    pub(super) fn new(capacity: usize) -> Self {
        State {
            ring: VecDeque::with_capacity(capacity),
            capacity,
            closed: false,
            watched: false,
            senders: WaitQueue::new(),
            receivers: WaitQueue::new(),
        }
    }

    /// Which of the two operations would not wait, stale waiters counted.
    #[inline]
    pub(super) fn readiness(&self) -> u8 {
        let recv = !self.ring.is_empty() || self.closed || !self.senders.is_empty();
        let send = self.closed || self.ring.len() < self.capacity || !self.receivers.is_empty();
        u8::from(recv) * RECV_READY + u8::from(send) * SEND_READY
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether a send would not block now.
    pub(super) fn can_send(&mut self) -> bool {
        self.closed || self.ring.len() < self.capacity || self.receivers.first_waiting().is_some()
    }

    /// Whether a receive would not block now.
    pub(super) fn can_recv(&mut self) -> bool {
        !self.ring.is_empty() || self.closed || self.senders.first_waiting().is_some()
    }

    /// Sends the value in `slot`, leaving it empty, if that needs no waiting.
    #[inline]
    pub(super) fn try_send(&mut self, slot: &mut Option<T>) -> Step<R> {
        self.check();
        if self.closed {
            return Step::Closed;
        }
        if let Some((target, claimed)) = self.receivers.pop_claimed() {
            debug_assert!(self.ring.is_empty(), "I1");
            // SAFETY: the receiver was claimed under this lock, so its slot is alive and ours until
            // it is readied (I5, W4), and no longer its owner's.
            unsafe { target.write(slot.take()) };
            return Step::Done(Some(claimed));
        }
        if self.ring.len() < self.capacity
            && let Some(value) = slot.take()
        {
            self.ring.push_back(value);
            return Step::Done(None);
        }
        Step::Blocked
    }

    /// Receives into `slot`, which is empty, if that needs no waiting.
    #[inline]
    pub(super) fn try_recv(&mut self, slot: &mut Option<T>) -> Step<R> {
        self.check();
        debug_assert!(slot.is_none(), "I5");
        if let Some(value) = self.ring.pop_front() {
            *slot = Some(value);
            // The sender that has waited longest puts its value where room has come (I2, I6).
            let Some((source, claimed)) = self.senders.pop_claimed() else {
                return Step::Done(None);
            };
            // SAFETY: the sender was claimed under this lock, so its slot is alive and ours until it
            // is readied (I5, W4).
            if let Some(value) = unsafe { take(source) } {
                self.ring.push_back(value);
            }
            return Step::Done(Some(claimed));
        }
        if let Some((source, claimed)) = self.senders.pop_claimed() {
            debug_assert!(self.capacity == 0, "I2");
            // SAFETY: as above.
            *slot = unsafe { take(source) };
            return Step::Done(Some(claimed));
        }
        if self.closed {
            Step::Closed
        } else {
            Step::Blocked
        }
    }

    /// I1, I2 and I4, which hold whenever the lock is free.
    fn check(&mut self) {
        debug_assert!(self.ring.len() <= self.capacity, "the ring never grows");
        debug_assert!(
            self.ring.is_empty() || self.receivers.first_waiting().is_none(),
            "I1"
        );
        debug_assert!(
            self.ring.len() == self.capacity || self.senders.first_waiting().is_none(),
            "I2"
        );
        debug_assert!(!self.closed || self.senders.is_empty(), "I4");
    }
}

/// Moves the value out of a slot.
///
/// # Safety
/// The slot is alive and nobody else reaches it during the call.
unsafe fn take<T>(slot: Slot<T>) -> Option<T> {
    let mut slot = slot;
    // SAFETY: promised by the caller.
    let slot = unsafe { slot.as_mut() };
    slot.take()
}
