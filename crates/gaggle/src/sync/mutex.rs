//! The mutex.

use super::{or_unwind, until_end_of};
use crate::backend::{Dispatch, unlocked};
use crate::context::{Context, ContextError};
use crate::time::deadline_after;
use gaggle_core::sync::{Limit, RawMutex};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A value that one goroutine, or OS thread, at a time may touch.
///
/// It may be held over any call that blocks, and its guard may go to another goroutine and be dropped there.
/// It is not recursive: who locks it twice waits for itself. A panic under the lock unlocks it and leaves the
/// value as it is: there is no poisoning.
///
/// As a rule whoever is there first takes the lock. Once a goroutine has waited for a millisecond the lock is
/// handed to it, and to those behind it, in the order in which they came.
///
/// # Examples
/// ```
/// use gaggle::sync::Mutex;
///
/// static LOG: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// gaggle::scope(|s| {
///     for n in 0..4 {
///         s.go(move || LOG.lock().push(n));
///     }
/// });
/// assert_eq!(LOG.lock().len(), 4);
/// ```
///
/// Source: Go's `sync.Mutex`; the interface is that of `std::sync::nonpoison::Mutex`.
pub struct Mutex<T: ?Sized> {
    pub(super) raw: RawMutex<Dispatch>,
    value: UnsafeCell<T>,
}

// SAFETY: `raw` lets one holder at a time reach the value, so sharing the mutex only moves the value's access
// from task to task, which `T: Send` allows.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: the mutex owns its value, and `RawMutex` is `Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub const fn new(value: T) -> Self {
        Mutex {
            raw: RawMutex::from_lock(unlocked()),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, which nobody else can reach any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex until the guard drops, blocking this goroutine (never its OS thread) while another has
    /// it.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`]) ends while it waits.
    ///
    /// # Examples
    /// ```
    /// let mutex = gaggle::sync::Mutex::new(1);
    /// *mutex.lock() += 1;
    /// assert_eq!(*mutex.lock(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        or_unwind(|limit| self.raw.lock_limited(limit));
        self.guard()
    }

    /// As [`Mutex::lock`], whatever becomes of a context that this is called under: for short sections of the
    /// library's own, which must not be left half-way.
    #[inline]
    pub(crate) fn lock_shielded(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        self.guard()
    }

    /// Locks the mutex if it is free. Never blocks.
    ///
    /// # Examples
    /// ```
    /// let mutex = gaggle::sync::Mutex::new(());
    /// let guard = mutex.try_lock();
    /// assert!(guard.is_some() && mutex.try_lock().is_none());
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// As [`Mutex::lock`], for `timeout` at most; `None`: the time was over, or a context that this is called under
    /// has ended.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let mutex = gaggle::sync::Mutex::new(());
    /// let guard = mutex.lock();
    /// assert!(mutex.lock_timeout(Duration::from_millis(1)).is_none());
    /// # drop(guard);
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        let limit = Limit::until(deadline_after(timeout));
        let locked = self.raw.lock_limited(&limit);
        locked.is_ok().then(|| self.guard())
    }

    /// As [`Mutex::lock`], until `context` ends at most.
    ///
    /// # Errors
    /// Why the context has ended. If it has ended already nothing is locked.
    ///
    /// # Examples
    /// ```
    /// let mutex = gaggle::sync::Mutex::new(());
    /// let guard = mutex.lock();
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// gaggle::go(move || cancel.cancel());
    /// assert!(mutex.lock_context(&context).is_err());
    /// # drop(guard);
    /// ```
    pub fn lock_context(&self, context: &Context) -> Result<MutexGuard<'_, T>, ContextError> {
        until_end_of(context, |limit| self.raw.lock_limited(limit)).map(|()| self.guard())
    }

    /// Whether somebody has the lock at the time of the call.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// The value, without locking: `&mut self` proves that nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The guard of a lock that was just taken.
    #[inline]
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            value: PhantomData,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => debug.field("value", &&*guard),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.field("waiting", &self.raw.waiting()).finish()
    }
}

/// A locked [`Mutex`]; dropping it unlocks, from whatever goroutine or OS thread.
#[must_use = "the mutex is unlocked when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The guard is as good as the reference that it gives: shared among tasks only where that may be.
    value: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The lock that this guard holds.
    pub(super) fn raw(&self) -> &'a RawMutex<Dispatch> {
        &self.mutex.raw
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock, so the value is reached through it alone, and this borrows it.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard was made of a lock that was taken, and drops once.
        unsafe { self.mutex.raw.unlock() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
