//! A number under a lock, which the model checker lets nobody touch while another writes it.

use super::Model;
use gaggle_core::sync::RawMutex;
use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

/// A number and what guards it.
pub struct Counted<L> {
    pub lock: L,
    count: UnsafeCell<usize>,
}

// SAFETY: each test touches `count` under `lock` alone, which is what it checks: the cell is loom's.
unsafe impl<L: Sync> Sync for Counted<L> {}
// SAFETY: as above.
unsafe impl<L: Send> Send for Counted<L> {}

impl<L: Send + Sync + 'static> Counted<L> {
    /// Nothing, under `lock`.
    pub fn new(lock: L) -> Arc<Self> {
        Arc::new(Counted {
            lock,
            count: UnsafeCell::new(0),
        })
    }

    /// Adds one; the caller holds the lock.
    pub fn add_one(&self) {
        self.count.with_mut(|count| {
            // SAFETY: the cell reports it if another touches it meanwhile.
            unsafe { *count += 1 };
        });
    }

    /// The number; the caller holds the lock.
    pub fn read(&self) -> usize {
        self.count.with(|count| {
            // SAFETY: as above.
            unsafe { *count }
        })
    }

    /// Starts a task that does `f` with it.
    pub fn start<T: 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Self) -> T + 'static,
    ) -> JoinHandle<T> {
        let counted = self.clone();
        thread::spawn(move || f(&counted))
    }
}

impl Counted<RawMutex<Model>> {
    /// Adds one under the mutex.
    pub fn lock_and_add(&self) {
        self.lock.lock();
        self.add_and_unlock();
    }

    /// Adds one under the mutex, which the caller has locked, and unlocks it.
    pub fn add_and_unlock(&self) {
        self.add_one();
        // SAFETY: the caller has taken it.
        unsafe { self.lock.unlock() };
    }
}
