//! Channels: typed, bounded conduits between tasks, as Go's.
//!
//! `state` holds the protocol and its invariants, `channel` the tasks that wait, `timed` the channels that the clock feeds,
//! `arm` how both take part in a select. The types here are handles that count themselves.

mod arm;
mod channel;
mod error;
mod state;
mod timed;

pub use arm::{RecvArm, SendArm};
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use timed::Clock;

use crate::contract::{NEVER, Nanos, Runtime, WaitReason};
use channel::{Channel, ready};
use state::Step;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use timed::Timed;

/// A type without values: what a channel carries that only ever closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Never {}

/// A channel without room: a send waits for its receive, and a value goes from frame to frame.
pub fn unbuffered<T, R: Runtime>() -> (Sender<T, R>, Receiver<T, R>) {
    bounded(0)
}

/// A channel with room for `capacity` values; 0 is [`unbuffered`].
///
/// # Panics
/// When the room exceeds the address space.
pub fn bounded<T, R: Runtime>(capacity: usize) -> (Sender<T, R>, Receiver<T, R>) {
    let channel = Arc::new(Channel::new(capacity));
    let sender = Sender {
        channel: Arc::clone(&channel),
    };
    (sender, Receiver::of(Flavor::Shared(channel)))
}

/// The sending side of a channel.
pub struct Sender<T, R: Runtime> {
    channel: Arc<Channel<T, R>>,
}

impl<T, R: Runtime> Sender<T, R> {
    /// Sends `value`, parking the task while the channel is full.
    ///
    /// # Errors
    /// Returns `value` once the channel is closed or no receiver is left.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.channel
            .send(value, NEVER)
            .map_err(|error| SendError(error.into_inner()))
    }

    /// Sends `value` if that needs no waiting.
    ///
    /// # Errors
    /// Returns `value`, and why it was not sent.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut slot = Some(value);
        let step = self.channel.lock().try_send(&mut slot);
        match (step, slot) {
            (Step::Closed, Some(value)) => Err(TrySendError::Closed(value)),
            (Step::Blocked, Some(value)) => Err(TrySendError::Full(value)),
            (Step::Done(claimed), _) => {
                ready(claimed);
                Ok(())
            }
            (_, None) => unreachable!("I5: a send that did not happen leaves its value"),
        }
    }

    /// Sends `value`, parking the task until `deadline` at most. The clock is read only if it would
    /// have to wait.
    ///
    /// # Errors
    /// Returns `value`, and why it was not sent.
    #[inline]
    pub fn send_deadline(&self, value: T, deadline: Nanos) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(value, deadline)
    }

    /// Sends `value`, parking the task for `timeout` at most.
    ///
    /// # Errors
    /// Returns `value`, and why it was not sent.
    pub fn send_timeout(&self, value: T, timeout: Nanos) -> Result<(), SendTimeoutError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendTimeoutError::Closed(value)),
            Err(TrySendError::Full(value)) => {
                self.send_deadline(value, R::now().saturating_add(timeout))
            }
        }
    }

    /// Closes the channel: no more values go in, and receivers drain what is there. Closing again
    /// changes nothing.
    pub fn close(&self) {
        self.channel.close();
    }

    /// Whether the channel was closed, or has lost its last receiver.
    pub fn is_closed(&self) -> bool {
        self.channel.lock().is_closed()
    }

    /// How many values the channel holds.
    pub fn len(&self) -> usize {
        self.channel.lock().len()
    }

    /// Whether the channel holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the channel has room for; 0: it is unbuffered.
    pub fn capacity(&self) -> usize {
        self.channel.capacity()
    }

    /// Whether both are handles of one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }
}

