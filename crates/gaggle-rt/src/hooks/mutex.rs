//! `pthread_mutex_lock`, which C code waits with: on a goroutine a contended one parks.
//!
//! - X1: a goroutine that waits is in the futex table under the mutex's address, put there after it
//!   counted itself in `PARKED` and then found the mutex still taken, under the bucket's lock.
//! - X2: who unlocks does so first and looks at `PARKED` after, and wakes one. With X1 either the
//!   goroutine finds the mutex free, or the unlocker sees the count and, under the lock, the waiter.
//! - X3: a mutex that is given up inside libc, by `pthread_cond_wait`, passes no hook. So its bucket is
//!   marked before, for good, those parked there are woken, and who waits for a mutex of a marked
//!   bucket waits in the kernel, on the hand-off path.
//!
//! Only plain, recursive and adaptive mutexes of one process; others wait in the kernel. The kind is
//! read from the mutex: its place is part of libc's binary interface (static initialisers write it).

use super::futex;
use crate::blocking::in_long_call;
use crate::g::G;
use crate::sched;
use gaggle_sys::glibc::symbols::Real;
use libc::{c_int, c_void, pthread_mutex_t};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

static MUTEX_LOCK: Real = Real::new(c"pthread_mutex_lock");
static MUTEX_UNLOCK: Real = Real::new(c"pthread_mutex_unlock");
static COND_WAIT: Real = Real::new(c"pthread_cond_wait");
static COND_TIMEDWAIT: Real = Real::new(c"pthread_cond_timedwait");

/// Goroutines that wait, or are about to, for a mutex (X1).
static PARKED: AtomicUsize = AtomicUsize::new(0);

/// Where the kind stands in a mutex, in 32-bit words.
const KIND_WORD: usize = 4;
/// The bits of the kind that say what it is: the type, robust, priority-inheriting, -protecting,
/// process-shared.
const KIND_BITS: c_int = 0xff;

/// Finds libc's own functions before the first goroutine.
pub fn resolve_all() {
    for real in [&MUTEX_LOCK, &MUTEX_UNLOCK, &COND_WAIT, &COND_TIMEDWAIT] {
        real.resolve();
    }
}

type OnMutex = unsafe extern "C" fn(*mut pthread_mutex_t) -> c_int;

fn on_mutex(real: &Real) -> OnMutex {
    // SAFETY: libc's functions of these names have this type.
    unsafe { std::mem::transmute::<usize, OnMutex>(real.resolve()) }
}

/// Whether goroutines can wait for `mutex` parked.
///
/// # Safety
/// `mutex` is an initialised mutex.
unsafe fn can_park(mutex: *mut pthread_mutex_t) -> bool {
    let place = mutex.cast::<c_int>().wrapping_add(KIND_WORD);
    // SAFETY: the caller's contract; a mutex has ten 32-bit words.
    let kind = unsafe { place.read() } & KIND_BITS;
    matches!(
        kind,
        libc::PTHREAD_MUTEX_NORMAL
            | libc::PTHREAD_MUTEX_RECURSIVE
            | libc::PTHREAD_MUTEX_ADAPTIVE_NP
    )
}

/// `pthread_mutex_lock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    let real = on_mutex(&MUTEX_LOCK);
    let Some(g) = sched::current() else {
        // SAFETY: the caller's contract.
        return unsafe { real(mutex) };
    };
    // SAFETY: the caller's contract.
    let result = unsafe { libc::pthread_mutex_trylock(mutex) };
    if result != libc::EBUSY {
        return result;
    }
    // SAFETY: the caller's contract.
    if unsafe { can_park(mutex) }
        && let Some(result) = lock_parking(g, mutex)
    {
        return result;
    }
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(mutex) })
}

/// Takes `mutex`, parking while it is taken; `None`: its bucket is marked (X3).
fn lock_parking(g: &'static G, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    loop {
        let outcome = Cell::new(Some(libc::EBUSY));
        // SeqCst: X1, before the mutex is tried.
        PARKED.fetch_add(1, Ordering::SeqCst);
        futex::park_on(g, mutex as usize, |list| {
            // SAFETY: the hook's caller vouches for the mutex.
            outcome.set(Some(unsafe { libc::pthread_mutex_trylock(mutex) }));
            if outcome.get() == Some(libc::EBUSY) && list.condition {
                outcome.set(None);
            }
            outcome.get() == Some(libc::EBUSY)
        });
        // SeqCst: with the look in `pthread_mutex_unlock`.
        PARKED.fetch_sub(1, Ordering::SeqCst);
        if outcome.get() != Some(libc::EBUSY) {
            return outcome.get();
        }
    }
}

/// `pthread_mutex_unlock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { on_mutex(&MUTEX_UNLOCK)(mutex) };
    // SeqCst: X2: the mutex was given up before, the count is read after.
    fence(Ordering::SeqCst);
    if PARKED.load(Ordering::SeqCst) > 0 {
        futex::wake_on(mutex as usize, 1, |_| {});
    }
    result
}

/// Marks the bucket of a mutex that libc is about to give up by itself (X3).
fn mark(mutex: *mut c_void) {
    futex::wake_on(mutex as usize, usize::MAX, |list| list.condition = true);
}

/// `pthread_cond_wait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_wait(condition: *mut c_void, mutex: *mut c_void) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int =
        unsafe { std::mem::transmute(COND_WAIT.resolve()) };
    mark(mutex);
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(condition, mutex) })
}

/// `pthread_cond_timedwait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut c_void,
    mutex: *mut c_void,
    time: *const c_void,
) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*mut c_void, *mut c_void, *const c_void) -> c_int =
        unsafe { std::mem::transmute(COND_TIMEDWAIT.resolve()) };
    mark(mutex);
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(condition, mutex, time) })
}
