//! Limiting how often something happens: a token bucket.
//!
//! A [`Limiter`] holds up to `burst` tokens and gets `limit` new ones a second; each event takes one, or
//! several. [`Limiter::allow`] drops events for which there is no token, [`Limiter::reserve`] says how
//! long to wait, [`Limiter::wait`] waits.
//!
//! - L1: `tokens` is what there was at `updated`; below zero it counts tokens that are taken already and
//!   yet to come. It never exceeds the burst.
//! - L2: a reservation takes its tokens at once, so that those behind it wait for longer: events happen
//!   in the order in which they reserved.
//! - L3: a reservation that is given up before its time gives back what nobody behind it counts on: its
//!   tokens without those that were taken after it.
//!
//! ```
//! use gaggle::rate::{Limit, Limiter};
//!
//! let limiter = Limiter::new(Limit::per_second(0.001), 2);
//! assert!(limiter.allow());
//! assert!(limiter.allow());
//! assert!(!limiter.allow(), "the burst is used up");
//! ```
//!
//! Source: `golang.org/x/time/rate`.

use crate::backend::Dispatch;
use crate::chan::RecvTimeoutError;
use crate::context::{Context, ContextError};
use gaggle_core::contract::{NEVER, Nanos, Runtime};
use gaggle_core::interrupt;
use gaggle_core::lock::Lock;
use std::fmt;
use std::time::Duration;

const NANOS_PER_SECOND: f64 = 1e9;

/// How many events a second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Limit(f64);

impl Limit {
    /// No limit: every event is allowed, whatever the burst.
    pub const INFINITE: Limit = Limit(f64::INFINITY);

    /// So many events a second; 0: none but the burst.
    ///
    /// # Panics
    /// When `events` is negative or not a number.
    #[track_caller]
    pub fn per_second(events: f64) -> Self {
        assert!(
            events >= 0.0,
            "a limit must be zero or more events a second"
        );
        Limit(events)
    }

    /// One event each `interval`; an interval of zero is no limit.
    ///
    /// # Examples
    /// ```
    /// use gaggle::rate::Limit;
    /// use std::time::Duration;
    /// assert_eq!(Limit::every(Duration::from_millis(100)), Limit::per_second(10.0));
    /// ```
    pub fn every(interval: Duration) -> Self {
        Limit(interval.as_secs_f64().recip())
    }

    /// Events a second.
    pub fn events_per_second(self) -> f64 {
        self.0
    }

    fn is_infinite(self) -> bool {
        self.0 == f64::INFINITY
    }

    /// How long it takes until there are so many tokens; [`NEVER`] where that is beyond the clock.
    fn nanos_for(self, tokens: f64) -> Nanos {
        let nanos = tokens / self.0 * NANOS_PER_SECOND;
        // A conversion to an integer ends at the largest, which is NEVER; 0/0, no time for no token.
        nanos.ceil() as Nanos
    }

    /// How many tokens come in that time.
    fn tokens_in(self, nanos: Nanos) -> f64 {
        if nanos == 0 {
            return 0.0;
        }
        nanos as f64 / NANOS_PER_SECOND * self.0
    }
}

/// What the lock guards.
struct State {
    limit: Limit,
    burst: usize,
    /// L1.
    tokens: f64,
    updated: Nanos,
    /// When the event happens that has reserved the latest time.
    last_event: Nanos,
}

impl State {
    /// Counts the tokens that have come until `now` (L1).
    fn advance(&mut self, now: Nanos) {
        let elapsed = now.saturating_sub(self.updated);
        let tokens = self.tokens + self.limit.tokens_in(elapsed);
        self.tokens = tokens.min(self.burst as f64);
        self.updated = self.updated.max(now);
    }

    /// Takes `count` tokens if they are there within `patience`; answers when.
    fn reserve(&mut self, now: Nanos, count: usize, patience: Nanos) -> Option<Nanos> {
        if self.limit.is_infinite() {
            return Some(now);
        }
        self.advance(now);
        let left = self.tokens - count as f64;
        let wait = if left < 0.0 {
            self.limit.nanos_for(-left)
        } else {
            0
        };
        if count > self.burst || wait > patience || wait == NEVER {
            return None;
        }
        self.tokens = left;
        self.last_event = now.saturating_add(wait);
        Some(self.last_event)
    }

