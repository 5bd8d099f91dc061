//! The read-write lock.

use super::{or_unwind, until_end_of};
use crate::backend::{Dispatch, unlocked};
use crate::context::{Context, ContextError};
use crate::time::deadline_after;
use gaggle_core::sync::{Limit, RawRwLock};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A value that many goroutines, or OS threads, may read at a time, or one may change.
///
/// It may be held over any call that blocks, and its guards may go to other goroutines. A panic under the lock
/// unlocks it and leaves the value as it is: there is no poisoning.
///
/// Once a writer waits, new readers wait until it has had the lock, so it is not starved; for the same reason
/// who reads may not lock again to read: a writer may have come between. Once a goroutine has waited for a
/// millisecond the lock is handed on in the order in which they came.
///
/// # Examples
/// ```
/// use gaggle::sync::RwLock;
/// use std::collections::HashMap;
///
/// let cache = RwLock::new(HashMap::new());
/// cache.write().insert("goose", "honk");
/// gaggle::scope(|s| {
///     for _ in 0..4 {
///         s.go(|| assert_eq!(cache.read()["goose"], "honk"));
///     }
/// });
/// ```
///
/// Source: Go's `sync.RWMutex`; the interface is that of `std::sync::nonpoison::RwLock`.
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock<Dispatch>,
    value: UnsafeCell<T>,
}

// SAFETY: `raw` lets one writer or any number of readers reach the value: writing moves its access from task to
// task (`T: Send`), and reading shares it among them (`T: Sync`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: the lock owns its value, and `RawRwLock` is `Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock around `value` that nobody holds.
    pub const fn new(value: T) -> Self {
        RwLock {
            raw: RawRwLock::from_lock(unlocked()),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, which nobody else can reach any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks to read until the guard drops, blocking this goroutine (never its OS thread) while another writes,
    /// or waits to write after those who read.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`]) ends while it waits.
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::RwLock::new(1);
    /// let (one, other) = (lock.read(), lock.try_read());
    /// assert_eq!(*one + *other.unwrap(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        or_unwind(|limit| self.raw.read_limited(limit));
        self.read_guard()
    }

    /// Locks to write until the guard drops, blocking this goroutine (never its OS thread) while others hold the
    /// lock.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`]) ends while it waits.
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::RwLock::new(1);
    /// *lock.write() += 1;
    /// assert_eq!(*lock.read(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        or_unwind(|limit| self.raw.write_limited(limit));
        self.write_guard()
    }

    /// Locks to read if that can be had at once. Never blocks.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.raw.try_read().then(|| self.read_guard())
    }

    /// Locks to write if that can be had at once. Never blocks.
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::RwLock::new(());
    /// let reading = lock.read();
    /// assert!(lock.try_write().is_none());
    /// # drop(reading);
    /// ```
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.raw.try_write().then(|| self.write_guard())
    }

    /// As [`RwLock::read`], for `timeout` at most; `None`: the time was over, or a context that this is called
    /// under has ended.
    pub fn read_timeout(&self, timeout: Duration) -> Option<RwLockReadGuard<'_, T>> {
        let limit = Limit::until(deadline_after(timeout));
        let locked = self.raw.read_limited(&limit);
        locked.is_ok().then(|| self.read_guard())
    }

    /// As [`RwLock::write`], for `timeout` at most; `None`: the time was over, or a context that this is called
    /// under has ended.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let lock = gaggle::sync::RwLock::new(());
    /// let reading = lock.read();
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_none());
    /// # drop(reading);
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        let limit = Limit::until(deadline_after(timeout));
        let locked = self.raw.write_limited(&limit);
        locked.is_ok().then(|| self.write_guard())
    }

    /// As [`RwLock::read`], until `context` ends at most.
    ///
    /// # Errors
    /// Why the context has ended. If it has ended already nothing is locked.
    pub fn read_context(&self, context: &Context) -> Result<RwLockReadGuard<'_, T>, ContextError> {
        until_end_of(context, |limit| self.raw.read_limited(limit)).map(|()| self.read_guard())
    }

    /// As [`RwLock::write`], until `context` ends at most.
    ///
    /// # Errors
    /// Why the context has ended. If it has ended already nothing is locked.
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::RwLock::new(());
    /// let reading = lock.read();
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// gaggle::go(move || cancel.cancel());
    /// assert!(lock.write_context(&context).is_err());
    /// # drop(reading);
    /// ```
    pub fn write_context(
        &self,
        context: &Context,
    ) -> Result<RwLockWriteGuard<'_, T>, ContextError> {
        until_end_of(context, |limit| self.raw.write_limited(limit)).map(|()| self.write_guard())
    }

    /// The value, without locking: `&mut self` proves that nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The guard of a lock that was just taken to read.
    #[inline]
    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            lock: self,
            value: PhantomData,
        }
    }

    /// The guard of a lock that was just taken to write.
    #[inline]
    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard {
            lock: self,
            value: PhantomData,
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Some(guard) => debug.field("value", &&*guard),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.field("waiting", &self.raw.waiting()).finish()
    }
}

/// A [`RwLock`] that is locked to read; dropping it unlocks, from whatever goroutine or OS thread.
#[must_use = "the lock is given up when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// The guard is as good as the reference that it gives.
    value: PhantomData<&'a T>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock to read, so nobody changes the value, and this borrows the guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard was made of a lock that was taken to read, and drops once.
        unsafe { self.lock.raw.unlock_read() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A [`RwLock`] that is locked to write; dropping it unlocks, from whatever goroutine or OS thread.
#[must_use = "the lock is given up when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// The guard is as good as the reference that it gives.
    value: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Turns the guard into one that reads, without letting a writer in between. Never blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{RwLock, RwLockWriteGuard};
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.write();
    /// *writing += 1;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!(*reading + *lock.read(), 4);
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let guard = ManuallyDrop::new(guard);
        // SAFETY: the guard holds the lock to write, and does not drop.
        unsafe { guard.lock.raw.downgrade() };
        guard.lock.read_guard()
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock to write, so the value is reached through it alone, and this
        // borrows it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard was made of a lock that was taken to write, and drops once.
        unsafe { self.lock.raw.unlock_write() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
