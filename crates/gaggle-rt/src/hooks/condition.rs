//! Condition variables of C: goroutines and other threads wait for them in the wait table.
//!
//! - C1: a waiter enters the table before it gives the mutex up, so every signal that comes after some
//!   other has taken that mutex finds it.
//! - C2: a signal wakes the longest waiting; one that finds nobody is forgotten. Nothing is ever written
//!   to the condition variable itself, so a static initialiser is as good as `pthread_cond_init`, and it
//!   may be destroyed as soon as nobody waits.
//! - C3: all users in the process come through these hooks, whatever kind of thread they are. Condition
//!   variables that other processes use are libc's: goroutines wait for them on the hand-off path.
//! - C4: between entering the table and parking a goroutine makes no call but the mutex's unlocking,
//!   which does not wait (T5 of `gaggle_core::task`). With a mutex of its shadow, the shadow waits.

use super::mutex::{self, is_shadows, pthread_mutex_lock, pthread_mutex_unlock};
use super::real::reals;
use super::shadow::on_shadow;
use super::wait_table::{self, Kind, Outcome};
use super::{clocks, sync_objects};
use crate::blocking::in_long_call;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, timespec};

type Condition = *mut pthread_cond_t;
type Mutex = *mut pthread_mutex_t;

reals! {
    real_wait = pthread_cond_wait(condition: Condition, mutex: Mutex) -> c_int;
    real_timed_wait = pthread_cond_timedwait(condition: Condition, mutex: Mutex, time: *const timespec) -> c_int;
    real_clock_wait = pthread_cond_clockwait(condition: Condition, mutex: Mutex, clock: clockid_t, time: *const timespec) -> c_int;
    real_signal = pthread_cond_signal(condition: Condition) -> c_int;
    real_broadcast = pthread_cond_broadcast(condition: Condition) -> c_int;
}

/// Whether libc has to do it: other processes may use the condition variable, or nobody can tell; or
/// this is a forked child.
fn is_libcs(condition: Condition) -> bool {
    crate::plain::is_child()
        || sync_objects().condition_shared.is_none_or(|shared| {
            // SAFETY: the hook's caller vouches for it.
            unsafe { shared.read(condition as usize) != 0 }
        })
}

/// What a waiting call is called with, to be sent to the shadow.
#[derive(Clone, Copy)]
struct Wait {
    condition: Condition,
    mutex: Mutex,
    deadline: Nanos,
}
// SAFETY: objects that any thread may use, by these functions only.
unsafe impl Send for Wait {}

impl Wait {
    /// Waits in the table (C1).
    fn here(self) -> c_int {
        let address = self.condition as usize;
        let outcome = wait_table::wait_after(address, Kind::Condition, self.deadline, || {
            // SAFETY: the hook's caller holds the mutex.
            unsafe { pthread_mutex_unlock(self.mutex) }
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return error,
        };
        // SAFETY: the mutex that was given up above.
        let locked = unsafe { pthread_mutex_lock(self.mutex) };
        match outcome {
            _ if locked != 0 => locked,
            Outcome::TimedOut => libc::ETIMEDOUT,
            Outcome::Woken | Outcome::Entered => 0,
        }
    }

    /// Waits where the mutex's owner is (C4).
    fn with_owner(self) -> c_int {
        if sched::current().is_some() && is_shadows(self.mutex) {
            on_shadow(move || self.here())
        } else {
            self.here()
        }
    }
}

/// Waits in libc, for a condition variable of several processes.
fn wait_in_libc(mutex: Mutex, real: impl FnOnce() -> c_int) -> c_int {
    mutex::mark_hidden_release(mutex);
    in_long_call(real)
}

/// `pthread_cond_wait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_wait(condition: Condition, mutex: Mutex) -> c_int {
    if is_libcs(condition) {
        return wait_in_libc(mutex, || real_wait(condition, mutex));
    }
    let deadline = NEVER;
    let wait = Wait {
        condition,
        mutex,
        deadline,
    };
    wait.with_owner()
}

/// Waits until `time` of the clock `clock`.
fn wait_until(
    condition: Condition,
    mutex: Mutex,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    match clocks::deadline(clock, time) {
        Err(error) => error,
        Ok(deadline) => {
            let wait = Wait {
                condition,
                mutex,
                deadline,
            };
            wait.with_owner()
        }
    }
}

/// `pthread_cond_timedwait(3)`: the clock is the condition variable's.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_timedwait(
    condition: Condition,
    mutex: Mutex,
    time: *const timespec,
) -> c_int {
    let monotonic = sync_objects().condition_monotonic;
    let Some(monotonic) = monotonic.filter(|_| !is_libcs(condition)) else {
        return wait_in_libc(mutex, || real_timed_wait(condition, mutex, time));
    };
    // SAFETY: the caller's contract.
    let clock = if unsafe { monotonic.read(condition as usize) } != 0 {
        libc::CLOCK_MONOTONIC
    } else {
        libc::CLOCK_REALTIME
    };
    wait_until(condition, mutex, clock, time)
}

/// `pthread_cond_clockwait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_clockwait(
    condition: Condition,
    mutex: Mutex,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    if is_libcs(condition) {
        return wait_in_libc(mutex, || real_clock_wait(condition, mutex, clock, time));
    }
    wait_until(condition, mutex, clock, time)
}

/// `pthread_cond_signal(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_signal(condition: Condition) -> c_int {
    if is_libcs(condition) {
        return real_signal(condition);
    }
    wait_table::released(condition as usize, Kind::Condition, 1);
    0
}

/// `pthread_cond_broadcast(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_broadcast(condition: Condition) -> c_int {
    if is_libcs(condition) {
        return real_broadcast(condition);
    }
    wait_table::released(condition as usize, Kind::Condition, usize::MAX);
    0
}
