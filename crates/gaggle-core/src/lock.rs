//! A mutual-exclusion lock for the short critical sections inside an algorithm.
//!
//! The waiting is the backend's ([`RawLock`]); the guarded value and its guard are here. A section
//! under such a lock must not park, run user code, or ready a task (I3 of the algorithms that use it).

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

/// How a backend excludes others for a few nanoseconds.
///
/// A waiting caller may spin and then block its OS thread; it never parks the task, so a section
/// under the lock is entered and left on the same OS thread.
pub trait RawLock: Send + Sync {
    /// An unlocked lock.
    fn new() -> Self;

    /// Takes the lock, waiting as long as another holds it.
    ///
    /// Acquire: pairs with the Release in [`RawLock::unlock`].
    fn lock(&self);

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller holds the lock, and gives it up once.
    unsafe fn unlock(&self);
}

/// A value that one task at a time may touch.
#[derive(Debug)]
pub struct Lock<T, L: RawLock> {
    raw: L,
    value: UnsafeCell<T>,
}

// SAFETY: `raw` lets one holder at a time reach `value`, so sharing the lock only ever moves the
// value's access from thread to thread, which `T: Send` allows.
unsafe impl<T: Send, L: RawLock> Sync for Lock<T, L> {}
// SAFETY: the lock owns its value; sending the whole sends the value, and `L` is `Send`.
unsafe impl<T: Send, L: RawLock> Send for Lock<T, L> {}

impl<T, L: RawLock> Lock<T, L> {
    /// A lock around `value` made of an unlocked `raw`: for statics, where `RawLock::new` cannot be
    /// called.
    pub const fn from_raw(raw: L, value: T) -> Self {
        Lock {
            raw,
            value: UnsafeCell::new(value),
        }
    }

    /// An unlocked lock around `value`.
    pub fn new(value: T) -> Self {
        Lock {
            raw: L::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock until the guard drops.
    pub fn lock(&self) -> LockGuard<'_, T, L> {
        self.raw.lock();
        LockGuard { lock: self }
    }

    /// Reaches the value without locking: `&mut self` proves that nobody else can.
    pub fn value_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Access to a locked value; dropping it unlocks.
#[derive(Debug)]
pub struct LockGuard<'a, T, L: RawLock> {
    lock: &'a Lock<T, L>,
}

impl<T, L: RawLock> Deref for LockGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard exists only between `lock` and `unlock`, so no `&mut` to the value
        // exists but through this guard, and this borrows the guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, L: RawLock> DerefMut for LockGuard<'_, T, L> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, L: RawLock> Drop for LockGuard<'_, T, L> {
    fn drop(&mut self) {
        // SAFETY: the guard was made by `lock`, which took the lock, and drops once.
        unsafe { self.lock.raw.unlock() }
    }
}