    /// Gives back what `count` tokens, reserved for `at` under `limit`, leave to others (L3).
    fn give_back(&mut self, now: Nanos, count: usize, at: Nanos, limit: Limit) {
        if limit.is_infinite() || at < now {
            return;
        }
        let taken_since = limit.tokens_in(self.last_event.saturating_sub(at));
        let unused = count as f64 - taken_since;
        if unused <= 0.0 {
            return;
        }
        self.advance(now);
        self.tokens = (self.tokens + unused).min(self.burst as f64);
        if at == self.last_event {
            let before = at.saturating_sub(limit.nanos_for(count as f64));
            if before >= now {
                self.last_event = before;
            }
        }
    }
}

/// A token bucket; share it by reference or in an [`Arc`](std::sync::Arc).
///
/// # Examples
/// ```
/// use gaggle::context::background;
/// use gaggle::rate::{Limit, Limiter};
/// use std::time::{Duration, Instant};
///
/// let limiter = Limiter::new(Limit::every(Duration::from_millis(1)), 1);
/// let start = Instant::now();
/// for _ in 0..4 {
///     limiter.wait(&background()).unwrap();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
pub struct Limiter {
    state: Lock<State, <Dispatch as Runtime>::Lock>,
}

impl Limiter {
    /// A limiter that is full: `burst` events may happen at once, and `limit` a second in the long run.
    /// With a burst of 0 none is allowed, unless the limit is infinite.
    pub fn new(limit: Limit, burst: usize) -> Self {
        Limiter {
            state: Lock::new(State {
                limit,
                burst,
                tokens: burst as f64,
                updated: Dispatch::now(),
                last_event: 0,
            }),
        }
    }

    /// How many events a second.
    pub fn limit(&self) -> Limit {
        self.state.lock().limit
    }

    /// How many events at once.
    pub fn burst(&self) -> usize {
        self.state.lock().burst
    }

    /// How many tokens there are now; below zero: how many are taken that are yet to come.
    pub fn tokens(&self) -> f64 {
        let now = Dispatch::now();
        let mut state = self.state.lock();
        state.advance(now);
        state.tokens
    }

    /// Changes the limit from now on. Who reserved before keeps the time that was answered.
    pub fn set_limit(&self, limit: Limit) {
        let now = Dispatch::now();
        let mut state = self.state.lock();
        state.advance(now);
        state.limit = limit;
    }

    /// Changes the burst from now on.
    ///
    /// # Examples
    /// ```
    /// use gaggle::rate::{Limit, Limiter};
    /// let limiter = Limiter::new(Limit::per_second(0.0), 1);
    /// assert!(!limiter.allow_many(2), "more than ever fits");
    /// limiter.set_burst(2);
    /// assert!(!limiter.allow_many(2), "the second token has yet to come");
    /// ```
    pub fn set_burst(&self, burst: usize) {
        let now = Dispatch::now();
        let mut state = self.state.lock();
        state.advance(now);
        state.burst = burst;
    }

    /// Whether an event may happen now; it then takes its token. Never blocks.
    pub fn allow(&self) -> bool {
        self.allow_many(1)
    }

    /// Whether `count` events may happen now; they then take their tokens, or none. Never blocks.
    pub fn allow_many(&self, count: usize) -> bool {
        let now = Dispatch::now();
        self.state.lock().reserve(now, count, 0).is_some()
    }

