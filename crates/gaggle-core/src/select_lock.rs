//! A locked value whose lock can also be held without a guard, as a select needs it.
//!
//! A select holds the locks of all its channels at once, a number known only at run time and with
//! each channel perhaps named by several arms; a guard per lock cannot say that. Everything else uses
//! [`Guarded::lock`].

use crate::lock::RawLock;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

/// A value that one task at a time may touch.
pub(crate) struct Guarded<S, L: RawLock> {
    raw: L,
    state: UnsafeCell<S>,
    /// What the model checker has for an address: it replays a run from its start, and the same locks
    /// must then come in the same order, wherever the allocator puts them.
    #[cfg(loom)]
    number: usize,
}

// SAFETY: the raw lock lets one holder at a time reach the state, so sharing the whole only moves
// the state's access from thread to thread, which `S: Send` allows.
unsafe impl<S: Send, L: RawLock> Sync for Guarded<S, L> {}

impl<S, L: RawLock> Guarded<S, L> {
    /// An unlocked `state`.
    pub(crate) fn new(state: S) -> Self {
        Guarded {
            raw: L::new(),
            state: UnsafeCell::new(state),
            #[cfg(loom)]
            number: {
                use std::sync::atomic::{AtomicUsize, Ordering};
                static CREATED: AtomicUsize = AtomicUsize::new(1);
                // Relaxed: only the numbers' own order matters. Not the model's atomic: it would be
                // an event of the run.
                CREATED.fetch_add(1, Ordering::Relaxed)
            },
        }
    }

    /// As [`Guarded::new`], with an unlocked `raw`: for statics.
    #[cfg(not(loom))]
    pub(crate) const fn from_raw(raw: L, state: S) -> Self {
        Guarded {
            raw,
            state: UnsafeCell::new(state),
        }
    }

    /// Takes the lock until the guard drops.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, S, L> {
        self.raw.lock();
        Guard { guarded: self }
    }

    /// Takes the lock until [`Guarded::unlock_raw`].
    pub(crate) fn lock_raw(&self) {
        self.raw.lock();
    }

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller took it by [`Guarded::lock_raw`], and has no reference into the state left.
    pub(crate) unsafe fn unlock_raw(&self) {
        // SAFETY: the caller holds the lock and gives it up once.
        unsafe { self.raw.unlock() }
    }

    /// The state.
    ///
    /// # Safety
    /// The caller holds the lock, and has no other reference into the state while this one lives.
    #[allow(
        clippy::mut_from_ref,
        reason = "the lock makes it the only one, as the caller promises"
    )]
    pub(crate) unsafe fn state(&self) -> &mut S {
        // SAFETY: the lock excludes other tasks, and the caller has no other reference of its own.
        unsafe { &mut *self.state.get() }
    }

    /// Where the lock is: the order in which several are taken, and what tells two apart.
    pub(crate) fn address(&self) -> usize {
        #[cfg(loom)]
        return self.number;
        #[cfg(not(loom))]
        std::ptr::from_ref(self).addr()
    }
}

/// Access to a locked state; dropping it unlocks.
pub(crate) struct Guard<'a, S, L: RawLock> {
    guarded: &'a Guarded<S, L>,
}

impl<S, L: RawLock> Deref for Guard<'_, S, L> {
    type Target = S;
    #[inline]
    fn deref(&self) -> &S {
        // SAFETY: the guard holds the lock, and this borrows the guard, through which alone the state
        // is reached.
        unsafe { &*self.guarded.state.get() }
    }
}

impl<S, L: RawLock> DerefMut for Guard<'_, S, L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.guarded.state.get() }
    }
}

impl<S, L: RawLock> Drop for Guard<'_, S, L> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard was made by `lock`, which took the lock, and drops once.
        unsafe { self.guarded.raw.unlock() }
    }
}
