//! The other names of the same calls: those that `_FORTIFY_SOURCE` compiles calls to, which say how
//! large the buffer is, and libc's own with two underscores, which old libraries use.

use super::{descriptor, io, poll, sleep, socket};
use libc::{c_char, c_int, c_void, mode_t, nfds_t, off_t, pollfd, sigset_t, size_t, sockaddr};
use libc::{socklen_t, ssize_t, timespec};

unsafe extern "C" {
    /// libc's: says that a buffer would overflow, and aborts.
    fn __chk_fail() -> !;
}

/// Ends the process if a buffer of `room` bytes has no room for `wanted`.
fn check(wanted: size_t, room: size_t) {
    if wanted > room {
        // SAFETY: may be called at any time.
        unsafe { __chk_fail() }
    }
}

macro_rules! checked {
    ($($checked:ident = $module:ident::$name:ident
        ($($argument:ident: $type:ty),*) -> $answer:ty, $wanted:expr;)*) => {$(
        /// The libc function of this name: checks the size, and makes the call.
        ///
        /// # Safety
        /// As for the call without the check.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $checked($($argument: $type,)* room: size_t) -> $answer {
            check($wanted, room);
            // SAFETY: the caller's contract.
            unsafe { $module::$name($($argument),*) }
        }
    )*};
}

checked! {
    __read_chk = io::read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t, length;
    __pread_chk = io::pread(fd: c_int, buffer: *mut c_void, length: size_t, at: off_t) -> ssize_t, length;
    __pread64_chk = io::pread64(fd: c_int, buffer: *mut c_void, length: size_t, at: off_t) -> ssize_t, length;
    __poll_chk = poll::poll(first: *mut pollfd, count: nfds_t, time: c_int) -> c_int,
        (count as size_t).saturating_mul(size_of::<pollfd>());
    __ppoll_chk = poll::ppoll(first: *mut pollfd, count: nfds_t, time: *const timespec, mask: *const sigset_t) -> c_int,
        (count as size_t).saturating_mul(size_of::<pollfd>());
}

/// `recv` with a check; the room comes before the flags.
///
/// # Safety
/// As for `recv`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    check(length, room);
    // SAFETY: the caller's contract.
    unsafe { socket::recv(fd, buffer, length, flags) }
}

/// `recvfrom` with a check; the room comes before the flags.
///
/// # Safety
/// As for `recvfrom`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    check(length, room);
    // SAFETY: the caller's contract.
    unsafe { socket::recvfrom(fd, buffer, length, flags, address, address_length) }
}

macro_rules! same {
    ($($alias:ident = $module:ident::$name:ident
        ($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        /// Another name of the libc function that it is without this prefix or suffix.
        ///
        /// # Safety
        /// As for that function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $alias($($argument: $type),*) -> $answer {
            // SAFETY: the caller's contract.
            unsafe { $module::$name($($argument),*) }
        }
    )*};
}

same! {
    __read = io::read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t;
    __write = io::write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t;
    __pread64 = io::pread64(fd: c_int, buffer: *mut c_void, length: size_t, at: off_t) -> ssize_t;
    __pwrite64 = io::pwrite64(fd: c_int, buffer: *const c_void, length: size_t, at: off_t) -> ssize_t;
    __poll = poll::poll(first: *mut pollfd, count: nfds_t, time: c_int) -> c_int;
    __connect = socket::connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    __send = socket::send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t;
    __nanosleep = sleep::nanosleep(time: *const timespec, left: *mut timespec) -> c_int;
    __sched_yield = sleep::sched_yield() -> c_int;
    __close = descriptor::close(fd: c_int) -> c_int;
    __dup2 = descriptor::dup2(from: c_int, to: c_int) -> c_int;
    __pipe = descriptor::pipe(pair: *mut c_int) -> c_int;
    __fcntl = descriptor::fcntl(fd: c_int, command: c_int, argument: usize) -> c_int;
    __open = descriptor::open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    __open64 = descriptor::open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
}

macro_rules! opens_without_mode {
    ($($plain:ident $at:ident;)*) => {$(
        /// `open` as `_FORTIFY_SOURCE` compiles it when no mode is given.
        ///
        /// # Safety
        /// As for `open`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $plain(path: *const c_char, flags: c_int) -> c_int {
            check(makes_file(flags), 0);
            // SAFETY: the caller's contract; the flags need no mode.
            unsafe { descriptor::open(path, flags, 0) }
        }

        /// `openat` as `_FORTIFY_SOURCE` compiles it when no mode is given.
        ///
        /// # Safety
        /// As for `openat`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $at(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
            check(makes_file(flags), 0);
            // SAFETY: the caller's contract; the flags need no mode.
            unsafe { descriptor::openat(directory, path, flags, 0) }
        }
    )*};
}

/// 1 where the flags may make a file, which needs a mode.
fn makes_file(flags: c_int) -> size_t {
    let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    usize::from(makes)
}

opens_without_mode! {
    __open_2 __openat_2;
    __open64_2 __openat64_2;
}

/// `creat(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn creat(path: *const c_char, mode: mode_t) -> c_int {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    // SAFETY: the caller's contract.
    unsafe { descriptor::open(path, flags, mode) }
}

/// `creat64`, the name that C code compiled for large files uses.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn creat64(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { creat(path, mode) }
}
