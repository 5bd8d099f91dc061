//! Sending and receiving as operations of a select.

use super::channel::ready;
use super::state::{Slot, Step};
use super::{Flavor, Receiver, RecvError, SendError, Sender};
use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT};
use crate::select::{Arm, Glance, NO_LOCK};
use crate::task::{Claimed, Ticket};
use crate::wait_queue::Waiter;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A waiter's place in an arm. It is written by the owner before the waiter enters a queue and after
/// it has left, never while others can see it.
type Place<T, R> = UnsafeCell<Option<Waiter<R, Slot<T>>>>;

/// Readies the task that a step served, if any; whether the step was the operation's last.
fn finish<R: Runtime>(step: Step<R>) -> bool {
    match step {
        Step::Done(claimed) => {
            ready(claimed);
            true
        }
        Step::Closed => true,
        Step::Blocked => false,
    }
}

/// Receiving from a channel, as an operation of a select.
pub struct RecvArm<'a, T, R: Runtime> {
    receiver: &'a Receiver<T, R>,
    slot: UnsafeCell<Option<T>>,
    waiter: Place<T, R>,
    chosen: Cell<bool>,
}

impl<'a, T, R: Runtime> RecvArm<'a, T, R> {
    /// The operation of receiving the next value of `receiver`.
    pub fn new(receiver: &'a Receiver<T, R>) -> Self {
        RecvArm {
            receiver,
            slot: UnsafeCell::new(None),
            waiter: UnsafeCell::new(None),
            chosen: Cell::new(false),
        }
    }

    /// Whether a select has chosen this operation, since the last [`RecvArm::take`].
    pub fn is_chosen(&self) -> bool {
        self.chosen.get()
    }

    /// What was received; the arm may then take part in another select.
    ///
    /// # Errors
    /// When the channel is closed and drained.
    ///
    /// # Panics
    /// When no select has chosen this operation.
    pub fn take(&mut self) -> Result<T, RecvError> {
        assert!(
            self.chosen.replace(false),
            "the select has not chosen this operation"
        );
        self.slot.get_mut().take().ok_or(RecvError)
    }
}

