//! Permits.

use super::{or_unwind, until_end_of};
use crate::backend::Dispatch;
use crate::context::{Context, ContextError};
use crate::time::deadline_after;
use gaggle_core::sync as core_sync;
use gaggle_core::sync::Limit;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A number of permits that goroutines acquire, several at a time if they like, and give back. A clone
/// is the same semaphore.
///
/// Who waits is served in the order they came: a small request behind a large one waits for it, so the
/// large one is not starved.
///
/// # Examples
/// ```
/// let connections = gaggle::sync::Semaphore::new(2);
/// let one = connections.acquire(1);
/// let other = connections.acquire(1);
/// assert!(connections.try_acquire(1).is_none());
/// drop(one);
/// assert!(connections.try_acquire(1).is_some());
/// ```
///
/// Source: `golang.org/x/sync/semaphore`.
#[derive(Clone)]
pub struct Semaphore {
    shared: Arc<Shared>,
}

struct Shared {
    permits: usize,
    semaphore: core_sync::Semaphore<Dispatch>,
}

impl Semaphore {
    /// A semaphore of `permits`.
    pub fn new(permits: usize) -> Self {
        let semaphore = core_sync::Semaphore::new(permits);
        Semaphore {
            shared: Arc::new(Shared { permits, semaphore }),
        }
    }

    /// How many permits are free now.
    pub fn available(&self) -> usize {
        self.shared.semaphore.available()
    }

    /// Acquires `permits`, blocking this goroutine (never its OS thread) until it is its turn and they
    /// are free. They are given back when the [`Permit`] drops.
    ///
    /// # Panics
    /// When the semaphore has fewer permits in all, and when a context that this is called under
    /// ([`Context::run`]) ends first.
    ///
    /// # Examples
    /// ```
    /// let semaphore = gaggle::sync::Semaphore::new(3);
    /// let permit = semaphore.acquire(2);
    /// assert_eq!(semaphore.available(), 1);
    /// // A permit may go to another goroutine.
    /// gaggle::go(move || drop(permit)).join().unwrap();
    /// assert_eq!(semaphore.available(), 3);
    /// ```
    #[track_caller]
    pub fn acquire(&self, permits: usize) -> Permit {
        self.check(permits);
        or_unwind(|limit| self.shared.semaphore.acquire_limited(permits, limit));
        self.permit(permits)
    }

    /// Acquires `permits` if they are free now and nobody waits for some.
    ///
    /// # Examples
    /// ```
    /// let semaphore = gaggle::sync::Semaphore::new(1);
    /// assert!(semaphore.try_acquire(2).is_none());
    /// ```
    pub fn try_acquire(&self, permits: usize) -> Option<Permit> {
        let acquired = self.shared.semaphore.try_acquire(permits);
        acquired.then(|| self.permit(permits))
    }

    /// As [`Semaphore::acquire`], for `timeout` at most; `None`: the time was over, or a context that this is
    /// called under has ended.
    ///
    /// # Panics
    /// When the semaphore has fewer permits in all.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let semaphore = gaggle::sync::Semaphore::new(1);
    /// let _permit = semaphore.acquire(1);
    /// assert!(semaphore.acquire_timeout(1, Duration::from_millis(1)).is_none());
    /// ```
    #[track_caller]
    pub fn acquire_timeout(&self, permits: usize, timeout: Duration) -> Option<Permit> {
        self.check(permits);
        let limit = Limit::until(deadline_after(timeout));
        let acquired = self.shared.semaphore.acquire_limited(permits, &limit);
        acquired.is_ok().then(|| self.permit(permits))
    }

    /// As [`Semaphore::acquire`], until `context` ends at most.
    ///
    /// # Errors
    /// Why the context has ended. If it has ended already nothing is acquired.
    ///
    /// # Panics
    /// When the semaphore has fewer permits in all.
    ///
    /// # Examples
    /// ```
    /// let semaphore = gaggle::sync::Semaphore::new(1);
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// let permit = semaphore.acquire_context(&context, 1)?;
    /// gaggle::go(move || cancel.cancel());
    /// assert!(semaphore.acquire_context(&context, 1).is_err());
    /// # Ok::<(), gaggle::context::ContextError>(())
    /// ```
    #[track_caller]
    pub fn acquire_context(
        &self,
        context: &Context,
        permits: usize,
    ) -> Result<Permit, ContextError> {
        self.check(permits);
        let semaphore = &self.shared.semaphore;
        until_end_of(context, |limit| semaphore.acquire_limited(permits, limit))?;
        Ok(self.permit(permits))
    }

    fn permit(&self, permits: usize) -> Permit {
        Permit {
            shared: Arc::clone(&self.shared),
            permits,
        }
    }

    #[track_caller]
    fn check(&self, permits: usize) {
        let all = self.shared.permits;
        assert!(
            permits <= all,
            "acquiring {permits} permits of a semaphore of {all} would wait for ever"
        );
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Semaphore");
        debug.field("permits", &self.shared.permits);
        debug.field("available", &self.available()).finish()
    }
}

/// Permits that were acquired; dropping it gives them back, from whatever goroutine or thread.
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit {
    shared: Arc<Shared>,
    permits: usize,
}

impl Permit {
    /// How many permits it is.
    pub fn count(&self) -> usize {
        self.permits
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.semaphore.release(self.permits);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("permits", &self.permits)
            .finish()
    }
}