    /// Takes a token for an event that is to happen once [`Reservation::delay`] has passed. `None`: the
    /// burst is 0, or no token ever comes. Never blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::rate::{Limit, Limiter};
    /// use std::time::Duration;
    /// let limiter = Limiter::new(Limit::every(Duration::from_secs(60)), 1);
    /// assert!(limiter.reserve().unwrap().delay().is_zero());
    /// let second = limiter.reserve().unwrap();
    /// assert!(second.delay() > Duration::from_secs(50));
    /// second.cancel();
    /// assert!(limiter.reserve().unwrap().delay() < Duration::from_secs(61));
    /// ```
    pub fn reserve(&self) -> Option<Reservation<'_>> {
        self.reserve_many(1)
    }

    /// As [`Limiter::reserve`], for `count` events at once; `None` also if they exceed the burst.
    pub fn reserve_many(&self, count: usize) -> Option<Reservation<'_>> {
        self.reserve_within(Dispatch::now(), count, NEVER)
    }

    fn reserve_within(&self, now: Nanos, count: usize, patience: Nanos) -> Option<Reservation<'_>> {
        let mut state = self.state.lock();
        let at = state.reserve(now, count, patience)?;
        Some(Reservation {
            limiter: self,
            limit: state.limit,
            count,
            at,
        })
    }

    /// Blocks this goroutine (never its OS thread) until an event may happen, or `context` ends.
    ///
    /// # Errors
    /// At once when the burst is 0 or the time would come after the deadline of `context`; why `context`
    /// has ended, if it ends first, and likewise one that this is called under ([`Context::run`]). A
    /// token that was reserved goes back.
    pub fn wait(&self, context: &Context) -> Result<(), WaitError> {
        self.wait_many(context, 1)
    }

    /// As [`Limiter::wait`], for `count` events at once.
    ///
    /// # Errors
    /// As [`Limiter::wait`], and at once if they exceed the burst.
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::background;
    /// use gaggle::rate::{Limit, Limiter, WaitError};
    /// use std::time::Duration;
    /// let limiter = Limiter::new(Limit::every(Duration::from_secs(3600)), 1);
    /// assert_eq!(limiter.wait_many(&background(), 2), Err(WaitError::ExceedsBurst));
    /// limiter.wait(&background()).unwrap();
    /// let (context, _cancel) = background().with_timeout(Duration::from_secs(60));
    /// assert_eq!(limiter.wait(&context), Err(WaitError::ExceedsDeadline));
    /// ```
    pub fn wait_many(&self, context: &Context, count: usize) -> Result<(), WaitError> {
        if let Some(error) = context.err() {
            return Err(WaitError::Ended(error));
        }
        let now = Dispatch::now();
        let patience = context.deadline_nanos().saturating_sub(now);
        let Some(reservation) = self.reserve_within(now, count, patience) else {
            return Err(if count > self.burst() {
                WaitError::ExceedsBurst
            } else {
                WaitError::ExceedsDeadline
            });
        };
        if reservation.at <= now {
            return Ok(());
        }
        let ended = match context.done().0.recv_deadline(reservation.at) {
            Err(RecvTimeoutError::Timeout) => interrupt::error::<Dispatch>(),
            _ => context.err(),
        };
        match ended {
            // The end of a context that this runs under is none of this wait's if its time has come.
            Some(error) if Dispatch::now() < reservation.at => {
                reservation.cancel();
                Err(WaitError::Ended(error))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("limit", &self.limit())
            .field("burst", &self.burst())
            .finish_non_exhaustive()
    }
}

/// Tokens that were taken for a time to come; made by [`Limiter::reserve`]. Dropping it keeps them taken.
#[must_use = "the event should wait for its time, or be cancelled"]
pub struct Reservation<'a> {
    limiter: &'a Limiter,
    limit: Limit,
    count: usize,
    at: Nanos,
}

impl Reservation<'_> {
    /// How long from now until the event may happen; zero: it may.
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.at.saturating_sub(Dispatch::now()))
    }

    /// The event will not happen: gives the tokens back, as far as nobody who reserved later counts on
    /// them, and unless its time has passed.
    pub fn cancel(self) {
        let now = Dispatch::now();
        let mut state = self.limiter.state.lock();
        state.give_back(now, self.count, self.at, self.limit);
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("count", &self.count)
            .field("delay", &self.delay())
            .finish_non_exhaustive()
    }
}

/// Why [`Limiter::wait`] did not wait until the event might happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// More events at once than the limiter's burst.
    ExceedsBurst,
    /// Their time would come after the context's deadline, or never.
    ExceedsDeadline,
    /// The context has ended.
    Ended(ContextError),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::ExceedsBurst => f.write_str("more events at once than the limiter's burst"),
            WaitError::ExceedsDeadline => f.write_str("their time comes after the deadline"),
            WaitError::Ended(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}