// SAFETY: the lock is the channel's, which its address names; the waiter stays in the arm, which is
// borrowed while it waits, and is removed under the lock.
unsafe impl<T, R: Runtime> Arm<R> for RecvArm<'_, T, R> {
    fn lock_address(&self) -> usize {
        match &self.receiver.flavor {
            Flavor::Shared(channel) => channel.address(),
            Flavor::Timed(timed) => timed.guarded.address(),
            Flavor::Never => NO_LOCK,
        }
    }

    fn lock(&self) {
        match &self.receiver.flavor {
            Flavor::Shared(channel) => channel.lock_raw(),
            Flavor::Timed(timed) => timed.guarded.lock_raw(),
            Flavor::Never => {}
        }
    }

    unsafe fn unlock(&self) {
        match &self.receiver.flavor {
            // SAFETY: the caller took it by `lock`.
            Flavor::Shared(channel) => unsafe { channel.unlock_raw() },
            // SAFETY: as above.
            Flavor::Timed(timed) => unsafe { timed.guarded.unlock_raw() },
            Flavor::Never => {}
        }
    }

    fn glance(&self) -> Glance {
        let (is_ready, deadline) = match &self.receiver.flavor {
            Flavor::Shared(channel) => (channel.seems_receivable(), NEVER),
            Flavor::Timed(timed) => (false, timed.next()),
            Flavor::Never => (false, NEVER),
        };
        Glance { is_ready, deadline }
    }

    fn complete_alone(&self, _now: Nanos) -> bool {
        let Flavor::Shared(channel) = &self.receiver.flavor else {
            return false; // the exact way reads the clock
        };
        let mut state = channel.lock();
        // SAFETY: the arm stands in no queue, so only its owner, the caller, reaches the slot.
        let step = state.try_recv(unsafe { &mut *self.slot.get() });
        drop(state);
        finish(step)
    }

    unsafe fn is_ready(&self, now: Nanos) -> bool {
        match &self.receiver.flavor {
            Flavor::Shared(channel) => {
                // SAFETY: the caller holds the lock, and this reference ends with the statement.
                let state = unsafe { channel.state() };
                state.can_recv()
            }
            Flavor::Timed(timed) => timed.next() != NEVER && timed.next() <= now,
            Flavor::Never => false,
        }
    }

    unsafe fn try_complete(&self, now: Nanos) -> Option<Option<Claimed<R>>> {
        // SAFETY: the arm stands in no queue, so only its owner, the caller, reaches the slot.
        let slot = unsafe { &mut *self.slot.get() };
        let channel = match &self.receiver.flavor {
            Flavor::Shared(channel) => channel,
            Flavor::Timed(timed) => {
                // SAFETY: the caller holds the lock, and this reference ends with the statement.
                let state = unsafe { timed.guarded.state() };
                *slot = timed.take(state, now);
                return slot.is_some().then_some(None);
            }
            Flavor::Never => return None,
        };
        // SAFETY: the caller holds the lock, and this reference ends with the call.
        let state = unsafe { channel.state() };
        match state.try_recv(slot) {
            Step::Done(claimed) => Some(claimed),
            Step::Closed => Some(None),
            Step::Blocked => None,
        }
    }

    unsafe fn enqueue(&self, ticket: Ticket<R>, token: usize) {
        // A timer's claim means "look again" (M4 of `timed`).
        let token = match &self.receiver.flavor {
            Flavor::Shared(_) => token,
            Flavor::Timed(_) => TIMED_OUT,
            Flavor::Never => return,
        };
        let Some(slot) = NonNull::new(self.slot.get()) else {
            return;
        };
        // SAFETY: the waiter of the wait before stands in no queue any more, so nobody sees this.
        let place = unsafe { &mut *self.waiter.get() };
        let waiter = &*place.insert(Waiter::new(ticket, token, slot));
        match &self.receiver.flavor {
            Flavor::Shared(channel) => {
                // SAFETY: the caller holds the lock, and this reference ends with the call.
                let state = unsafe { channel.state() };
                // SAFETY: the caller holds the lock (W1) and keeps the arm until it has left (W2, W3).
                unsafe { state.receivers.push_back(waiter) };
            }
            Flavor::Timed(timed) => {
                // SAFETY: as above, for both.
                let state = unsafe { timed.guarded.state() };
                // SAFETY: as above.
                unsafe { state.waiters.push_back(waiter) };
            }
            Flavor::Never => {}
        }
    }

    fn dequeue(&self) {
        // SAFETY: only shared references to the waiter exist while it may be in a queue.
        let Some(waiter) = (unsafe { &*self.waiter.get() }) else {
            return;
        };
        match &self.receiver.flavor {
            Flavor::Shared(channel) => {
                let mut state = channel.lock();
                // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
                unsafe { state.receivers.remove(waiter) };
            }
            Flavor::Timed(timed) => {
                let mut state = timed.guarded.lock();
                // SAFETY: as above.
                unsafe { state.waiters.remove(waiter) };
            }
            Flavor::Never => {}
        }
    }

    fn deadline(&self) -> Nanos {
        match &self.receiver.flavor {
            Flavor::Timed(timed) => timed.next(),
            _ => NEVER,
        }
    }

    fn prepare(&mut self) {
        self.chosen.set(false);
        *self.slot.get_mut() = None;
    }

    fn choose(&self) {
        self.chosen.set(true);
    }
}

impl<T, R: Runtime> fmt::Debug for RecvArm<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvArm")
            .field("chosen", &self.chosen.get())
            .finish_non_exhaustive()
    }
}

/// Sending on a channel, as an operation of a select.
///
/// It sends what its slot holds. A value that was not sent stays in the slot, and an arm whose slot
/// is empty is never ready (the part of Go's nil channel).
pub struct SendArm<'a, T, R: Runtime> {
    sender: &'a Sender<T, R>,
    slot: Slot<T>,
    /// The arm is the one user of the slot.
    borrow: PhantomData<&'a mut Option<T>>,
    waiter: Place<T, R>,
    chosen: Cell<bool>,
}

impl<'a, T, R: Runtime> SendArm<'a, T, R> {
    /// The operation of sending what is in `slot`.
    pub fn new(sender: &'a Sender<T, R>, slot: &'a mut Option<T>) -> Self {
        SendArm {
            sender,
            slot: NonNull::from(slot),
            borrow: PhantomData,
            waiter: UnsafeCell::new(None),
            chosen: Cell::new(false),
        }
    }

    /// Whether a select has chosen this operation, since the last [`SendArm::take`].
    pub fn is_chosen(&self) -> bool {
        self.chosen.get()
    }

