//! Mutexes of C: on a goroutine a contended one parks.
//!
//! - X1: a goroutine that waits for a mutex enters the wait table after it tried the mutex under the
//!   bucket's lock, counted beforehand (Y6); who unlocks does so first and looks at the count after, and
//!   wakes one. So either the goroutine finds the mutex free, or the unlocker sees it.
//! - X2: a mutex that is given up inside libc passes no hook. That happens in one case only, waiting for a
//!   condition variable that other processes use: its mutex's bucket is marked before, for good, those
//!   parked there are woken, and who waits for a mutex of a marked bucket waits in the kernel.
//! - X3: a mutex whose owner the kernel has to know (robust, priority-inheriting, priority-protecting) is
//!   the shadow's of the goroutine ([`super::shadow`]): each call for it is made there.
//!
//! A mutex of several processes waits in the kernel, on the hand-off path. The kind is read from the
//! mutex: its place is part of libc's binary interface (static initialisers write it).

use super::real::reals;
use super::shadow::on_shadow;
use super::wait_table::{self, Kind};
use super::{clocks, sync_objects};
use crate::blocking::in_long_call;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use libc::{c_int, clockid_t, pthread_mutex_t, timespec};

type Mutex = *mut pthread_mutex_t;

reals! {
    real_lock = pthread_mutex_lock(mutex: Mutex) -> c_int;
    real_try_lock = pthread_mutex_trylock(mutex: Mutex) -> c_int;
    real_timed_lock = pthread_mutex_timedlock(mutex: Mutex, time: *const timespec) -> c_int;
    real_clock_lock = pthread_mutex_clocklock(mutex: Mutex, clock: clockid_t, time: *const timespec) -> c_int;
    real_unlock = pthread_mutex_unlock(mutex: Mutex) -> c_int;
    real_consistent = pthread_mutex_consistent(mutex: Mutex) -> c_int;
}

/// Where the kind stands in a mutex, in 32-bit words.
const KIND_WORD: usize = 4;
/// The type, robust (16), priority-inheriting (32), -protecting (64), process-shared (128).
const TYPE_BITS: c_int = 0xf;
const KERNEL_BITS: c_int = 0x70;
const SHARED_BIT: c_int = 0x80;

/// How a goroutine uses a mutex.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It parks.
    Parking,
    /// It waits in the kernel.
    Waiting,
    /// Its shadow does all (X3).
    Shadow,
}

fn manner(mutex: Mutex) -> Manner {
    let place = mutex.cast::<c_int>().wrapping_add(KIND_WORD);
    // SAFETY: the hook's caller vouches for it; a mutex has ten 32-bit words.
    let kind = unsafe { place.read() };
    if kind & KERNEL_BITS != 0 {
        Manner::Shadow
    } else if kind & SHARED_BIT != 0 || kind & TYPE_BITS > libc::PTHREAD_MUTEX_ADAPTIVE_NP {
        Manner::Waiting
    } else {
        Manner::Parking
    }
}

/// Whether every call for `mutex` is made on the goroutine's shadow (X3).
pub fn is_shadows(mutex: Mutex) -> bool {
    manner(mutex) == Manner::Shadow
}

/// Whether the calling goroutine holds `mutex`: then libc knows what that means.
fn is_own(mutex: Mutex) -> bool {
    let place = mutex.cast::<c_int>().wrapping_add(KIND_WORD);
    // SAFETY: the hook's caller vouches for it.
    if unsafe { place.read() } & TYPE_BITS != libc::PTHREAD_MUTEX_ERRORCHECK {
        return false; // a plain one waits for itself, a recursive one was taken by the attempt
    }
    sync_objects().mutex_owner.is_none_or(|owner| {
        // SAFETY: the hook's caller vouches for it.
        unsafe { owner.read(mutex as usize) == super::own_thread_number() }
    })
}

