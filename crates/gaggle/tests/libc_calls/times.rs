//! Sleeping and yielding.

use crate::table::{Case, Log};
use std::time::{Duration, Instant};

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "nanosleep",
        run: nanosleep,
    },
    Case {
        name: "clock_nanosleep, relative and absolute, both clocks",
        run: clock_nanosleep,
    },
    Case {
        name: "usleep and sleep",
        run: others,
    },
    Case {
        name: "sched_yield",
        run: yields,
    },
];

const fn time(seconds: i64, nanos: i64) -> libc::timespec {
    libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    }
}

fn nanosleep(log: &mut Log) {
    let begun = Instant::now();
    let mut left = time(7, 7);
    // SAFETY: readable and writable times.
    log.answer("sleep", unsafe {
        libc::nanosleep(&time(0, 20_000_000), &mut left)
    });
    log.took("it waited", begun, Duration::from_millis(20));
    log.note("left is not written", left.tv_sec);
    for wrong in [time(0, -1), time(0, 1_000_000_000), time(-1, 0)] {
        // SAFETY: as above.
        let result = unsafe { libc::nanosleep(&wrong, std::ptr::null_mut()) };
        log.answer("a wrong time", result);
    }
    // SAFETY: as above.
    log.answer("nothing", unsafe {
        libc::nanosleep(&time(0, 0), std::ptr::null_mut())
    });
}

fn clock_nanosleep(log: &mut Log) {
    let null = std::ptr::null_mut();
    for clock in [
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_REALTIME,
        libc::CLOCK_BOOTTIME,
    ] {
        let begun = Instant::now();
        // SAFETY: readable times, in all.
        log.note("relative", unsafe {
            libc::clock_nanosleep(clock, 0, &time(0, 20_000_000), null)
        });
        log.took("it waited", begun, Duration::from_millis(20));
        let mut now = time(0, 0);
        // SAFETY: a writable time.
        unsafe { libc::clock_gettime(clock, &mut now) };
        let nanos = now.tv_nsec + 20_000_000;
        let until = time(now.tv_sec + nanos / 1_000_000_000, nanos % 1_000_000_000);
        // SAFETY: as above.
        let result = unsafe { libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &until, null) };
        log.note("absolute", result);
        // SAFETY: as above.
        unsafe { libc::clock_gettime(clock, &mut now) };
        log.note(
            "it waited",
            (now.tv_sec, now.tv_nsec) >= (until.tv_sec, until.tv_nsec),
        );
        // SAFETY: as above.
        let result =
            unsafe { libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &time(1, 0), null) };
        log.note("long over", result);
        // SAFETY: as above.
        let result = unsafe { libc::clock_nanosleep(clock, 0, &time(0, -1), null) };
        log.note("a wrong time", result);
    }
    // SAFETY: as above.
    log.note("a wrong clock", unsafe {
        libc::clock_nanosleep(77, 0, &time(0, 1), null)
    });
    // SAFETY: as above.
    log.note("the thread's own", unsafe {
        libc::clock_nanosleep(libc::CLOCK_THREAD_CPUTIME_ID, 0, &time(0, 1), null)
    });
}

fn others(log: &mut Log) {
    let begun = Instant::now();
    // SAFETY: takes a number.
    log.answer("usleep", unsafe { libc::usleep(20_000) });
    log.took("it waited", begun, Duration::from_millis(20));
    // SAFETY: takes a number.
    log.note("sleep", unsafe { libc::sleep(0) });
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    log.took("std's own", begun, Duration::from_millis(20));
}

fn yields(log: &mut Log) {
    // SAFETY: takes nothing.
    log.answer("yield", unsafe { libc::sched_yield() });
}
