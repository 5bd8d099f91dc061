//! Deadlines of C's waiting functions: absolute times of a clock that the caller names.

use super::sleep::is_valid;
use gaggle_core::contract::Nanos;
use gaggle_sys::clock;
use libc::{c_int, clockid_t, timespec};

/// A time of the wall clock as one of the monotonic clock, as the two stand now.
pub fn from_wall(nanos: Nanos) -> Nanos {
    clock::now().saturating_add(nanos.saturating_sub(clock::wall()))
}

/// The deadline `time` of the clock `id`.
///
/// # Errors
/// EINVAL for another clock or a time that is none, as libc's functions answer it.
pub fn deadline(id: clockid_t, time: *const timespec) -> Result<Nanos, c_int> {
    // SAFETY: the hook's caller vouches for a readable time.
    let time = unsafe { &*time };
    // A time before the epoch is over, not wrong.
    if !is_valid(time) && (time.tv_sec >= 0 || !(0..1_000_000_000).contains(&time.tv_nsec)) {
        return Err(libc::EINVAL);
    }
    let nanos = clock::nanos_of(time);
    match id {
        libc::CLOCK_MONOTONIC => Ok(nanos),
        libc::CLOCK_REALTIME => Ok(from_wall(nanos)),
        _ => Err(libc::EINVAL),
    }
}
