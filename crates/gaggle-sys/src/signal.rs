//! Signals of the calling OS thread and of the process, asked and changed past libc.
//!
//! A set of signals is a word: bit `n - 1` stands for signal `n`, as for the kernel.

use crate::call::{raw, thread_id};
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// What is to be done about a signal, as libc's callers say it.
pub use libc::sigaction as LibcAction;

/// A set of signals.
pub type Set = u64;

/// The highest signal number.
pub const MAX: c_int = 64;

/// The two signals that glibc keeps for itself: the second makes every OS thread take part in a change
/// of user or group.
pub const OF_LIBC: [c_int; 2] = [32, 33];

/// The set of one signal; empty for what is no signal.
pub const fn only(signal: c_int) -> Set {
    if signal < 1 || signal > MAX {
        return 0;
    }
    1 << (signal - 1)
}

/// What nobody can block: the kernel's own two, and libc's.
pub const UNBLOCKABLE: Set =
    only(libc::SIGKILL) | only(libc::SIGSTOP) | only(OF_LIBC[0]) | only(OF_LIBC[1]);

/// The mask of the calling OS thread.
pub fn mask() -> Set {
    let mut mask: Set = 0;
    // SAFETY: the kernel writes eight bytes; nothing is changed.
    unsafe {
        raw(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                0,
                &raw mut mask as usize,
                8,
                0,
                0,
            ],
        )
    };
    mask
}

/// Sets the mask of the calling OS thread and answers what it was.
pub fn set_mask(mask: Set) -> Set {
    let mut before: Set = 0;
    // SAFETY: the kernel reads eight bytes and writes eight.
    unsafe {
        raw(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                &raw const mask as usize,
                &raw mut before as usize,
                8,
                0,
                0,
            ],
        )
    };
    before
}

/// Signals that were sent to the process or the calling OS thread and are blocked on it.
pub fn pending() -> Set {
    let mut set: Set = 0;
    // SAFETY: the kernel writes eight bytes.
    unsafe {
        raw(
            libc::SYS_rt_sigpending,
            [&raw mut set as usize, 8, 0, 0, 0, 0],
        )
    };
    set
}

/// Waits until a signal of `set`, all of which the caller blocks, has been sent to the process or the
/// thread, and takes it: its number, or `-errno`. Blocks the OS thread, for at most `nanos`.
pub fn wait(set: Set, nanos: Option<u64>) -> (isize, libc::siginfo_t) {
    let time = nanos.map(crate::clock::timespec_of);
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let time = time
        .as_ref()
        .map_or(0, |time| std::ptr::from_ref(time) as usize);
    // SAFETY: the kernel reads the set and the time and writes one siginfo_t.
    let result = unsafe {
        raw(
            libc::SYS_rt_sigtimedwait,
            [
                &raw const set as usize,
                info.as_mut_ptr() as usize,
                time,
                8,
                0,
                0,
            ],
        )
    };
    // SAFETY: zeroes are a siginfo_t, and so is what the kernel writes.
    (result, unsafe { info.assume_init() })
}

/// Sends `signal` to the OS thread `thread` of this process, or finds out whether it is there (0);
/// 0 or `-errno`.
pub fn send(thread: c_int, signal: c_int) -> isize {
    // SAFETY: takes numbers only.
    unsafe {
        raw(
            libc::SYS_tgkill,
            [
                process_id() as usize,
                thread as usize,
                signal as usize,
                0,
                0,
                0,
            ],
        )
    }
}

/// Sends `signal` to the whole process; 0 or `-errno`.
pub fn send_to_process(signal: c_int) -> isize {
    // SAFETY: takes numbers only.
    unsafe {
        raw(
            libc::SYS_kill,
            [process_id() as usize, signal as usize, 0, 0, 0, 0],
        )
    }
}

/// Sends `signal`, with what is known of it, to the calling OS thread; 0 or `-errno`.
pub fn send_to_self(signal: c_int, info: &libc::siginfo_t) -> isize {
    // SAFETY: the kernel reads one siginfo_t; to itself a thread may send any.
    unsafe {
        raw(
            libc::SYS_rt_tgsigqueueinfo,
            [
                process_id() as usize,
                thread_id() as usize,
                signal as usize,
                std::ptr::from_ref(info) as usize,
                0,
                0,
            ],
        )
    }
}

/// This process's number.
pub fn process_id() -> c_int {
    // SAFETY: takes no argument.
    unsafe { raw(libc::SYS_getpid, [0; 6]) as c_int }
}

/// The user on whose behalf this process acts, as signals tell it.
pub fn user_id() -> libc::uid_t {
    // SAFETY: takes no argument.
    unsafe { raw(libc::SYS_getuid, [0; 6]) as libc::uid_t }
}

/// What is to be done about a signal, as the kernel keeps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Action {
    /// `SIG_DFL`, `SIG_IGN` or a function.
    pub handler: usize,
    /// `SA_*`.
    pub flags: usize,
    restorer: usize,
    /// What is blocked while the handler runs.
    pub mask: Set,
}

/// The action of `signal`; `None` for what is no signal.
pub fn action(signal: c_int) -> Option<Action> {
    let mut action = Action::default();
    // SAFETY: the kernel writes one structure; nothing is changed.
    let result = unsafe {
        raw(
            libc::SYS_rt_sigaction,
            [signal as usize, 0, &raw mut action as usize, 8, 0, 0],
        )
    };
    (result == 0).then_some(action)
}

/// Puts `handler` in the place of the handler of `signal`, to run on the alternate signal stack where
/// there is one, leaving the rest of its action as it is, and answers the one that was there; `None` where there was no function.
///
/// # Safety
/// `handler` can stand for the one that is there: the same arguments, and safe wherever the signal
/// can come.
pub unsafe fn replace_handler(signal: c_int, handler: usize) -> Option<usize> {
    let before = action(signal)?;
    if before.handler == libc::SIG_DFL || before.handler == libc::SIG_IGN {
        return None;
    }
    let replaced = Action {
        handler,
        flags: before.flags | libc::SA_ONSTACK as usize,
        ..before
    };
    // SAFETY: what libc installed, with another function, for which the caller vouches.
    let result = unsafe {
        raw(
            libc::SYS_rt_sigaction,
            [signal as usize, &raw const replaced as usize, 0, 8, 0, 0],
        )
    };
    (result == 0).then_some(before.handler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_pending_and_can_be_waited_for() {
        let before = set_mask(mask() | only(libc::SIGUSR1));
        assert_eq!(mask(), before | only(libc::SIGUSR1));
        assert_eq!(send(thread_id(), libc::SIGUSR1), 0);
        assert_ne!(pending() & only(libc::SIGUSR1), 0);
        let (signal, info) = wait(only(libc::SIGUSR1), None);
        assert_eq!(signal, libc::SIGUSR1 as isize);
        assert_eq!(info.si_signo, libc::SIGUSR1);
        assert_eq!(pending() & only(libc::SIGUSR1), 0);
        let (nothing, _) = wait(only(libc::SIGUSR1), Some(1));
        assert_eq!(nothing, -(libc::EAGAIN as isize));
        set_mask(before);
    }

    #[test]
    fn what_is_no_signal_is_in_no_set() {
        assert_eq!([only(0), only(-1), only(65)], [0; 3]);
        assert_eq!(only(64), 1 << 63);
        assert!(action(65).is_none());
    }
}
