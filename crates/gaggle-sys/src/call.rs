//! System calls as the hooks need them: made directly, so that no libc function (and so no hook of
//! ours) is in between, and answering `-errno` instead of setting it.

use crate::arch::syscall6;
use std::ffi::{c_int, c_long, c_short};

/// Any system call.
///
/// # Safety
/// Whatever the call demands of its arguments.
#[inline(always)]
pub unsafe fn raw(number: c_long, arguments: [usize; 6]) -> isize {
    // SAFETY: the caller's contract is the same.
    unsafe { syscall6(number as usize, arguments) }
}

/// Whether a call answered this error number.
#[inline(always)]
pub fn failed_with(result: isize, errno: c_int) -> bool {
    result == -(errno as isize)
}

/// The descriptor's status flags (`F_GETFL`), or `-errno`.
pub fn status_flags(fd: c_int) -> isize {
    // SAFETY: F_GETFL takes no pointer; any descriptor number may be asked for.
    unsafe {
        raw(
            libc::SYS_fcntl,
            [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0],
        )
    }
}

/// Sets the descriptor's status flags (`F_SETFL`).
pub fn set_status_flags(fd: c_int, flags: c_int) -> isize {
    // SAFETY: F_SETFL takes no pointer.
    unsafe {
        raw(
            libc::SYS_fcntl,
            [fd as usize, libc::F_SETFL as usize, flags as usize, 0, 0, 0],
        )
    }
}

/// What a descriptor refers to, as far as blocking is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileKind {
    /// A socket: per-call non-blocking flags exist.
    Socket = 1,
    /// A pipe or FIFO.
    Pipe = 2,
    /// Something else that can be polled as a rule: terminals, event descriptors.
    Pollable = 3,
    /// A regular file, directory or block device: always "ready", yet may block.
    File = 4,
    /// Not an open descriptor.
    Closed = 5,
}

/// Finds out what `fd` refers to.
pub fn file_kind(fd: c_int) -> FileKind {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat writes one `stat`, for which there is room.
    let result = unsafe {
        raw(
            libc::SYS_fstat,
            [fd as usize, status.as_mut_ptr() as usize, 0, 0, 0, 0],
        )
    };
    if result < 0 {
        return FileKind::Closed;
    }
    // SAFETY: the call succeeded, so it filled the structure in.
    let mode = unsafe { status.assume_init_ref() }.st_mode;
    match mode & libc::S_IFMT {
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFIFO => FileKind::Pipe,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => FileKind::File,
        _ => FileKind::Pollable,
    }
}

/// A socket's send or receive time-out in nanoseconds; 0 where it has none (or is no socket).
pub fn socket_timeout(fd: c_int, option: c_int) -> u64 {
    let mut time = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `time` and the new length into `length`.
    let result = unsafe {
        raw(
            libc::SYS_getsockopt,
            [
                fd as usize,
                libc::SOL_SOCKET as usize,
                option as usize,
                &raw mut time as usize,
                &raw mut length as usize,
                0,
            ],
        )
    };
    if result < 0 {
        return 0;
    }
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_usec as u64 * 1_000)
}

/// An integer option of a socket (`SOL_SOCKET`), or `-errno`.
pub fn socket_option(fd: c_int, option: c_int) -> Result<c_int, c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `value`, and the length.
    let result = unsafe {
        raw(
            libc::SYS_getsockopt,
            [
                fd as usize,
                libc::SOL_SOCKET as usize,
                option as usize,
                &raw mut value as usize,
                &raw mut length as usize,
                0,
            ],
        )
    };
    if result < 0 {
        Err(-result as c_int)
    } else {
        Ok(value)
    }
}

/// What `events` of `fd` are ready now: the kernel's `revents`, 0 for none, or `-errno`, but never `-EINTR`.
pub fn poll_now(fd: c_int, events: c_short) -> isize {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    loop {
        // SAFETY: poll reads and writes the one entry; a time-out of 0 does not block.
        let result = unsafe { raw(libc::SYS_poll, [&raw mut entry as usize, 1, 0, 0, 0, 0]) };
        match result {
            1.. => return entry.revents as isize,
            // A signal that is pending is answered so even by a poll that does not wait.
            result if result == -(libc::EINTR as isize) => {}
            result => return result,
        }
    }
}

