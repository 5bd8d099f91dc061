//! The condition variable.

use super::mutex::MutexGuard;
use super::{or_unwind, until_end_of};
use crate::backend::{Dispatch, unlocked};
use crate::context::{Context, ContextError};
use crate::time::deadline_after;
use gaggle_core::sync::{Condition, Ended, Limit};
use std::fmt;
use std::time::Duration;

/// Waiting for a change of what a [`Mutex`](super::Mutex) guards.
///
/// A wait gives the mutex up, blocks this goroutine (never its OS thread) until it is notified, and takes the
/// mutex again. It ends for no other reason than those of its method: there are no spurious wake-ups; but
/// another may have the mutex first, so what was waited for is looked at again.
///
/// Those who wait are notified in the order in which they came.
///
/// # Examples
/// ```
/// use gaggle::sync::{Condvar, Mutex};
///
/// let (jobs, added) = (Mutex::new(Vec::new()), Condvar::new());
/// gaggle::scope(|s| {
///     let worker = s.go(|| {
///         let mut jobs = jobs.lock();
///         added.wait_while(&mut jobs, |jobs| jobs.is_empty());
///         jobs.pop()
///     });
///     jobs.lock().push("fly south");
///     added.notify_one();
///     assert_eq!(worker.join().unwrap(), Some("fly south"));
/// });
/// ```
///
/// Source: Go's `sync.Cond`; the interface is that of `std::sync::nonpoison::Condvar`.
pub struct Condvar {
    condition: Condition<Dispatch>,
}

impl Condvar {
    /// A condition variable that nobody waits on.
    pub const fn new() -> Self {
        Condvar {
            condition: Condition::from_lock(unlocked()),
        }
    }

    /// Gives the mutex up, waits for a notification, and takes the mutex again.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`]) ends meanwhile; the mutex is taken then too, and
    /// unlocked as the guard is.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{Condvar, Mutex};
    /// let (is_ready, changed) = (Mutex::new(false), Condvar::new());
    /// gaggle::scope(|s| {
    ///     s.go(|| {
    ///         *is_ready.lock() = true;
    ///         changed.notify_all();
    ///     });
    ///     let mut guard = is_ready.lock();
    ///     while !*guard {
    ///         changed.wait(&mut guard);
    ///     }
    /// });
    /// ```
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        or_unwind(|limit| self.wait_limited(guard, limit));
    }

    /// As [`Condvar::wait`], as long as `condition` says so of the value.
    ///
    /// # Panics
    /// As [`Condvar::wait`].
    #[track_caller]
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// As [`Condvar::wait`], for `timeout` at most. `true`: notified; `false`: the time was over, or
    /// a context that this is called under has ended. The mutex is taken again in either case, which may take longer.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    /// let (mutex, changed) = (Mutex::new(()), Condvar::new());
    /// assert!(!changed.wait_timeout(&mut mutex.lock(), Duration::from_millis(1)));
    /// ```
    pub fn wait_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        timeout: Duration,
    ) -> bool {
        let limit = Limit::until(deadline_after(timeout));
        self.wait_limited(guard, &limit).is_ok()
    }

    /// As [`Condvar::wait_while`], for `timeout` at most in all. `true`: `condition` no longer holds.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    /// let (mutex, changed) = (Mutex::new(1), Condvar::new());
    /// let timeout = Duration::from_millis(1);
    /// assert!(!changed.wait_timeout_while(&mut mutex.lock(), timeout, |value| *value == 1));
    /// ```
    pub fn wait_timeout_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> bool {
        let deadline = deadline_after(timeout);
        while condition(guard) {
            let limit = Limit::until(deadline);
            if self.wait_limited(guard, &limit).is_err() {
                return !condition(guard);
            }
        }
        true
    }

    /// As [`Condvar::wait`], until `context` ends at most. The mutex is taken again in either case.
    ///
    /// # Errors
    /// Why the context has ended, perhaps before the call.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{Condvar, Mutex};
    /// let (mutex, changed) = (Mutex::new(()), Condvar::new());
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// gaggle::go(move || cancel.cancel());
    /// assert!(changed.wait_context(&context, &mut mutex.lock()).is_err());
    /// ```
    pub fn wait_context<T: ?Sized>(
        &self,
        context: &Context,
        guard: &mut MutexGuard<'_, T>,
    ) -> Result<(), ContextError> {
        until_end_of(context, |limit| self.wait_limited(guard, limit))
    }

    /// Ends the wait of the goroutine that has waited longest, if any waits. Never blocks; the mutex need not
    /// be held.
    pub fn notify_one(&self) {
        self.condition.notify_one();
    }

    /// Ends the waits of all that wait. Never blocks; the mutex need not be held.
    pub fn notify_all(&self) {
        self.condition.notify_all();
    }

    /// As [`Condvar::wait`], answering how a context that this is called under has ended.
    pub(super) fn try_wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) -> Result<(), Ended> {
        self.wait_limited(guard, &Limit::never())
    }

    fn wait_limited<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: &Limit<'_, Dispatch>,
    ) -> Result<(), Ended> {
        // SAFETY: the guard owns the mutex; it is borrowed uniquely until the mutex is owned again, so nothing
        // reaches the value through it meanwhile.
        unsafe { self.condition.wait(guard.raw(), limit) }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
