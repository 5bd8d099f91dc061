//! The channel's protocol: a ring and two wait queues under one lock.
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
//! - I8: once a select has locked the channel, [`Channel::seems`] says after each unlock whether a receive or
//!   a send would not have waited then, stale waiters counted; before that it says that neither would.
//!   Nothing but a select's first glance depends on it.
//!
//! "Waits" leaves out the stale waiters of W5 in [`crate::wait_queue`].
//!
//! Source: `hchan` of Go's `runtime/chan.go`; by contrast a failed claim is skipped here where Go
//! tests `selectDone`.

use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::select_lock::{Guard, Guarded};
use crate::shim::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::task::{Claimed, Ticket};
use crate::wait_queue::{ClaimedChain, WaitQueue, Waiter, wait_under_context};
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::error::{RecvTimeoutError, SendTimeoutError};

/// Where a waiting task keeps the value it sends, or wants the one it receives.
pub(crate) type Slot<T> = NonNull<Option<T>>;

/// The token of a wait that has only one waiter.
const ONLY: usize = 0;

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
    ring: VecDeque<T>,
    capacity: usize,
    closed: bool,
    /// A select has locked the channel (I8).
    watched: bool,
    pub(super) senders: WaitQueue<R, Slot<T>>,
    pub(super) receivers: WaitQueue<R, Slot<T>>,
}

/// A bit of [`Channel::seems`]: a receive would not wait.
const RECV_READY: u8 = 1;
/// A bit of [`Channel::seems`]: a send would not wait.
const SEND_READY: u8 = 2;