    /// What came of the send; the arm may then take part in another select.
    ///
    /// # Errors
    /// Returns the value if the channel was closed or had no receiver left.
    ///
    /// # Panics
    /// When no select has chosen this operation.
    pub fn take(&mut self) -> Result<(), SendError<T>> {
        assert!(
            self.chosen.replace(false),
            "the select has not chosen this operation"
        );
        match self.slot_mut().take() {
            None => Ok(()),
            Some(value) => Err(SendError(value)),
        }
    }

    /// The slot, to look at the value, take it back or put another in.
    pub fn slot_mut(&mut self) -> &mut Option<T> {
        // SAFETY: the arm borrows the slot alone; `&mut self` shows that no select uses the arm.
        unsafe { self.slot.as_mut() }
    }

    /// Whether there is anything to send. The caller is the owner, before the arm enters a queue.
    fn has_value(&self) -> bool {
        // SAFETY: the arm stands in no queue, so only its owner reaches the slot.
        let slot = unsafe { self.slot.as_ref() };
        slot.is_some()
    }
}

// SAFETY: as for `RecvArm`.
unsafe impl<T, R: Runtime> Arm<R> for SendArm<'_, T, R> {
    fn lock_address(&self) -> usize {
        self.sender.channel.address()
    }

    fn lock(&self) {
        self.sender.channel.lock_raw();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller took it by `lock`.
        unsafe { self.sender.channel.unlock_raw() };
    }

    fn glance(&self) -> Glance {
        Glance {
            is_ready: self.has_value() && self.sender.channel.seems_sendable(),
            deadline: NEVER,
        }
    }

    fn complete_alone(&self, _now: Nanos) -> bool {
        let mut state = self.sender.channel.lock();
        // SAFETY: the arm stands in no queue, so only its owner, the caller, reaches the slot.
        let slot = unsafe { &mut *self.slot.as_ptr() };
        let step = if slot.is_some() {
            state.try_send(slot)
        } else {
            Step::Blocked
        };
        drop(state);
        finish(step)
    }

    unsafe fn is_ready(&self, _now: Nanos) -> bool {
        // SAFETY: the caller holds the lock, and this reference ends with the statement.
        let state = unsafe { self.sender.channel.state() };
        self.has_value() && state.can_send()
    }

    unsafe fn try_complete(&self, _now: Nanos) -> Option<Option<Claimed<R>>> {
        // SAFETY: the caller holds the lock, and this reference ends with the call.
        let state = unsafe { self.sender.channel.state() };
        // SAFETY: the arm stands in no queue, so only its owner, the caller, reaches the slot.
        let slot = unsafe { &mut *self.slot.as_ptr() };
        if slot.is_none() {
            return None;
        }
        match state.try_send(slot) {
            Step::Done(claimed) => Some(claimed),
            Step::Closed => Some(None),
            Step::Blocked => None,
        }
    }

    unsafe fn enqueue(&self, ticket: Ticket<R>, token: usize) {
        // SAFETY: the waiter of the wait before stands in no queue any more, so nobody sees this.
        let place = unsafe { &mut *self.waiter.get() };
        *place = None;
        if !self.has_value() {
            return;
        }
        let waiter = &*place.insert(Waiter::new(ticket, token, self.slot));
        // SAFETY: the caller holds the lock, and this reference ends with the call.
        let state = unsafe { self.sender.channel.state() };
        // SAFETY: the caller holds the lock (W1) and keeps the arm until it has left (W2, W3).
        unsafe { state.senders.push_back(waiter) };
    }

    fn dequeue(&self) {
        let mut state = self.sender.channel.lock();
        // SAFETY: only shared references to the waiter exist while it may be in a queue.
        if let Some(waiter) = unsafe { &*self.waiter.get() } {
            // SAFETY: the guard holds the lock, and the waiter was put into this queue only.
            unsafe { state.senders.remove(waiter) };
        }
    }

    fn deadline(&self) -> Nanos {
        NEVER
    }

    fn prepare(&mut self) {
        self.chosen.set(false);
    }

    fn choose(&self) {
        self.chosen.set(true);
    }
}

impl<T, R: Runtime> fmt::Debug for SendArm<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendArm")
            .field("chosen", &self.chosen.get())
            .finish_non_exhaustive()
    }
}
