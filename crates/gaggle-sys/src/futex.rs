//! Waiting on a word, by the kernel's private futex. It blocks the OS thread.

use crate::call::raw;
use std::sync::atomic::AtomicU32;

const WAIT: usize = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
const WAKE: usize = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;

/// Blocks this OS thread while `*word == expected`, until woken, for `nanos` at most. May return for
/// no reason.
pub fn wait(word: &AtomicU32, expected: u32, nanos: Option<u64>) {
    let time = nanos.map(|nanos| libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    });
    let time_address = time
        .as_ref()
        .map_or(0, |time| std::ptr::from_ref(time) as usize);
    // SAFETY: the kernel reads the word, which is borrowed, and the time, which lives here.
    unsafe {
        raw(
            libc::SYS_futex,
            [
                word.as_ptr() as usize,
                WAIT,
                expected as usize,
                time_address,
                0,
                0,
            ],
        )
    };
}

/// Wakes at most `count` OS threads that wait on `word`, and answers how many.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    wake_address(word.as_ptr() as usize, count)
}

/// As [`wake`], for a word that may be gone by now: the kernel only compares addresses, and a stranger
/// that waits at the same address wakes for no reason, which every futex user allows for.
pub fn wake_address(address: usize, count: u32) -> usize {
    // SAFETY: FUTEX_WAKE does not read or write the word.
    let woken = unsafe { raw(libc::SYS_futex, [address, WAKE, count as usize, 0, 0, 0]) };
    usize::try_from(woken).unwrap_or(0)
}
