//! libc's own functions behind the names that the hooks take over, and its private data symbols.
//!
//! Assumption: the dynamic linker knows them (a dynamically linked program). Check: a missing one is
//! a [`Refusal`](super::Refusal) (data) or aborts with the name (a function that every libc has).

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The address of a data symbol in any loaded library; `None` where there is none.
pub fn data(name: &CStr) -> Option<*const c_void> {
    // SAFETY: the name ends in a zero byte; RTLD_DEFAULT is always a valid handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const())
}

/// A libc function reached past the hook of the same name; resolved at its first use, or before by
/// [`Real::resolve`] where a lookup could come at a bad time.
#[derive(Debug)]
pub struct Real {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Real {
    /// The libc function `name`.
    pub const fn new(name: &'static CStr) -> Self {
        Real {
            name,
            address: AtomicUsize::new(0),
        }
    }

    /// The function's address.
    ///
    /// # Panics
    /// Aborts the process where libc has no such function, which no supported libc lacks.
    pub fn resolve(&self) -> usize {
        // Relaxed: the value is the same whoever stores it, and what it points to never changes.
        let known = self.address.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        // SAFETY: the name ends in a zero byte; RTLD_NEXT asks for the definition after ours.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize;
        if found == 0 {
            // No unwinding out of an `extern "C"` hook, no allocation: say it and stop.
            std::process::abort();
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}
