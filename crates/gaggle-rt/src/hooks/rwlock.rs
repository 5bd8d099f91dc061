//! Read-write locks of C: a goroutine that cannot have one at once parks.
//!
//! - R1: who holds the lock is libc's to know: it is taken by libc's `try` functions and given up by
//!   libc's `unlock`, so foreign threads wait in libc for the same lock.
//! - R2: a goroutine enters the wait table after it tried under the bucket's lock, counted beforehand
//!   (Y6); every unlock looks at the count after it and wakes all, readers and writers, who try again.
//!
//! That prefers readers, as libc's default kind does. Locks that prefer writers, and those of several
//! processes, wait in libc, on the hand-off path.

use super::real::reals;
use super::wait_table::{self, Kind};
use super::{clocks, sync_objects};
use crate::blocking::in_long_call;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use libc::{c_int, clockid_t, pthread_rwlock_t, timespec};

type RwLock = *mut pthread_rwlock_t;

reals! {
    real_read = pthread_rwlock_rdlock(lock: RwLock) -> c_int;
    real_write = pthread_rwlock_wrlock(lock: RwLock) -> c_int;
    real_try_read = pthread_rwlock_tryrdlock(lock: RwLock) -> c_int;
    real_try_write = pthread_rwlock_trywrlock(lock: RwLock) -> c_int;
    real_timed_read = pthread_rwlock_timedrdlock(lock: RwLock, time: *const timespec) -> c_int;
    real_timed_write = pthread_rwlock_timedwrlock(lock: RwLock, time: *const timespec) -> c_int;
    real_clock_read = pthread_rwlock_clockrdlock(lock: RwLock, clock: clockid_t, time: *const timespec) -> c_int;
    real_clock_write = pthread_rwlock_clockwrlock(lock: RwLock, clock: clockid_t, time: *const timespec) -> c_int;
    real_unlock = pthread_rwlock_unlock(lock: RwLock) -> c_int;
}

/// Whether a goroutine may wait for `lock` parked. Not for what it holds itself for writing: libc knows
/// what to answer.
fn can_park(lock: RwLock) -> bool {
    let objects = sync_objects();
    let (Some(shared), Some(kind), Some(owner)) = (
        objects.rwlock_shared,
        objects.rwlock_kind,
        objects.rwlock_owner,
    ) else {
        return false;
    };
    let address = lock as usize;
    // SAFETY: the hook's caller vouches for the lock.
    let shared = unsafe { shared.read(address) };
    // SAFETY: as above.
    let kind = unsafe { kind.read(address) };
    let plain = shared | kind == 0;
    // SAFETY: the hook's caller vouches for it.
    plain && unsafe { owner.read(address) } != super::own_thread_number()
}

/// Takes `lock` by `attempt`, on a goroutine by parking; elsewhere `real` waits in libc.
fn take(
    lock: RwLock,
    attempt: fn(RwLock) -> c_int,
    deadline: impl FnOnce() -> Result<Nanos, c_int>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if sched::current().is_none() {
        return real();
    }
    let attempt = || match attempt(lock) {
        libc::EBUSY => None,
        result => Some(result),
    };
    if let Some(result) = attempt() {
        return result;
    }
    if !can_park(lock) {
        return in_long_call(real);
    }
    match deadline() {
        Err(error) => error,
        Ok(deadline) => wait_table::acquire(lock as usize, Kind::RwLock, deadline, |_| attempt())
            .unwrap_or(libc::ETIMEDOUT),
    }
}

macro_rules! locks {
    ($($plain:ident $timed:ident $clock:ident: $attempt:ident $real:ident $real_timed:ident $real_clock:ident;)*) => {$(
        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $plain(lock: RwLock) -> c_int {
            take(lock, $attempt, || Ok(NEVER), || $real(lock))
        }

        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $timed(lock: RwLock, time: *const timespec) -> c_int {
            let deadline = || clocks::deadline(libc::CLOCK_REALTIME, time);
            take(lock, $attempt, deadline, || $real_timed(lock, time))
        }

        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $clock(
            lock: RwLock,
            clock: clockid_t,
            time: *const timespec,
        ) -> c_int {
            let deadline = || clocks::deadline(clock, time);
            take(lock, $attempt, deadline, || $real_clock(lock, clock, time))
        }
    )*};
}

locks! {
    pthread_rwlock_rdlock pthread_rwlock_timedrdlock pthread_rwlock_clockrdlock:
        real_try_read real_read real_timed_read real_clock_read;
    pthread_rwlock_wrlock pthread_rwlock_timedwrlock pthread_rwlock_clockwrlock:
        real_try_write real_write real_timed_write real_clock_write;
}

/// `pthread_rwlock_unlock(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_unlock(lock: RwLock) -> c_int {
    let result = real_unlock(lock);
    wait_table::released(lock as usize, Kind::RwLock, usize::MAX);
    result
}
