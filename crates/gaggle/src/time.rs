//! Sleeping, timers, tickers, and functions that run later.
//!
//! Everything here reads the runtime's monotonic clock and blocks or starts goroutines, never OS
//! threads.

use crate::backend::{AnyTimer, Dispatch};
use crate::builder::entry_for_later;
use crate::chan::{Receiver, instant_before};
use crate::context::background;
use gaggle_core::chan::Clock;
use gaggle_core::contract::{NEVER, Nanos, Runtime, SpawnOptions, WaitReason};
use gaggle_core::interrupt;
use gaggle_core::task::Ticket;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The point of the runtime's clock that lies `timeout` after now; later than it can tell: never.
pub(crate) fn deadline_after(timeout: Duration) -> Nanos {
    u64::try_from(timeout.as_nanos()).map_or(NEVER, |nanos| Dispatch::now().saturating_add(nanos))
}

/// Blocks this goroutine (never its OS thread) for `duration` at least, or until a context that it is
/// called under ([`Context::run`](crate::context::Context::run)(crate::context::Context::run)) ends.
///
/// `std::thread::sleep` does the same on a goroutine; this one follows the runtime's clock.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// gaggle::time::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return;
    }
    let deadline = deadline_after(duration);
    // Nobody else sees the ticket, so only the deadline ends the wait, or a context.
    Dispatch::note_wait(WaitReason::Sleep);
    interrupt::park(Ticket::<Dispatch>::take(), deadline);
}

/// A function that will run later, unless it is stopped before; made by [`after_func`].
///
/// Dropping it does not stop it.
pub struct AfterFunc {
    timer: AnyTimer,
}

impl AfterFunc {
    /// Stops it. `true`: the function will never run, and has been dropped. `false`: it has been
    /// started, or was stopped before. Does not wait for a function that runs.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let timer = gaggle::time::after_func(Duration::from_secs(3600), || unreachable!());
    /// assert!(timer.stop());
    /// assert!(!timer.stop());
    /// ```
    pub fn stop(&self) -> bool {
        Dispatch::timer_stop(&self.timer)
    }

    /// Lets the function run when `delay` has passed from now, instead of at its old time. `false`: it
    /// has been started, or was stopped, and nothing changes: a function that may consume what it
    /// captured runs once. (Go's runs again; start another here.)
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (sender, receiver) = gaggle::chan::bounded(1);
    /// let late = Duration::from_secs(3600);
    /// let timer = gaggle::time::after_func(late, move || sender.send("now").unwrap());
    /// assert!(timer.reset(Duration::from_millis(1)));
    /// assert_eq!(receiver.recv(), Ok("now"));
    /// assert!(!timer.reset(late), "it has run");
    /// ```
    pub fn reset(&self, delay: Duration) -> bool {
        Dispatch::timer_reset(&self.timer, deadline_after(delay))
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFunc").finish_non_exhaustive()
    }
}

/// Runs `f` in a goroutine of its own when `delay` has passed, unless the [`AfterFunc`] is stopped before.
/// Never blocks. As Go's `time.AfterFunc`.
///
/// # Panics
/// When the operating system refuses the thread that serves timers (threads backend, first timer).
///
/// # Examples
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// let (sender, receiver) = mpsc::channel();
/// gaggle::time::after_func(Duration::from_millis(1), move || sender.send("now").unwrap());
/// assert_eq!(receiver.recv(), Ok("now"));
/// ```
#[track_caller]
pub fn after_func<F>(delay: Duration, f: F) -> AfterFunc
where
    F: FnOnce() + Send + 'static,
{
    let options = SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    };
    let entry = entry_for_later(f, options.location);
    AfterFunc {
        timer: Dispatch::timer_start(deadline_after(delay), options, entry),
    }
}

/// The time was over; see [`timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is over")
    }
}

impl std::error::Error for TimedOut {}

/// Runs `f` on this goroutine for about `duration`: when that has passed, what `f` waits for ends with
/// an error, as [`Context::run`](crate::context::Context::run) says. What computes is not interrupted.
///
/// # Errors
/// When `f` returned after the time was over; what it answered is dropped.
///
/// # Panics
/// When `f` does; see [`Context::run`](crate::context::Context::run) for the waits that do.
///
/// # Examples
/// ```
/// use gaggle::time::{TimedOut, timeout};
/// use std::time::Duration;
/// let (_sender, receiver) = gaggle::chan::unbuffered::<u32>();
/// assert_eq!(timeout(Duration::from_millis(1), || receiver.recv()), Err(TimedOut));
/// assert_eq!(timeout(Duration::from_secs(3600), || 7), Ok(7));
/// ```
#[track_caller]
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, TimedOut> {
    let (context, _cancel) = background().with_timeout(duration);
    let answer = context.run(f);
    match context.err() {
        None => Ok(answer),
        Some(_) => Err(TimedOut),
    }
}

