//! Semaphores of C: a goroutine that finds none left parks.
//!
//! - P1: the count is libc's own word, taken from and given to by libc's own functions only; so foreign
//!   threads wait in libc, and both kinds of waiters may wait for the same semaphore.
//! - P2: a goroutine enters the wait table after it found the count 0 under the bucket's lock, counted
//!   beforehand (Y6); who posts looks at the count of waiters after. So no post is missed; one may wake
//!   a thread in libc and a goroutine, of which the slower waits again.
//! - P3: `sem_post` may be called in a signal handler, which may have interrupted the holder of any of
//!   the runtime's locks. Handlers run on foreign threads only, so a post from one takes no lock: it
//!   leaves the waking to the monitor.
//! - P4: a semaphore may be destroyed as soon as its last post has woken its last waiter: after libc's
//!   post nothing of it is touched.
//!
//! Semaphores of several processes, and named ones, wait in libc, on the hand-off path.

use super::real::reals;
use super::wait_table::{self, Kind};
use super::{clocks, set_errno, sync_objects};
use crate::blocking::in_long_call;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use libc::{c_int, clockid_t, sem_t, timespec};

type Semaphore = *mut sem_t;

reals! {
    real_wait = sem_wait(semaphore: Semaphore) -> c_int;
    real_try_wait = sem_trywait(semaphore: Semaphore) -> c_int;
    real_timed_wait = sem_timedwait(semaphore: Semaphore, time: *const timespec) -> c_int;
    real_clock_wait = sem_clockwait(semaphore: Semaphore, clock: clockid_t, time: *const timespec) -> c_int;
    real_post = sem_post(semaphore: Semaphore) -> c_int;
}

fn can_park(semaphore: Semaphore) -> bool {
    sync_objects().semaphore_shared.is_some_and(|shared| {
        // SAFETY: the hook's caller vouches for it.
        unsafe { shared.read(semaphore as usize) == 0 }
    })
}

/// Takes one, on a goroutine by parking. `deadline` is asked for only where there is a wait.
fn take(
    semaphore: Semaphore,
    deadline: impl FnOnce() -> Result<Nanos, c_int>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if sched::current().is_none() {
        return real();
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let attempt = || (real_try_wait(semaphore) == 0).then_some(0);
    if attempt().is_some() {
        return 0;
    }
    if !can_park(semaphore) {
        return in_long_call(real);
    }
    let failure = match deadline() {
        Err(error) => error,
        Ok(deadline) => {
            let taken =
                wait_table::acquire(semaphore as usize, Kind::Semaphore, deadline, |_| attempt());
            if taken.is_some() {
                set_errno(errno); // the attempts that failed left theirs
                return 0;
            }
            libc::ETIMEDOUT
        }
    };
    set_errno(failure);
    -1
}

/// `sem_wait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_wait(semaphore: Semaphore) -> c_int {
    take(semaphore, || Ok(NEVER), || real_wait(semaphore))
}

/// `sem_timedwait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_timedwait(
    semaphore: Semaphore,
    time: *const timespec,
) -> c_int {
    take(
        semaphore,
        || clocks::deadline(libc::CLOCK_REALTIME, time),
        || real_timed_wait(semaphore, time),
    )
}

/// `sem_clockwait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_clockwait(
    semaphore: Semaphore,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    take(
        semaphore,
        || clocks::deadline(clock, time),
        || real_clock_wait(semaphore, clock, time),
    )
}

/// `sem_post(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sem_post(semaphore: Semaphore) -> c_int {
    let result = real_post(semaphore);
    // P4: only the address is used from here on.
    if sched::current().is_some() {
        wait_table::released(semaphore as usize, Kind::Semaphore, 1);
    } else {
        wait_table::defer(semaphore as usize); // P3
    }
    result
}
