//! Threads: thread-local destructors, pthread keys, joining, C's semaphores.
//!
//! Joins and semaphores wait in the kernel inside libc; on a goroutine they take the hand-off path, so
//! the others go on, at the price of an OS thread meanwhile.

use crate::blocking::in_long_call;
use crate::{sched, thread_tls};
use gaggle_sys::glibc::symbols::Real;
use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};

static CXA_THREAD_ATEXIT: Real = Real::new(c"__cxa_thread_atexit_impl");
static KEY_CREATE: Real = Real::new(c"pthread_key_create");
static KEY_DELETE: Real = Real::new(c"pthread_key_delete");
static GETATTR: Real = Real::new(c"pthread_getattr_np");
static JOIN: Real = Real::new(c"pthread_join");
static SEM_WAIT: Real = Real::new(c"sem_wait");

/// Finds libc's own functions before the first goroutine.
pub fn resolve_all() {
    for real in [
        &CXA_THREAD_ATEXIT,
        &KEY_CREATE,
        &KEY_DELETE,
        &GETATTR,
        &JOIN,
        &SEM_WAIT,
    ] {
        real.resolve();
    }
}

/// Registers a destructor of the calling thread's (or goroutine's) thread-local storage.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __cxa_thread_atexit_impl(
    function: thread_tls::DestructorFn,
    object: *mut c_void,
    module: *mut c_void,
) -> c_int {
    if let Some(g) = sched::current() {
        return if thread_tls::register(g, function, object) {
            0
        } else {
            -1
        };
    }
    type Function =
        unsafe extern "C" fn(thread_tls::DestructorFn, *mut c_void, *mut c_void) -> c_int;
    // SAFETY: libc's function of this name has this type.
    let real: Function = unsafe { std::mem::transmute(CXA_THREAD_ATEXIT.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(function, object, module) }
}

/// `pthread_key_create(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(key: *mut pthread_key_t, destructor: usize) -> c_int {
    type Function = unsafe extern "C" fn(*mut pthread_key_t, usize) -> c_int;
    // SAFETY: libc's function of this name has this type (the destructor is a nullable pointer).
    let real: Function = unsafe { std::mem::transmute(KEY_CREATE.resolve()) };
    // SAFETY: the caller's contract.
    let result = unsafe { real(key, destructor) };
    if result == 0 {
        // SAFETY: the call succeeded, so it wrote the key.
        thread_tls::key_created(unsafe { *key }, destructor);
    }
    result
}

/// `pthread_key_delete(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    thread_tls::key_deleted(key);
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_key_t) -> c_int =
        unsafe { std::mem::transmute(KEY_DELETE.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(key) }
}

/// `pthread_getattr_np(3)`: asks the kernel about the thread by its number, so on a goroutine the M's
/// number stands in for the time of the call.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getattr_np(
    thread: pthread_t,
    attributes: *mut pthread_attr_t,
) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int =
        unsafe { std::mem::transmute(GETATTR.resolve()) };
    let own = sched::current().filter(|g| g.fs.get() == thread as usize);
    let Some(g) = own else {
        // SAFETY: the caller's contract.
        return unsafe { real(thread, attributes) };
    };
    let field = crate::template().tid_field(g.fs.get());
    // SAFETY: the goroutine's own control block, which nobody else writes.
    let number = unsafe {
        field.replace(
            g.machine()
                .thread_id
                .load(std::sync::atomic::Ordering::Relaxed) as u32,
        )
    };
    // SAFETY: the caller's contract; the goroutine stays on its M during the call.
    let result = unsafe { real(thread, attributes) };
    // SAFETY: as above.
    unsafe { field.write(number) };
    result
}

/// `pthread_join(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int =
        unsafe { std::mem::transmute(JOIN.resolve()) };
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(thread, value) })
}

/// `sem_wait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sem_wait(semaphore: *mut c_void) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*mut c_void) -> c_int =
        unsafe { std::mem::transmute(SEM_WAIT.resolve()) };
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(semaphore) })
}
