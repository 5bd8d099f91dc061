//! Sleeping, and functions that run later.
//!
//! Everything here reads the runtime's monotonic clock and blocks or starts goroutines, never OS
//! threads.

use crate::backend::{AnyTimer, Dispatch};
use crate::builder::entry;
use crate::goroutine::{Ending, Goroutine};
use crate::join::Packet;
use gaggle_core::contract::{NEVER, Nanos, Runtime, SpawnOptions, WaitReason};
use gaggle_core::task::Ticket;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// The point of the runtime's clock that lies `timeout` after now; later than it can tell: never.
pub(crate) fn deadline_after(timeout: Duration) -> Nanos {
    u64::try_from(timeout.as_nanos()).map_or(NEVER, |nanos| Dispatch::now().saturating_add(nanos))
}

/// Blocks this goroutine (never its OS thread) for `duration` at least.
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
    // Nobody else ever sees the ticket, so only the deadline ends the wait.
    Dispatch::note_wait(WaitReason::Sleep);
    Dispatch::park_until(Ticket::take(), deadline);
}

/// A function that will run later, unless it is stopped before; made by [`after_func`].
///
/// Dropping it does not stop it.
pub struct Timer {
    timer: AnyTimer,
}

impl Timer {
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
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

/// Runs `f` in a goroutine of its own when `delay` has passed, unless the [`Timer`] is stopped before.
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
pub fn after_func<F>(delay: Duration, f: F) -> Timer
where
    F: FnOnce() + Send + 'static,
{
    let options = SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    };
    let ending = Ending::new(Goroutine::new(None), None).belongs(options.location);
    let entry = entry(f, Arc::new(Packet::new(None)), ending);
    Timer {
        timer: Dispatch::timer_start(deadline_after(delay), options, entry),
    }
}
