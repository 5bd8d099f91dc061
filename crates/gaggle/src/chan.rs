//! Channels: how goroutines pass values to each other, as in Go.
//!
//! [`unbuffered`] makes a channel whose send waits for its receive, [`bounded`] one with room. Both
//! ends may be cloned and shared: many may send, many may receive, each value is received once, in the
//! order of sending. A channel is closed by [`Sender::close`] or when its last [`Sender`] drops:
//! receivers then drain what is there and see the end. When the last [`Receiver`] drops, sends fail and
//! hand their value back.
//!
//! [`after`], [`tick`] and [`never()`] make receivers that the clock feeds, or nothing. To wait for
//! several channels at once there is [`select!`](crate::select!).
//!
//! Waiting blocks the goroutine, never its OS thread; plain OS threads may use channels too.
//!
//! What goes in one direction cannot go in the other: that is a matter of types.
//!
//! ```compile_fail
//! let (sender, _receiver) = gaggle::chan::bounded::<u8>(1);
//! sender.recv();
//! ```
//! ```compile_fail
//! let (_sender, receiver) = gaggle::chan::bounded::<u8>(1);
//! receiver.send(1);
//! ```
//!
//! ```
//! let (sender, receiver) = gaggle::chan::bounded(2);
//! gaggle::go(move || {
//!     for n in 1..=3 {
//!         sender.send(n).unwrap();
//!     }
//! });
//! assert_eq!(receiver.iter().sum::<i32>(), 6);
//! ```
//!
//! Source: `runtime/chan.go` of Go; names and error types are those of crossbeam-channel and std.

use crate::backend::Dispatch;
use crate::time::deadline_after;
use gaggle_core::chan as core_chan;
use gaggle_core::contract::{NEVER, Nanos};
use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

pub use gaggle_core::chan::{
    Never, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

/// The point of the runtime's clock that `deadline` stands for.
pub(crate) fn deadline_at(deadline: Instant) -> Nanos {
    deadline_after(deadline.saturating_duration_since(Instant::now()))
}

/// A length of time as the runtime counts it; longer than it can tell: for ever.
pub(crate) fn nanos(timeout: Duration) -> Nanos {
    u64::try_from(timeout.as_nanos()).unwrap_or(NEVER)
}

/// The point of time that lies `nanos` back: what a receiver that the clock feeds receives.
pub(crate) fn instant_before(nanos: Nanos) -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_nanos(nanos)).unwrap_or(now)
}

/// Makes a channel without room: a send waits for its receive, and the value goes directly from one
/// goroutine to the other.
///
/// # Examples
/// ```
/// let (sender, receiver) = gaggle::chan::unbuffered();
/// gaggle::go(move || sender.send("hello").unwrap());
/// assert_eq!(receiver.recv(), Ok("hello"));
/// ```
pub fn unbuffered<T>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

/// Makes a channel with room for `capacity` values, all of it allocated now; 0 is [`unbuffered`].
///
/// # Panics
/// When the room exceeds the address space.
///
/// # Examples
/// ```
/// let (sender, receiver) = gaggle::chan::bounded(1);
/// sender.send(1).unwrap();
/// assert!(sender.try_send(2).unwrap_err().is_full());
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = core_chan::bounded(capacity);
    (Sender(sender), Receiver(receiver))
}

/// Makes a receiver that never becomes ready and is never closed; as an arm of a select it is as good
/// as absent. Go's nil channel.
///
/// # Examples
/// ```
/// use gaggle::chan::{never, TryRecvError};
/// assert_eq!(never::<u8>().try_recv(), Err(TryRecvError::Empty));
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver(core_chan::Receiver::never())
}

/// Makes a receiver of one [`Instant`], the point of time `duration` after now, ready from then on
/// (whenever it is received it is that point). It is never closed.
///
/// No timer and no goroutine stands behind it: one that is dropped leaves nothing behind.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let now = gaggle::chan::after(Duration::from_millis(2)).recv().unwrap();
/// assert!(now - start >= Duration::from_millis(2));
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    Receiver(core_chan::Receiver::at(
        deadline_after(duration),
        instant_before,
    ))
}

/// Makes a receiver of an [`Instant`] each `period`, from one period after now on: the point of time of
/// that tick. A receiver that comes late gets one and misses the others, as with Go's `time.Ticker`. It is
/// never closed, and costs nothing while nobody waits for it.
///
/// # Panics
/// When `period` is zero.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let ticks = gaggle::chan::tick(Duration::from_millis(2));
/// assert_eq!(ticks.iter().take(3).count(), 3);
/// assert!(start.elapsed() >= Duration::from_millis(6));
/// ```
pub fn tick(period: Duration) -> Receiver<Instant> {
    Receiver(core_chan::Receiver::tick(nanos(period), instant_before))
}

/// The sending side of a channel. Clones send on the same channel; it is closed when the last drops.
pub struct Sender<T>(pub(crate) core_chan::Sender<T, Dispatch>);

