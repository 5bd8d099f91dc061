//! Calls that make and close descriptors: the netpoller has to know when a number changes its meaning.
//!
//! A number is forgotten when it is closed and again when it is handed out anew, since libc closes
//! some by itself (`fclose`), past these hooks.

use super::{answer_int, failure};
use crate::blocking::in_call;
use crate::netpoll::{forget, is_own, release, release_range};
use gaggle_sys::call::raw;
use libc::{c_char, c_int, c_long, c_uint, mode_t, pid_t};

/// Makes a call that answers a new descriptor.
///
/// # Safety
/// As for the system call.
unsafe fn new_descriptor(number: c_long, arguments: [usize; 6]) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { raw(number, arguments) };
    if result >= 0 {
        forget(result as c_int);
    }
    answer_int(result)
}

/// `close(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    if is_own(fd) {
        return answer_int(failure(libc::EBADF));
    }
    release(fd);
    answer_int(gaggle_sys::call::close(fd))
}

/// `socket(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let arguments = [domain as usize, kind as usize, protocol as usize, 0, 0, 0];
    // SAFETY: takes numbers only.
    unsafe { new_descriptor(libc::SYS_socket, arguments) }
}

/// Makes a call that answers two new descriptors through `pair`.
///
/// # Safety
/// As for the system call.
unsafe fn new_pair(number: c_long, arguments: [usize; 6], pair: *const c_int) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { raw(number, arguments) };
    if result >= 0 {
        // SAFETY: the call succeeded, so it wrote two descriptors.
        for &fd in unsafe { std::slice::from_raw_parts(pair, 2) } {
            forget(fd);
        }
    }
    answer_int(result)
}

/// `socketpair(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut c_int,
) -> c_int {
    let arguments = [
        domain as usize,
        kind as usize,
        protocol as usize,
        pair as usize,
        0,
        0,
    ];
    // SAFETY: the caller's contract is the system call's.
    unsafe { new_pair(libc::SYS_socketpair, arguments, pair) }
}

/// `pipe2(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe2(pair: *mut c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's contract is the system call's.
    unsafe {
        new_pair(
            libc::SYS_pipe2,
            [pair as usize, flags as usize, 0, 0, 0, 0],
            pair,
        )
    }
}

/// `pipe(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe(pair: *mut c_int) -> c_int {
    // SAFETY: the caller's contract, without flags.
    unsafe { pipe2(pair, 0) }
}

/// `dup(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: takes numbers only.
    unsafe { new_descriptor(libc::SYS_dup, [fd as usize, 0, 0, 0, 0, 0]) }
}

/// Gives the number `to` to the file of `from`. A call that the kernel refuses leaves `to` as it is.
fn replacing(number: c_long, from: c_int, to: c_int, arguments: [usize; 6]) -> c_int {
    if is_own(to) {
        return answer_int(failure(libc::EBUSY));
    }
    if from != to && gaggle_sys::call::status_flags(from) >= 0 {
        release(to);
    }
    // SAFETY: takes numbers only.
    answer_int(unsafe { raw(number, arguments) })
}

/// `dup2(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    let arguments = [from as usize, to as usize, 0, 0, 0, 0];
    replacing(libc::SYS_dup2, from, to, arguments)
}

/// `dup3(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    let arguments = [from as usize, to as usize, flags as usize, 0, 0, 0];
    replacing(libc::SYS_dup3, from, to, arguments)
}

/// `fcntl(2)`; its third argument is optional, so it is passed on as it comes.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    let arguments = [fd as usize, command as usize, argument, 0, 0, 0];
    match command {
        // SAFETY: these take a number.
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => unsafe {
            new_descriptor(libc::SYS_fcntl, arguments)
        },
        libc::F_SETLKW | libc::F_OFD_SETLKW => {
            // SAFETY: the caller's contract is the system call's.
            answer_int(in_call(|| unsafe { raw(libc::SYS_fcntl, arguments) }))
        }
        // SAFETY: the caller's contract is the system call's.
        _ => answer_int(unsafe { raw(libc::SYS_fcntl, arguments) }),
    }
}

/// `fcntl64`, the name that C code compiled for large files uses.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { fcntl(fd, command, argument) }
}

/// Opens a file: it may wait for a disk, or, with a FIFO, for another process.
///
/// # Safety
/// As for the system call.
unsafe fn open_at(directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let arguments = [
        directory as usize,
        path as usize,
        flags as usize,
        mode as usize,
        0,
        0,
    ];
    // SAFETY: the caller's contract.
    let result = in_call(|| unsafe { raw(libc::SYS_openat, arguments) });
    if result >= 0 {
        forget(result as c_int);
    }
    answer_int(result)
}

macro_rules! opens {
    ($($plain:ident, $at:ident;)*) => {$(
        /// `open(2)`; the mode is optional, so it is passed on as it comes.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $plain(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
            // SAFETY: the caller's contract.
            unsafe { open_at(libc::AT_FDCWD, path, flags, mode) }
        }

        /// `openat(2)`; the mode is optional, so it is passed on as it comes.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $at(
            directory: c_int,
            path: *const c_char,
            flags: c_int,
            mode: mode_t,
        ) -> c_int {
            // SAFETY: the caller's contract.
            unsafe { open_at(directory, path, flags, mode) }
        }
    )*};
}

opens! {
    open, openat;
    open64, openat64;
}

macro_rules! makers {
    ($($name:ident($($argument:ident: $type:ty),*) = $number:ident($($value:expr),*);)*) => {$(
        /// The libc function of this name, which answers a new descriptor.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            let mut arguments = [0usize; 6];
            for (slot, value) in arguments.iter_mut().zip([$($value as usize),*]) {
                *slot = value;
            }
            // SAFETY: the caller's contract is the system call's.
            unsafe { new_descriptor(libc::$number, arguments) }
        }
    )*};
}

makers! {
    eventfd(count: c_uint, flags: c_int) = SYS_eventfd2(count, flags);
    epoll_create1(flags: c_int) = SYS_epoll_create1(flags);
    timerfd_create(clock: c_int, flags: c_int) = SYS_timerfd_create(clock, flags);
    inotify_init1(flags: c_int) = SYS_inotify_init1(flags);
    memfd_create(name: *const c_char, flags: c_uint) = SYS_memfd_create(name, flags);
    pidfd_open(pid: pid_t, flags: c_uint) = SYS_pidfd_open(pid, flags);
}

/// `close_range(2)`: `flags` may ask that the descriptors be closed on exec only, which closes nothing
/// now.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    const ON_EXEC: c_int = 4;
    let call = |first: c_uint, last: c_uint| {
        let arguments = [first as usize, last as usize, flags as usize, 0, 0, 0];
        // SAFETY: takes numbers only.
        unsafe { raw(libc::SYS_close_range, arguments) }
    };
    if first > last || flags & ON_EXEC != 0 {
        return answer_int(call(first, last));
    }
    answer_int(release_range(first, last, call))
}

/// `closefrom(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn closefrom(first: c_int) {
    // SAFETY: takes numbers only.
    unsafe { close_range(first.max(0) as c_uint, c_uint::MAX, 0) };
}
