//! The lock of short sections for this backend: a spin, then the kernel's futex; never a park.

use gaggle_core::lock::RawLock;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Lock(gaggle_sys::raw_lock::RawLock);

impl RawLock for Lock {
    #[inline]
    fn new() -> Self {
        Lock(gaggle_sys::raw_lock::RawLock::new())
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