impl<T> Sender<T> {
    /// Sends `value`, blocking this goroutine (never its OS thread) while the channel is full, or, if
    /// it is unbuffered, until the value is received.
    ///
    /// # Errors
    /// Returns `value` in [`SendError`] once the channel is closed or no [`Receiver`] is left.
    ///
    /// # Examples
    /// ```
    /// use gaggle::chan::{bounded, SendError};
    /// let (sender, receiver) = bounded(1);
    /// sender.send(1).unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError(2)));
    /// ```
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }

    /// Sends `value` if that needs no waiting.
    ///
    /// # Errors
    /// Returns `value`, and whether the channel is full ([`TrySendError::Full`]; an unbuffered one: nobody
    /// waits to receive) or closed.
    ///
    /// # Examples
    /// ```
    /// let (sender, _receiver) = gaggle::chan::unbuffered();
    /// assert_eq!(sender.try_send(1).unwrap_err().into_inner(), 1);
    /// ```
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value)
    }

    /// As [`Sender::send`], for `timeout` at most. The clock is read only if it has to wait.
    ///
    /// # Errors
    /// Returns `value`, and whether the time was over or the channel closed.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (sender, _receiver) = gaggle::chan::unbuffered();
    /// assert!(sender.send_timeout(1, Duration::from_millis(1)).unwrap_err().is_timeout());
    /// ```
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0.send_timeout(value, nanos(timeout))
    }

    /// As [`Sender::send`], until `deadline` at most.
    ///
    /// # Errors
    /// Returns `value`, and whether the deadline came or the channel is closed.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let (sender, _receiver) = gaggle::chan::bounded(1);
    /// assert!(sender.send_deadline(1, Instant::now()).is_ok());
    /// assert!(sender.send_deadline(2, Instant::now()).unwrap_err().is_timeout());
    /// ```
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        match self.0.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendTimeoutError::Closed(value)),
            Err(TrySendError::Full(value)) => self.0.send_deadline(value, deadline_at(deadline)),
        }
    }

    /// Closes the channel: nothing more goes in, receivers drain what is there, and sends that wait
    /// return with their value. Closing again changes nothing. Never blocks.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::bounded(1);
    /// sender.send(1).unwrap();
    /// sender.close();
    /// assert!(sender.send(2).is_err());
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether the channel was closed or has lost its last [`Receiver`].
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::bounded::<u8>(1);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// How many values the channel holds.
    ///
    /// # Examples
    /// ```
    /// let (sender, _receiver) = gaggle::chan::bounded(2);
    /// sender.send(1).unwrap();
    /// assert_eq!(sender.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the channel holds no value.
    ///
    /// # Examples
    /// ```
    /// assert!(gaggle::chan::bounded::<u8>(2).0.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values the channel has room for; 0: it is unbuffered.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gaggle::chan::bounded::<u8>(2).0.capacity(), 2);
    /// ```
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether both send on the same channel.
    ///
    /// # Examples
    /// ```
    /// let (sender, _receiver) = gaggle::chan::bounded::<u8>(2);
    /// assert!(sender.same_channel(&sender.clone()));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The receiving side of a channel. Clones receive from the same channel, each value once; when the
/// last drops, the values left in it are dropped and sends fail.
#[repr(transparent)]
pub struct Receiver<T>(pub(crate) core_chan::Receiver<T, Dispatch>);

impl<T> Receiver<T> {
    /// Receives the next value, blocking this goroutine (never its OS thread) while there is none.
    ///
    /// # Errors
    /// When the channel is closed and drained.
    ///
    /// # Examples
    /// ```
    /// use gaggle::chan::{bounded, RecvError};
    /// let (sender, receiver) = bounded(1);
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    /// When there is none now ([`TryRecvError::Empty`]), or will never be.
    ///
    /// # Examples
    /// ```
    /// use gaggle::chan::{bounded, TryRecvError};
    /// let (sender, receiver) = bounded::<u8>(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// As [`Receiver::recv`], for `timeout` at most. The clock is read only if it has to wait.
    ///
    /// # Errors
    /// When the time was over, or the channel is closed and drained.
    ///
    /// # Examples
    /// ```
    /// use gaggle::chan::{bounded, RecvTimeoutError};
    /// use std::time::Duration;
    /// let (_sender, receiver) = bounded::<u8>(1);
    /// let result = receiver.recv_timeout(Duration::from_millis(1));
    /// assert_eq!(result, Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(nanos(timeout))
    }

    /// As [`Receiver::recv`], until `deadline` at most.
    ///
    /// # Errors
    /// When the deadline came, or the channel is closed and drained.
    ///
    /// # Examples
    /// ```
    /// use gaggle::chan::{bounded, RecvTimeoutError};
    /// use std::time::Instant;
    /// let (_sender, receiver) = bounded::<u8>(1);
    /// assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        match self.0.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(RecvTimeoutError::Closed),
            Err(TryRecvError::Empty) => self.0.recv_deadline(deadline_at(deadline)),
        }
    }

    /// The values to come, each waited for as by [`Receiver::recv`], until the channel is closed and
    /// drained. `for value in &receiver` is the same.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::unbuffered();
    /// gaggle::go(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self.0.iter())
    }

    /// The values that are there, without waiting.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::bounded(2);
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self.0.try_iter())
    }

    /// Whether the channel was closed; it may still hold values.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::bounded::<u8>(1);
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// How many values the channel holds.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = gaggle::chan::bounded(2);
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the channel holds no value.
    ///
    /// # Examples
    /// ```
    /// assert!(gaggle::chan::bounded::<u8>(2).1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values the channel has room for; 0: it is unbuffered.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gaggle::chan::bounded::<u8>(2).1.capacity(), 2);
    /// ```
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether both receive from the same channel.
    ///
    /// # Examples
    /// ```
    /// let (_sender, receiver) = gaggle::chan::bounded::<u8>(2);
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        self.0.same_channel(&other.0)
    }

    /// The receiver that `inner` points to, under this module's name.
    pub(crate) fn from_core(inner: &core_chan::Receiver<T, Dispatch>) -> &Self {
        let outer = std::ptr::from_ref(inner) as *const Self;
        // SAFETY: `Receiver` is `repr(transparent)` over it, and the lifetime stays.
        unsafe { &*outer }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(self.0.clone())
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The values of a channel until it is closed and drained; made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(core_chan::Iter<'a, T, Dispatch>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

/// The values that are in a channel; made by [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T>(core_chan::TryIter<'a, T, Dispatch>);

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
}

/// The values of a channel whose receiver it owns; made by `into_iter`.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
