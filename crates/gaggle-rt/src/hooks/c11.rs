//! The same locks by their names of C11: libc's own reach the functions of threads.h without a hook.

use super::{barrier, condition, join, mutex, sleep};
use libc::{c_int, pthread_cond_t, pthread_mutex_t, pthread_once_t, pthread_t, timespec};

/// thrd_success, thrd_error and thrd_timedout.
const SUCCESS: c_int = 0;
const ERROR: c_int = 2;
const TIMED_OUT: c_int = 4;

/// An error number as C11's functions answer it.
fn answer(error: c_int) -> c_int {
    match error {
        0 => SUCCESS,
        libc::ETIMEDOUT => TIMED_OUT,
        libc::EBUSY => 1,
        libc::ENOMEM => 3,
        _ => ERROR,
    }
}

macro_rules! same {
    ($($name:ident = $module:ident::$of:ident($($argument:ident: $type:ty),*);)*) => {$(
        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name($($argument: $type),*) -> c_int {
            // SAFETY: the caller's contract; the types are the same objects.
            answer(unsafe { $module::$of($($argument),*) })
        }
    )*};
}

same! {
    mtx_lock = mutex::pthread_mutex_lock(mutex: *mut pthread_mutex_t);
    mtx_trylock = mutex::pthread_mutex_trylock(mutex: *mut pthread_mutex_t);
    mtx_timedlock = mutex::pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, time: *const timespec);
    mtx_unlock = mutex::pthread_mutex_unlock(mutex: *mut pthread_mutex_t);
    cnd_wait = condition::pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t);
    cnd_timedwait = condition::pthread_cond_timedwait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, time: *const timespec);
    cnd_signal = condition::pthread_cond_signal(condition: *mut pthread_cond_t);
    cnd_broadcast = condition::pthread_cond_broadcast(condition: *mut pthread_cond_t);
}

/// `thrd_join(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn thrd_join(thread: pthread_t, value: *mut c_int) -> c_int {
    let mut result = std::ptr::null_mut();
    // SAFETY: the caller's contract.
    let error = unsafe { join::pthread_join(thread, &raw mut result) };
    if error == 0 && !value.is_null() {
        // SAFETY: the caller's contract: null or writable. libc keeps the number as a pointer.
        unsafe { value.write(result as isize as c_int) };
    }
    answer(error)
}

/// `thrd_sleep(3)`: -1 when a signal ended it, less for another error.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's contract.
    match unsafe { sleep::clock_nanosleep(libc::CLOCK_REALTIME, 0, time, left) } {
        0 => 0,
        libc::EINTR => -1,
        _ => -2,
    }
}

/// `thrd_yield(3)`.
///
/// # Safety
/// None is asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thrd_yield() {
    // SAFETY: takes nothing.
    unsafe { sleep::sched_yield() };
}

/// `call_once(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn call_once(
    flag: *mut pthread_once_t,
    function: unsafe extern "C-unwind" fn(),
) {
    // SAFETY: the caller's contract.
    unsafe { barrier::pthread_once(flag, function) };
}
