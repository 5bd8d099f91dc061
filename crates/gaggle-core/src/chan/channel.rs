//! A channel: the state, its lock, and the tasks that send, receive, wait, and come and go.
//!
//! I1 to I7 are in [`super::state`].
//!
//! - I8: once a select has locked the channel, [`Channel::seems`] says after each unlock whether a receive or
//!   a send would not have waited then, stale waiters counted; before that it says that neither would.
//!   Nothing but a select's first glance depends on it.

use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::select_lock::{Guard, Guarded};
use crate::shim::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::task::{Claimed, Ticket};
use crate::wait_queue::{ClaimedChain, Waiter, wait_under_context};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::error::{RecvTimeoutError, SendTimeoutError};
use super::state::{RECV_READY, SEND_READY, Slot, State, Step};

/// The token of a wait that has only one waiter.
const ONLY: usize = 0;

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
            guarded: Guarded::new(State::new(capacity)),
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
    #[allow(
        clippy::mut_from_ref,
        reason = "the lock makes it the only one, as the caller promises"
    )]
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

    /// Whether there is one receiver; who asks holds it, so no other can appear meanwhile but by it.
    pub(super) fn has_one_receiver(&self) -> bool {
        // Acquire: pairs with the AcqRel in `drop_receiver`: the others have done what they did.
        self.receivers.load(Ordering::Acquire) == 1
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