/// Takes `mutex` by parking; `None`: it is for libc to wait (X2), or to refuse.
fn lock_parking(mutex: Mutex, deadline: Nanos) -> Option<c_int> {
    if is_own(mutex) {
        return None;
    }
    let result =
        wait_table::acquire(
            mutex as usize,
            Kind::Mutex,
            deadline,
            |list| match real_try_lock(mutex) {
                libc::EBUSY if list.hidden_release => Some(libc::EBUSY),
                libc::EBUSY => None,
                result => Some(result),
            },
        );
    match result {
        Some(libc::EBUSY) => None,
        Some(result) => Some(result),
        None => Some(libc::ETIMEDOUT),
    }
}

/// Locks `mutex` on a goroutine. `deadline` is asked for only where there is a wait; `real` waits in libc.
fn lock(
    mutex: Mutex,
    deadline: impl FnOnce() -> Result<Nanos, c_int>,
    real: impl FnOnce() -> c_int + Send,
) -> c_int {
    if sched::current().is_none() {
        return real();
    }
    let manner = manner(mutex);
    if manner == Manner::Shadow {
        return on_shadow(real);
    }
    let result = real_try_lock(mutex);
    if result != libc::EBUSY {
        return result;
    }
    if manner == Manner::Parking {
        let deadline = match deadline() {
            Ok(deadline) => deadline,
            Err(error) => return error,
        };
        if let Some(result) = lock_parking(mutex, deadline) {
            return result;
        }
    }
    in_long_call(real)
}

/// What may be sent to the shadow: the caller waits, so what it points to lives.
#[derive(Clone, Copy)]
pub struct Sent<T>(pub T);
// SAFETY: the pointers are to objects that any thread may use, by libc's functions only.
unsafe impl<T> Send for Sent<T> {}

impl<T: Copy> Sent<T> {
    /// What was sent.
    pub fn get(self) -> T {
        self.0
    }
}

/// `pthread_mutex_lock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_lock(mutex: Mutex) -> c_int {
    let sent = Sent(mutex);
    lock(mutex, || Ok(NEVER), move || real_lock(sent.get()))
}

/// `pthread_mutex_timedlock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_timedlock(mutex: Mutex, time: *const timespec) -> c_int {
    let sent = Sent((mutex, time));
    let real = move || {
        let (mutex, time) = sent.get();
        real_timed_lock(mutex, time)
    };
    lock(mutex, || clocks::deadline(libc::CLOCK_REALTIME, time), real)
}

/// `pthread_mutex_clocklock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_clocklock(
    mutex: Mutex,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    let sent = Sent((mutex, time));
    let real = move || {
        let (mutex, time) = sent.get();
        real_clock_lock(mutex, clock, time)
    };
    lock(mutex, || clocks::deadline(clock, time), real)
}

/// Makes a call for `mutex` that does not wait: on the shadow if it is the shadow's (X3).
fn at_once(mutex: Mutex, real: impl FnOnce() -> c_int + Send) -> c_int {
    if sched::current().is_some() && is_shadows(mutex) {
        on_shadow(real)
    } else {
        real()
    }
}

/// `pthread_mutex_trylock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_trylock(mutex: Mutex) -> c_int {
    let sent = Sent(mutex);
    at_once(mutex, move || real_try_lock(sent.get()))
}

/// `pthread_mutex_consistent(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_consistent(mutex: Mutex) -> c_int {
    let sent = Sent(mutex);
    at_once(mutex, move || real_consistent(sent.get()))
}

/// `pthread_mutex_unlock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_unlock(mutex: Mutex) -> c_int {
    let sent = Sent(mutex);
    let result = at_once(mutex, move || real_unlock(sent.get()));
    // Nothing of the mutex is touched from here on: it may be gone.
    wait_table::released(mutex as usize, Kind::Mutex, 1);
    result
}

/// Marks the bucket of a mutex that libc is about to give up by itself (X2).
pub fn mark_hidden_release(mutex: Mutex) {
    let address = mutex as usize;
    let woken = wait_table::with_list(address, |list| {
        list.hidden_release = true;
        list.wake(address, Kind::Mutex, wait_table::ANY_BITS, usize::MAX)
    });
    woken.release();
}
