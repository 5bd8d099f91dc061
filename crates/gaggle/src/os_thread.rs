//! Staying on one OS thread, for as long as a value lives.

use crate::runtime;
use std::fmt;
use std::marker::PhantomData;

/// Binds the calling goroutine to the OS thread it runs on until the answer is dropped: see
/// [`runtime::lock_os_thread`], which this calls. Never blocks. Such locks are counted: each counts one.
///
/// # Examples
/// ```
/// gaggle::run(|| {
///     let _bound = gaggle::lock_os_thread();
///     // What is known by its OS thread may be called here.
///     std::thread::sleep(std::time::Duration::from_millis(1));
/// });
/// ```
pub fn lock_os_thread() -> OsThreadLock {
    runtime::lock_os_thread();
    OsThreadLock { _here: PhantomData }
}

/// Keeps its goroutine on one OS thread; made by [`lock_os_thread`]. It stays with that goroutine.
///
/// ```compile_fail
/// let bound = gaggle::lock_os_thread();
/// gaggle::go(move || drop(bound));
/// ```
#[must_use = "dropping it unbinds the goroutine"]
pub struct OsThreadLock {
    /// It is neither sent nor shared: another goroutine would unbind itself.
    _here: PhantomData<*const ()>,
}

impl Drop for OsThreadLock {
    fn drop(&mut self) {
        runtime::unlock_os_thread();
    }
}

impl fmt::Debug for OsThreadLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsThreadLock").finish_non_exhaustive()
    }
}