/// A receiver of one [`Instant`], the point of time at which it is due, which can be changed.
///
/// No goroutine and no timer of the runtime stands behind it: one that is dropped, stopped or never
/// looked at costs nothing more. As in Go since version 1.23, once [`Timer::stop`] or
/// [`Timer::reset`] has returned nothing is received that was due before: there is nothing to drain.
///
/// # Examples
/// ```
/// use gaggle::{chan, select, time::Timer};
/// use std::time::Duration;
///
/// let (_sender, replies) = chan::unbuffered::<u32>();
/// let patience = Timer::new(Duration::from_millis(1));
/// select! {
///     recv(replies) -> _ => unreachable!("nobody replies"),
///     recv(patience.receiver()) -> _ => {}
/// }
/// assert!(!patience.stop(), "it has been received");
/// ```
///
/// Source: Go's `time.Timer`.
#[derive(Debug)]
pub struct Timer {
    clock: Clock<Instant, Dispatch>,
    receiver: Receiver<Instant>,
}

impl Timer {
    /// A timer that is due when `duration` has passed. A duration beyond what the clock can tell is
    /// for ever.
    pub fn new(duration: Duration) -> Self {
        let (clock, receiver) = Clock::new(due_in(duration), 0, instant_before);
        let receiver = Receiver(receiver);
        Timer { clock, receiver }
    }

    /// Where its time is received. A clone of it follows this timer too.
    pub fn receiver(&self) -> &Receiver<Instant> {
        &self.receiver
    }

    /// Stops it; who waits for it goes on waiting. `true`: its time was still to come, or had come and
    /// was not received; it will not be. `false`: it was received, or stopped before. Never blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::time::Timer;
    /// use std::time::Duration;
    /// let timer = Timer::new(Duration::ZERO);
    /// assert!(timer.stop(), "it is due, and nobody has received it");
    /// assert!(timer.receiver().try_recv().is_err());
    /// assert!(!timer.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.clock.set(NEVER, 0)
    }

    /// Sets it to be due when `duration` has passed from now, whether it was stopped, received or
    /// neither; who waits for it waits for the new time. Answers what [`Timer::stop`] would. Never
    /// blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::time::Timer;
    /// use std::time::Duration;
    /// let timer = Timer::new(Duration::from_secs(3600));
    /// assert!(timer.reset(Duration::from_millis(1)));
    /// timer.receiver().recv().unwrap();
    /// assert!(!timer.reset(Duration::from_secs(3600)));
    /// ```
    pub fn reset(&self, duration: Duration) -> bool {
        self.clock.set(due_in(duration), 0)
    }
}

/// A receiver of an [`Instant`] each period, the point of time of that tick, until it is stopped.
///
/// Whoever comes late receives one and misses the others; the later ones lie on the same grid. No
/// goroutine and no timer of the runtime stands behind it. What [`Timer`] says of stop and reset holds.
///
/// # Examples
/// ```
/// use gaggle::time::Ticker;
/// use std::time::Duration;
/// let ticker = Ticker::new(Duration::from_millis(1));
/// for _tick in ticker.receiver().iter().take(3) {}
/// ticker.stop();
/// assert!(ticker.receiver().try_recv().is_err());
/// ```
///
/// Source: Go's `time.Ticker`.
#[derive(Debug)]
pub struct Ticker {
    clock: Clock<Instant, Dispatch>,
    receiver: Receiver<Instant>,
}

impl Ticker {
    /// A ticker whose first tick is one `period` from now.
    ///
    /// # Panics
    /// When `period` is zero.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        let period = period_nanos(period);
        let first = Dispatch::now().saturating_add(period);
        let (clock, receiver) = Clock::new(first, period, instant_before);
        let receiver = Receiver(receiver);
        Ticker { clock, receiver }
    }

    /// Where its ticks are received. A clone of it follows this ticker too.
    pub fn receiver(&self) -> &Receiver<Instant> {
        &self.receiver
    }

    /// Stops it: no tick comes any more, until it is [`reset`](Ticker::reset). Who waits for one goes on
    /// waiting: the receiver is not closed. Never blocks.
    pub fn stop(&self) {
        self.clock.set(NEVER, 0);
    }

    /// Sets the period; the next tick is one `period` from now, also if the ticker was stopped. Never
    /// blocks.
    ///
    /// # Panics
    /// When `period` is zero.
    ///
    /// # Examples
    /// ```
    /// use gaggle::time::Ticker;
    /// use std::time::Duration;
    /// let ticker = Ticker::new(Duration::from_secs(3600));
    /// ticker.reset(Duration::from_millis(1));
    /// ticker.receiver().recv().unwrap();
    /// ```
    #[track_caller]
    pub fn reset(&self, period: Duration) {
        let period = period_nanos(period);
        self.clock
            .set(Dispatch::now().saturating_add(period), period);
    }
}

/// When a timer is due: one that is for ever is still one that was not stopped.
fn due_in(duration: Duration) -> Nanos {
    deadline_after(duration).min(NEVER - 1)
}

/// The length of a period; one that is longer than the clock can tell never ends.
#[track_caller]
fn period_nanos(period: Duration) -> Nanos {
    assert!(
        !period.is_zero(),
        "the period of a ticker must be longer than zero"
    );
    u64::try_from(period.as_nanos()).unwrap_or(NEVER)
}
