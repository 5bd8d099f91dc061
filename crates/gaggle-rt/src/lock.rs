//! The lock of short sections for this backend: a spin, then the kernel's futex; never a park.
//!
//! A goroutine that holds one is in a section ([`crate::preempt`]): it is not suspended with the lock.

use crate::{preempt, sched};
use gaggle_core::lock::RawLock;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Lock(gaggle_sys::raw_lock::RawLock);

impl Lock {
    /// An unlocked lock.
    ///
    /// The runtime's own locks are statics made by this and never by `LazyLock`: that would wait by
    /// a futex when two threads race for it, which is a hook of ours, which uses these locks.
    pub const fn unlocked() -> Self {
        Lock(gaggle_sys::raw_lock::RawLock::new())
    }
}

impl RawLock for Lock {
    #[inline]
    fn new() -> Self {
        Lock::unlocked()
    }

    #[inline]
    fn lock(&self) {
        if let Some(g) = sched::current() {
            preempt::enter(g);
        }
        self.0.lock();
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock();
        if let Some(g) = sched::current() {
            preempt::leave(g);
        }
    }
}
