//! The monotonic clock, in nanoseconds.

use std::mem::MaybeUninit;

/// Nanoseconds of a clock's time specification; negative seconds count as zero, and what does not
/// fit as the largest number.
pub fn nanos_of(time: &libc::timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is writable for one timespec. The libc function is the vDSO's: no lock, no hook.
    let failed = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    assert_eq!(failed, 0, "clock {clock} cannot be read");
    // SAFETY: the call succeeded, so it filled the structure in.
    nanos_of(unsafe { time.assume_init_ref() })
}

/// CLOCK_MONOTONIC.
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME.
pub fn wall() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// The processor time that this OS thread has used.
pub fn thread_processor_time() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds as a clock's time specification.
pub fn timespec_of(nanos: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

/// Sleeps this OS thread.
pub fn sleep(nanos: u64) {
    let time = timespec_of(nanos);
    // SAFETY: nanosleep reads one timespec and may ignore the null remainder.
    unsafe {
        crate::call::raw(
            libc::SYS_nanosleep,
            [&raw const time as usize, 0, 0, 0, 0, 0],
        )
    };
}