/// Blocks this OS thread until one of `events` of `fd` is ready, or for `nanos` (`None`: for ever), or until a
/// signal comes. A negative answer is `-errno`, never `-EINTR`.
pub fn poll_blocking(fd: c_int, events: c_short, nanos: Option<u64>) -> isize {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let time = nanos.map(|nanos| libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    });
    let time = time.as_ref().map_or(0, |time| &raw const *time as usize);
    // SAFETY: ppoll reads and writes the one entry, and reads the time, which both live here; no signal mask.
    let result = unsafe { raw(libc::SYS_ppoll, [&raw mut entry as usize, 1, time, 0, 0, 0]) };
    if failed_with(result, libc::EINTR) {
        return 0;
    }
    result
}

/// Receives what is there into `room`, whatever the socket `fd` is set to: so many bytes, or `-errno`, which is
/// `-EAGAIN` when nothing is there.
pub fn receive_now(fd: c_int, room: &mut [u8]) -> isize {
    let (address, length) = (room.as_mut_ptr() as usize, room.len());
    let flags = libc::MSG_DONTWAIT as usize;
    // SAFETY: the kernel writes to the room alone; who sent it is not asked.
    unsafe {
        raw(
            libc::SYS_recvfrom,
            [fd as usize, address, length, flags, 0, 0],
        )
    }
}

/// Sends what there is room for of `bytes`, whatever the socket `fd` is set to: so many, or `-errno`, which is
/// `-EAGAIN` when there is no room. That the peer has gone raises no signal.
pub fn send_now(fd: c_int, bytes: &[u8]) -> isize {
    let (address, length) = (bytes.as_ptr() as usize, bytes.len());
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    // SAFETY: the kernel reads the bytes alone; to whom is the socket's.
    unsafe {
        raw(
            libc::SYS_sendto,
            [fd as usize, address, length, flags, 0, 0],
        )
    }
}

/// Closes a descriptor of our own.
pub fn close(fd: c_int) -> isize {
    // SAFETY: closing takes no pointer.
    unsafe { raw(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) }
}

/// Writes to a descriptor: how many bytes were written, or `-errno`.
pub fn write(fd: c_int, bytes: &[u8]) -> isize {
    let arguments = [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0];
    // SAFETY: the kernel reads the bytes, which are borrowed.
    unsafe { raw(libc::SYS_write, arguments) }
}

/// A second number for the file of `fd`, closed on exec; `None` where there is none left.
pub fn duplicate(fd: c_int) -> Option<c_int> {
    let command = libc::F_DUPFD_CLOEXEC as usize;
    // SAFETY: F_DUPFD_CLOEXEC takes no pointer.
    let result = unsafe { raw(libc::SYS_fcntl, [fd as usize, command, 0, 0, 0, 0]) };
    (result >= 0).then_some(result as c_int)
}

/// Lets other OS threads run.
pub fn yield_thread() {
    // SAFETY: takes no argument.
    unsafe { raw(libc::SYS_sched_yield, [0; 6]) };
}

/// This OS thread's number, asked of the kernel.
pub fn thread_id() -> c_int {
    // SAFETY: takes no argument.
    unsafe { raw(libc::SYS_gettid, [0; 6]) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// As a preemption's signal: its handler does next to nothing, and no call is taken up again for it.
    static SIGNALS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count_signal(_: c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn poll_under_a_rain_of_signals_is_never_interrupted() {
        const SIGNALS_MIN: usize = 20_000;
        // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask, the default action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count_signal as extern "C" fn(c_int) as usize;
        // SAFETY: the handler only adds to an atomic; nobody else in this process uses the signal.
        let set = unsafe { libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        let (here, _there) = UnixStream::pair().expect("a pair");
        // SAFETY: a query without arguments.
        let (process, thread) = (std::process::id(), unsafe { libc::gettid() });
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: a signal to the test's thread, which outlives this scope.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGURG) };
                }
            });
            let mut outcomes = [0_usize; 2];
            while SIGNALS.load(Ordering::Relaxed) < SIGNALS_MIN {
                let found = poll_now(here.as_raw_fd(), libc::POLLIN);
                outcomes[usize::from(found == 0)] += 1;
            }
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(outcomes[0], 0, "nothing is there to read");
        });
    }
}