impl<T, R: Runtime> State<T, R> {
    /// What [`Channel::seems`] is to say (I8).
    #[inline]
    fn readiness(&self) -> u8 {
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

/// One channel; shared by its senders and receivers, which it counts.
pub(crate) struct Channel<T, R: Runtime> {
    guarded: Guarded<State<T, R>, R::Lock>,
    /// What a select sees at a glance (I8); written under the lock.
    seems: AtomicU8,
    capacity: usize,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: the values and the waiters' slots are reached only under the lock (W1, I5), each by one
// task at a time, so sharing the channel moves values between threads and no more: `T: Send`.
unsafe impl<T: Send, R: Runtime> Sync for Channel<T, R> {}
// SAFETY: as above; the channel owns the values in its ring, and waiters point into frames that
// outlive their wait (W3), not into a thread.
unsafe impl<T: Send, R: Runtime> Send for Channel<T, R> {}

/// How many receivers are woken in one critical section when the channel is closed.
const CLOSED_AT_ONCE: usize = if cfg!(loom) { 1 } else { 64 };

impl<T, R: Runtime> Channel<T, R> {
    /// An open channel with room for `capacity` values, one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Self {
        Channel {
            guarded: Guarded::new(State {
                ring: VecDeque::with_capacity(capacity),
                capacity,
                closed: false,
                watched: false,
                senders: WaitQueue::new(),
                receivers: WaitQueue::new(),
            }),
            seems: AtomicU8::new(RECV_READY | SEND_READY),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// Takes the lock until the answer drops.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_, T, R> {
        Locked {
            channel: self,
            state: self.guarded.lock(),
        }
    }

    /// Takes the lock for a select, until [`Channel::unlock_raw`].
    pub(super) fn lock_raw(&self) {
        self.guarded.lock_raw();
        // SAFETY: the lock is held, and this reference ends with the statement.
        unsafe { self.guarded.state() }.watched = true;
    }

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller took it by [`Channel::lock_raw`], and has no reference into the state left.
    pub(super) unsafe fn unlock_raw(&self) {
        // SAFETY: the caller holds the lock, and this reference ends with the statement.
        self.publish(unsafe { self.guarded.state() });
        // SAFETY: the caller holds the lock and gives it up once.
        unsafe { self.guarded.unlock_raw() };
    }

    /// The state.
    ///
    /// # Safety
    /// The caller took the lock by [`Channel::lock_raw`], and has no other reference into the state while
    /// this one lives.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn state(&self) -> &mut State<T, R> {
        // SAFETY: promised by the caller.
        unsafe { self.guarded.state() }
    }

    /// Where the lock is.
    pub(super) fn address(&self) -> usize {
        self.guarded.address()
    }

    /// Lets selects see how `state` is, before the lock is given up (I8).
    #[inline]
    fn publish(&self, state: &State<T, R>) {
        if state.watched {
            let readiness = state.readiness();
            // Relaxed, here and below: a glance proves nothing, and the lock decides. Written only when
            // it changes, so that the line stays with those who glance.
            if self.seems.load(Ordering::Relaxed) != readiness {
                self.seems.store(readiness, Ordering::Relaxed);
            }
        }
    }

    /// Whether a receive seems not to have to wait.
    #[inline]
    pub(super) fn seems_receivable(&self) -> bool {
        // Relaxed: as in `publish`.
        self.seems.load(Ordering::Relaxed) & RECV_READY != 0
    }

    /// Whether a send seems not to have to wait.
    #[inline]
    pub(super) fn seems_sendable(&self) -> bool {
        // Relaxed: as in `publish`.
        self.seems.load(Ordering::Relaxed) & SEND_READY != 0
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn add_sender(&self) {
        // Relaxed: as for any reference count, the new reference comes from an old one.
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_receiver(&self) {
        // Relaxed: as in `add_sender`.
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    /// A sender is gone; the last one closes the channel.
    pub(super) fn drop_sender(&self) {
        // AcqRel: pairs with itself in the other drops, so that the last one comes after all of them.
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// A receiver is gone; the last one closes the channel and drops the values nobody can receive.
    pub(super) fn drop_receiver(&self) {
        // AcqRel: as in `drop_sender`.
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
            let undeliverable = std::mem::take(&mut self.lock().ring);
            // Behind the lock (I3): a value's own drop may do anything, use this channel even.
            drop(undeliverable);
        }
    }

    /// Closes the channel and wakes all who wait on it (I4).
    ///
    /// Of many receivers some are readied before the next are taken: others can begin to run them, and
    /// each is still in the processor's cache when it is readied.
    pub(super) fn close(&self) {
        loop {
            let mut woken = ClaimedChain::new();
            let mut state = self.lock();
            state.closed = true;
            // Their slots are left as they are, which tells them why they were woken (I7).
            while woken.take_from(&mut state.senders) {}
            let is_last = !(0..CLOSED_AT_ONCE).all(|_| woken.take_from(&mut state.receivers));
            drop(state);
            woken.ready_all();
            if is_last {
                return;
            }
        }
    }

    /// Sends, waiting until `deadline` at most.
    #[inline]
    pub(super) fn send(&self, value: T, deadline: Nanos) -> Result<(), SendTimeoutError<T>> {
        let mut slot = Some(value);
        let mut state = self.lock();
        match state.try_send(&mut slot) {
            Step::Done(claimed) => {
                drop(state);
                ready(claimed);
                Ok(())
            }
            Step::Closed => {
                drop(state);
                not_sent(slot, SendTimeoutError::Closed)
            }
            Step::Blocked => self.send_waiting(state, slot, deadline),
        }
    }

    /// The part of [`Channel::send`] that parks.
    #[cold]
    fn send_waiting(
        &self,
        mut state: Locked<'_, T, R>,
        slot: Option<T>,
        deadline: Nanos,
    ) -> Result<(), SendTimeoutError<T>> {
        if has_passed::<R>(deadline) {
            drop(state);
            return not_sent(slot, SendTimeoutError::Timeout);
        }
        let slot = UnsafeCell::new(slot);
        let ticket = Ticket::take();
        let waiter = Waiter::new(ticket, ONLY, slot_of(&slot));
        // SAFETY: the guard holds the lock (W1); the waiter stays in this frame, which is left only
        // after it was claimed, and so taken out, or removed below (W2, W3).
        unsafe { state.senders.push_back(&waiter) };
        drop(state);
        wait_under_context(ticket, deadline, WaitReason::ChanSend);
        let timed_out = ticket.token() == TIMED_OUT;
        if timed_out {
            let mut state = self.lock();
            // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
            unsafe { state.senders.remove(&waiter) };
        }
        match slot.into_inner() {
            None => Ok(()),
            Some(value) if timed_out => Err(SendTimeoutError::Timeout(value)),
            Some(value) => Err(SendTimeoutError::Closed(value)),
        }
    }

    /// Receives, waiting until `deadline` at most.
    #[inline]
    pub(super) fn recv(&self, deadline: Nanos) -> Result<T, RecvTimeoutError> {
        let mut slot = None;
        let mut state = self.lock();
        match state.try_recv(&mut slot) {
            Step::Done(claimed) => {
                drop(state);
                ready(claimed);
                slot.ok_or(RecvTimeoutError::Closed)
            }
            Step::Closed => Err(RecvTimeoutError::Closed),
            Step::Blocked => self.recv_waiting(state, deadline),
        }
    }

    /// The part of [`Channel::recv`] that parks.
    #[cold]
    fn recv_waiting(
        &self,
        mut state: Locked<'_, T, R>,
        deadline: Nanos,
    ) -> Result<T, RecvTimeoutError> {
        if has_passed::<R>(deadline) {
            return Err(RecvTimeoutError::Timeout);
        }
        let slot = UnsafeCell::new(None);
        let ticket = Ticket::take();
        let waiter = Waiter::new(ticket, ONLY, slot_of(&slot));
        // SAFETY: as in `send_waiting`.
        unsafe { state.receivers.push_back(&waiter) };
        drop(state);
        wait_under_context(ticket, deadline, WaitReason::ChanReceive);
        if ticket.token() == TIMED_OUT {
            let mut state = self.lock();
            // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
            unsafe { state.receivers.remove(&waiter) };
            return Err(RecvTimeoutError::Timeout);
        }
        slot.into_inner().ok_or(RecvTimeoutError::Closed)
    }
}

/// Access to the state of a locked channel; dropping it unlocks.
pub(super) struct Locked<'a, T, R: Runtime> {
    channel: &'a Channel<T, R>,
    /// Dropped, and so unlocked, after [`Locked::drop`] has run.
    state: Guard<'a, State<T, R>, R::Lock>,
}

impl<T, R: Runtime> Deref for Locked<'_, T, R> {
    type Target = State<T, R>;
    #[inline]
    fn deref(&self) -> &State<T, R> {
        &self.state
    }
}

impl<T, R: Runtime> DerefMut for Locked<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State<T, R> {
        &mut self.state
    }
}

impl<T, R: Runtime> Drop for Locked<'_, T, R> {
    #[inline]
    fn drop(&mut self) {
        self.channel.publish(&self.state);
    }
}

/// Readies the other side, if it waited. No lock is held by the caller (I3).
#[inline]
pub(super) fn ready<R: Runtime>(claimed: Option<Claimed<R>>) {
    if let Some(claimed) = claimed {
        claimed.ready_near();
    }
}

/// The pointer by which others reach a value slot of this frame.
fn slot_of<T>(slot: &UnsafeCell<Option<T>>) -> Slot<T> {
    // `UnsafeCell::get` never answers null.
    NonNull::new(slot.get()).expect("a reference is never null")
}

/// Whether a deadline is over; the clock is read only if there is one.
fn has_passed<R: Runtime>(deadline: Nanos) -> bool {
    deadline != NEVER && deadline <= R::now()
}

/// The error that hands back the value in `slot`.
#[cold]
fn not_sent<T>(
    slot: Option<T>,
    error: fn(T) -> SendTimeoutError<T>,
) -> Result<(), SendTimeoutError<T>> {
    match slot {
        Some(value) => Err(error(value)),
        None => unreachable!("I5: a send that did not happen leaves the value in its slot"),
    }
}