impl<T, R: Runtime> Clone for Sender<T, R> {
    fn clone(&self) -> Self {
        self.channel.add_sender();
        Sender {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl<T, R: Runtime> Drop for Sender<T, R> {
    fn drop(&mut self) {
        self.channel.drop_sender();
    }
}

impl<T, R: Runtime> fmt::Debug for Sender<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// What is behind a receiver.
enum Flavor<T, R: Runtime> {
    /// A channel with senders.
    Shared(Arc<Channel<T, R>>),
    /// The clock.
    Timed(Arc<Timed<T, R>>),
    /// Nothing: it never becomes ready, and costs no lock. Go's nil channel.
    Never,
}

/// The receiving side of a channel.
pub struct Receiver<T, R: Runtime> {
    flavor: Flavor<T, R>,
}

impl<T, R: Runtime> Receiver<T, R> {
    const fn of(flavor: Flavor<T, R>) -> Self {
        Receiver { flavor }
    }

    const fn timed(timed: Arc<Timed<T, R>>) -> Self {
        Self::of(Flavor::Timed(timed))
    }

    /// Whether this is the only receiver of its channel.
    pub(crate) fn is_alone(&self) -> bool {
        match &self.flavor {
            Flavor::Shared(channel) => channel.has_one_receiver(),
            Flavor::Timed(_) | Flavor::Never => false,
        }
    }

    /// A receiver that never becomes ready and is never closed.
    pub const fn never() -> Self {
        Self::of(Flavor::Never)
    }

    /// A receiver of one value, made by `make` once `at` has come, of the time that has passed since; it
    /// is never closed.
    pub fn at(at: Nanos, make: fn(Nanos) -> T) -> Self {
        Self::timed(Arc::new(Timed::new(at, 0, make)))
    }

    /// A receiver of a value each `period`, from one period after now on. A slow receiver misses
    /// values; it is never closed.
    ///
    /// # Panics
    /// When `period` is 0.
    pub fn tick(period: Nanos, make: fn(Nanos) -> T) -> Self {
        assert!(period > 0, "the period of a tick must be longer than zero");
        let first = R::now().saturating_add(period);
        Self::timed(Arc::new(Timed::new(first, period, make)))
    }

    /// Receives the next value, parking the task while there is none.
    ///
    /// # Errors
    /// When the channel is closed and drained.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_deadline(NEVER).map_err(|_| RecvError)
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    /// When there is none, and whether there can be one yet.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let channel = match &self.flavor {
            Flavor::Shared(channel) => channel,
            Flavor::Timed(timed) => return timed.try_recv(R::now()).ok_or(TryRecvError::Empty),
            Flavor::Never => return Err(TryRecvError::Empty),
        };
        let mut slot = None;
        let step = channel.lock().try_recv(&mut slot);
        match step {
            Step::Done(claimed) => {
                ready(claimed);
                slot.ok_or(TryRecvError::Closed)
            }
            Step::Closed => Err(TryRecvError::Closed),
            Step::Blocked => Err(TryRecvError::Empty),
        }
    }

    /// Receives the next value, parking the task until `deadline` at most. The clock is read only if
    /// it would have to wait.
    ///
    /// # Errors
    /// When `deadline` came first, or the channel is closed and drained.
    #[inline]
    pub fn recv_deadline(&self, deadline: Nanos) -> Result<T, RecvTimeoutError> {
        match &self.flavor {
            Flavor::Shared(channel) => channel.recv(deadline),
            Flavor::Timed(timed) => timed.recv(deadline).ok_or(RecvTimeoutError::Timeout),
            Flavor::Never => {
                let ticket = crate::task::Ticket::<R>::take();
                crate::wait_queue::wait_under_context(ticket, deadline, WaitReason::Never);
                Err(RecvTimeoutError::Timeout)
            }
        }
    }

    /// Receives the next value, parking the task for `timeout` at most.
    ///
    /// # Errors
    /// When the time is over, or the channel is closed and drained.
    pub fn recv_timeout(&self, timeout: Nanos) -> Result<T, RecvTimeoutError> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(RecvTimeoutError::Closed),
            Err(TryRecvError::Empty) => self.recv_deadline(R::now().saturating_add(timeout)),
        }
    }

    /// The values to come, each waited for, until the channel is closed and drained.
    pub fn iter(&self) -> Iter<'_, T, R> {
        Iter { receiver: self }
    }

    /// The values that are there, without waiting.
    pub fn try_iter(&self) -> TryIter<'_, T, R> {
        TryIter { receiver: self }
    }

    /// Whether the channel was closed; it may still hold values.
    pub fn is_closed(&self) -> bool {
        match &self.flavor {
            Flavor::Shared(channel) => channel.lock().is_closed(),
            _ => false,
        }
    }

    /// How many values the channel holds.
    pub fn len(&self) -> usize {
        match &self.flavor {
            Flavor::Shared(channel) => channel.lock().len(),
            Flavor::Timed(timed) => usize::from(timed.next() <= R::now()),
            Flavor::Never => 0,
        }
    }

    /// Whether the channel holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the channel has room for; 0: it is unbuffered.
    pub fn capacity(&self) -> usize {
        match &self.flavor {
            Flavor::Shared(channel) => channel.capacity(),
            Flavor::Timed(_) => 1,
            Flavor::Never => 0,
        }
    }

    /// Whether both are handles of one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        match (&self.flavor, &other.flavor) {
            (Flavor::Shared(one), Flavor::Shared(other)) => Arc::ptr_eq(one, other),
            (Flavor::Timed(one), Flavor::Timed(other)) => Arc::ptr_eq(one, other),
            (Flavor::Never, Flavor::Never) => true,
            _ => false,
        }
    }
}

impl<T, R: Runtime> Clone for Receiver<T, R> {
    fn clone(&self) -> Self {
        Self::of(match &self.flavor {
            Flavor::Shared(channel) => {
                channel.add_receiver();
                Flavor::Shared(Arc::clone(channel))
            }
            Flavor::Timed(timed) => Flavor::Timed(Arc::clone(timed)),
            Flavor::Never => Flavor::Never,
        })
    }
}

impl<T, R: Runtime> Drop for Receiver<T, R> {
    fn drop(&mut self) {
        if let Flavor::Shared(channel) = &self.flavor {
            channel.drop_receiver();
        }
    }
}

impl<T, R: Runtime> fmt::Debug for Receiver<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

// A panic cannot leave a channel half-changed: nothing of the user's runs under its lock.
impl<T, R: Runtime> UnwindSafe for Sender<T, R> {}
impl<T, R: Runtime> RefUnwindSafe for Sender<T, R> {}
impl<T, R: Runtime> UnwindSafe for Receiver<T, R> {}
impl<T, R: Runtime> RefUnwindSafe for Receiver<T, R> {}

/// The values of a channel, until it is closed and drained; made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, R: Runtime> {
    receiver: &'a Receiver<T, R>,
}

impl<T, R: Runtime> Iterator for Iter<'_, T, R> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T, R: Runtime> FusedIterator for Iter<'_, T, R> {}

/// The values that are in a channel; made by [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T, R: Runtime> {
    receiver: &'a Receiver<T, R>,
}

impl<T, R: Runtime> Iterator for TryIter<'_, T, R> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}
