//! The lock of short sections for this backend: a spin, then the kernel's futex; never a park.

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
        self.0.lock();
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock();
    }
}
