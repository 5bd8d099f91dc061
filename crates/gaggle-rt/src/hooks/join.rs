//! Joining OS threads: a goroutine parks until the kernel says that the thread has ended.
//!
//! - J1: the thread's number stands in its control block until the kernel clears it at the thread's end;
//!   the block lives until the thread is joined. The descriptor opened for that number is the thread's if
//!   the number still stands there afterwards.
//! - J2: whatever the wait says, libc's own function does the joining.
//!
//! Kernels before 6.9 have no descriptor for a thread: there it takes the hand-off path.

use super::child::{THREAD, Watch};
use super::clocks;
use super::real::reals;
use crate::Green;
use crate::blocking::in_long_call;
use crate::g::G;
use crate::netpoll::Wait;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_core::interrupt;
use libc::{c_int, c_void, clockid_t, pthread_t, timespec};

type Value = *mut *mut c_void;

reals! {
    real_join = pthread_join(thread: pthread_t, value: Value) -> c_int;
    real_timed_join = pthread_timedjoin_np(thread: pthread_t, value: Value, time: *const timespec) -> c_int;
    real_clock_join = pthread_clockjoin_np(thread: pthread_t, value: Value, clock: clockid_t, time: *const timespec) -> c_int;
}

/// Parks `g` until `thread` has ended or `deadline`; `false`: there is no way to.
fn wait_for_end(g: &'static G, thread: pthread_t, deadline: Nanos) -> bool {
    if thread as usize == g.fs.get() {
        return false; // itself: libc refuses
    }
    let field = crate::template().tid_field(thread as usize);
    // SAFETY: J1. Volatile: the kernel clears it.
    let number = || unsafe { field.read_volatile() };
    let own = number();
    if own == 0 {
        return true;
    }
    let Some(watch) = Watch::open(own as c_int, THREAD) else {
        return number() == 0;
    };
    if number() != own {
        return true; // J1: it has ended
    }
    let outcome = interrupt::shielded::<Green, _>(|| watch.wait(g, deadline)); // K4: a foreign join
    !matches!(outcome, Wait::Unpollable | Wait::Closed)
}

/// Joins after waiting parked; `real` does the joining, or the waiting where that cannot be.
fn join(
    thread: pthread_t,
    deadline: impl FnOnce() -> Result<Nanos, c_int>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let Some(g) = sched::current() else {
        return real();
    };
    if let Ok(deadline) = deadline() {
        wait_for_end(g, thread, deadline);
    }
    in_long_call(real)
}

/// `pthread_join(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_join(thread: pthread_t, value: Value) -> c_int {
    join(thread, || Ok(NEVER), || real_join(thread, value))
}

/// `pthread_timedjoin_np(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_timedjoin_np(
    thread: pthread_t,
    value: Value,
    time: *const timespec,
) -> c_int {
    join(
        thread,
        || deadline_or_never(libc::CLOCK_REALTIME, time),
        || real_timed_join(thread, value, time),
    )
}

/// `pthread_clockjoin_np(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_clockjoin_np(
    thread: pthread_t,
    value: Value,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    join(
        thread,
        || deadline_or_never(clock, time),
        || real_clock_join(thread, value, clock, time),
    )
}

/// These functions wait for ever where no time is given.
fn deadline_or_never(clock: clockid_t, time: *const timespec) -> Result<Nanos, c_int> {
    if time.is_null() {
        return Ok(NEVER);
    }
    clocks::deadline(clock, time)
}
