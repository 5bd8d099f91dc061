//! Sleeping and yielding.

use super::{answer_int, failure};
use crate::Green;
use crate::sched;
use gaggle_core::contract::{Nanos, WaitReason};
use gaggle_core::interrupt;
use gaggle_core::task::Ticket;
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, c_uint, clockid_t, timespec};

/// Parks the calling goroutine until `deadline`, or until a context that it runs under ends; whether it
/// slept to the end.
fn park_until(g: &'static crate::g::G, deadline: Nanos) -> bool {
    let ticket = Ticket::<Green>::of(g.as_task());
    g.wait.begin(WaitReason::Sleep);
    interrupt::park(ticket, deadline).is_none()
}

/// Answers that a sleep has ended early (K4), with nothing left: a caller that sleeps for the rest
/// must not begin again.
///
/// # Safety
/// `remaining` is null or writable.
unsafe fn cut_short(remaining: *mut timespec) -> isize {
    if !remaining.is_null() {
        let nothing = timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the caller's contract.
        unsafe { remaining.write(nothing) };
    }
    failure(libc::EINTR)
}

/// Whether the kernel would take this time.
pub fn is_valid(time: &timespec) -> bool {
    time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec)
}

/// `nanosleep(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nanosleep(time: *const timespec, remaining: *mut timespec) -> c_int {
    // SAFETY: the caller's contract: a readable time; null is the kernel's to refuse.
    let wanted = unsafe { time.as_ref() };
    match (sched::current(), wanted) {
        (Some(g), Some(wanted)) if is_valid(wanted) => {
            if park_until(g, clock::now().saturating_add(clock::nanos_of(wanted))) {
                return 0;
            }
            // SAFETY: the caller's contract.
            answer_int(unsafe { cut_short(remaining) })
        }
        // SAFETY: the caller's contract is the system call's.
        _ => answer_int(unsafe {
            raw(
                libc::SYS_nanosleep,
                [time as usize, remaining as usize, 0, 0, 0, 0],
            )
        }),
    }
}

/// `clock_nanosleep(2)`: answers the error instead of setting errno.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(
    clock_id: clockid_t,
    flags: c_int,
    time: *const timespec,
    remaining: *mut timespec,
) -> c_int {
    // SAFETY: the caller's contract: a readable time; null is the kernel's to refuse.
    let wanted = unsafe { time.as_ref() };
    let known = clock_id == libc::CLOCK_MONOTONIC || clock_id == libc::CLOCK_REALTIME;
    match (sched::current(), wanted) {
        (Some(g), Some(wanted)) if known && is_valid(wanted) => {
            let nanos = clock::nanos_of(wanted);
            let now = clock::now();
            let deadline = match (flags & libc::TIMER_ABSTIME != 0, clock_id) {
                (false, _) => now.saturating_add(nanos),
                (true, libc::CLOCK_MONOTONIC) => nanos,
                (true, _) => now.saturating_add(nanos.saturating_sub(clock::wall())),
            };
            if park_until(g, deadline) || flags & libc::TIMER_ABSTIME != 0 {
                // One that sleeps until a point of time would begin again for ever.
                return 0;
            }
            // SAFETY: the caller's contract.
            -(unsafe { cut_short(remaining) } as c_int)
        }
        _ => {
            let arguments = [
                clock_id as usize,
                flags as usize,
                time as usize,
                remaining as usize,
                0,
                0,
            ];
            // SAFETY: the caller's contract is the system call's.
            -(unsafe { raw(libc::SYS_clock_nanosleep, arguments) } as c_int)
        }
    }
}

/// `usleep(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn usleep(microseconds: c_uint) -> c_int {
    let nanos = u64::from(microseconds) * 1_000;
    match sched::current() {
        Some(g) => {
            park_until(g, clock::now() + nanos);
        }
        None => clock::sleep(nanos),
    }
    0
}

/// `sched_yield(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_yield() -> c_int {
    match sched::current() {
        Some(g) => sched::yield_now(g),
        None => gaggle_sys::call::yield_thread(),
    }
    0
}

/// `sleep(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sleep(seconds: c_uint) -> c_uint {
    let nanos = u64::from(seconds) * 1_000_000_000;
    match sched::current() {
        Some(g) => {
            park_until(g, clock::now().saturating_add(nanos));
            0
        }
        None => {
            let wanted = timespec {
                tv_sec: seconds as libc::time_t,
                tv_nsec: 0,
            };
            let mut left = timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let arguments = [
                &raw const wanted as usize,
                &raw mut left as usize,
                0,
                0,
                0,
                0,
            ];
            // SAFETY: the kernel reads one time and writes the other.
            let result = unsafe { raw(libc::SYS_nanosleep, arguments) };
            if result == failure(libc::EINTR) {
                left.tv_sec as c_uint
            } else {
                0
            }
        }
    }
}
