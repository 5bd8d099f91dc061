//! Waiting until a number of goroutines, or of anything else, are done.

use super::{or_unwind, until_end_of};
use crate::backend::Dispatch;
use crate::context::{Context, ContextError};
use crate::time::deadline_after;
use gaggle_core::sync as core_sync;
use gaggle_core::sync::Limit;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A counter of things to be done that goroutines wait for. A clone counts the same things.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::sync::Arc;
///
/// let (group, sum) = (gaggle::sync::WaitGroup::new(), Arc::new(AtomicU32::new(0)));
/// for n in 1..=3 {
///     let sum = Arc::clone(&sum);
///     group.go(move || { sum.fetch_add(n, Ordering::Relaxed); });
/// }
/// group.wait();
/// assert_eq!(sum.load(Ordering::Relaxed), 6);
/// ```
///
/// Source: Go's `sync.WaitGroup`.
#[derive(Clone)]
pub struct WaitGroup {
    inner: Arc<core_sync::WaitGroup<Dispatch>>,
}

impl WaitGroup {
    /// A group of nothing to be done.
    pub fn new() -> Self {
        WaitGroup {
            inner: Arc::new(core_sync::WaitGroup::new()),
        }
    }

    /// Adds `delta`, which may be negative, to the counter. Never blocks.
    ///
    /// # Panics
    /// When the counter becomes negative or exceeds `i32::MAX`, and when it is raised from zero while a
    /// goroutine is about to wait: `add` must happen before the `wait` that shall know of it.
    #[track_caller]
    pub fn add(&self, delta: i32) {
        self.inner.add(delta);
    }

    /// Takes one from the counter; at zero all who wait go on. Never blocks.
    ///
    /// # Panics
    /// When the counter was zero.
    ///
    /// # Examples
    /// ```
    /// let group = gaggle::sync::WaitGroup::new();
    /// group.add(1);
    /// group.done();
    /// group.wait();
    /// ```
    #[track_caller]
    pub fn done(&self) {
        self.inner.done();
    }

    /// Runs `f` in a goroutine that the group counts until it has ended, by a panic too (which is
    /// printed and goes no further).
    ///
    /// # Panics
    /// As [`go`](crate::go), and as [`WaitGroup::add`].
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.add(1);
        let counted = Counted(self.clone());
        let handle = crate::go(move || {
            // Dropped at the end, by a panic too; and with the closure, if none can be started.
            let _counted = counted;
            f();
        });
        drop(handle);
    }

    /// Blocks this goroutine (never its OS thread) until the counter is zero.
    ///
    /// # Panics
    /// When the group is used again before this call has returned, and when a context that this is called under
    /// ([`Context::run`]) ends first: there is no error to answer ([`WaitGroup::wait_context`] has one). What the
    /// group counts goes on then.
    #[track_caller]
    pub fn wait(&self) {
        or_unwind(|limit| self.inner.wait_limited(limit));
    }

    /// As [`WaitGroup::wait`], for `timeout` at most. `false`: the time was over, or a context that this is called
    /// under has ended, before the counter was zero.
    ///
    /// # Panics
    /// When the group is used again before this call has returned.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let group = gaggle::sync::WaitGroup::new();
    /// group.add(1);
    /// assert!(!group.wait_timeout(Duration::from_millis(1)));
    /// group.done();
    /// assert!(group.wait_timeout(Duration::ZERO));
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let limit = Limit::until(deadline_after(timeout));
        self.inner.wait_limited(&limit).is_ok()
    }

    /// As [`WaitGroup::wait`], until `context` ends at most.
    ///
    /// # Errors
    /// Why the context has ended, perhaps before the call.
    ///
    /// # Panics
    /// When the group is used again before this call has returned.
    ///
    /// # Examples
    /// ```
    /// let group = gaggle::sync::WaitGroup::new();
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// group.add(1);
    /// gaggle::go(move || cancel.cancel());
    /// assert!(group.wait_context(&context).is_err());
    /// ```
    #[track_caller]
    pub fn wait_context(&self, context: &Context) -> Result<(), ContextError> {
        until_end_of(context, |limit| self.inner.wait_limited(limit))
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// One thing to be done; dropping it is having done it.
struct Counted(WaitGroup);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.done();
    }
}
