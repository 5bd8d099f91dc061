//! The lock of short critical sections: it spins shortly, then blocks the OS thread.

use gaggle_core::lock::RawLock;
use parking_lot::lock_api::RawMutex as _;

/// One byte; `parking_lot`'s lock, which spins some tens of times before it blocks.
pub struct Lock(parking_lot::RawMutex);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.0.is_locked())
            .finish()
    }
}

impl Lock {
    /// An unlocked lock, for statics.
    pub const fn unlocked() -> Self {
        Lock(parking_lot::RawMutex::INIT)
    }
}

impl RawLock for Lock {
    fn new() -> Self {
        Lock::unlocked()
    }

    fn lock(&self) {
        self.0.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock, which is this function's own requirement.
        unsafe { self.0.unlock() }
    }
}
