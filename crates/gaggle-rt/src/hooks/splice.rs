//! Calls that move bytes inside the kernel: `sendfile`, `splice`, `tee`, `vmsplice`, `copy_file_range`.
//!
//! They have no flag of their own for not waiting, so a goroutine parks until the kernel says that both
//! ends are ready, and the call itself takes the hand-off path: it waits there only for what follows
//! the first bytes, or if another was faster.

use super::{Target, answer, park_until_ready, socket_deadline};
use crate::blocking::in_call;
use crate::netpoll::{self, Direction};
use crate::sched;
use gaggle_core::contract::NEVER;
use gaggle_sys::call::{FileKind, raw};
use libc::{c_int, c_long, c_uint, iovec, loff_t, off_t, size_t, ssize_t};

/// Parks until `fd` is ready for `direction`, if that is something that can be waited for. `Some`:
/// what the call is to answer.
fn ready(fd: c_int, direction: Direction) -> Option<isize> {
    let g = sched::current()?;
    let deadline = match netpoll::kind(fd) {
        FileKind::File | FileKind::Closed => return None,
        FileKind::Socket => socket_deadline(fd, direction),
        FileKind::Pipe | FileKind::Pollable => NEVER,
    };
    park_until_ready(g, &Target::new(fd), direction, deadline)
}

/// Makes a call that reads from `from` and writes to `to`.
fn moving(
    number: c_long,
    from: Option<c_int>,
    to: Option<c_int>,
    arguments: [usize; 6],
) -> ssize_t {
    let outcome = from
        .and_then(|from| ready(from, Direction::Read))
        .or_else(|| to.and_then(|to| ready(to, Direction::Write)));
    answer(outcome.unwrap_or_else(|| {
        // SAFETY: the hook's caller vouches for the arguments.
        in_call(|| unsafe { raw(number, arguments) })
    }))
}

macro_rules! send_files {
    ($($name:ident)*) => {$(
        /// `sendfile(2)`.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            to: c_int,
            from: c_int,
            offset: *mut off_t,
            count: size_t,
        ) -> ssize_t {
            let arguments = [to as usize, from as usize, offset as usize, count, 0, 0];
            moving(libc::SYS_sendfile, Some(from), Some(to), arguments)
        }
    )*};
}

send_files! { sendfile sendfile64 }

/// Which ends a call waits for: none where its caller asked it not to, or it moves nothing.
fn ends(from: c_int, to: c_int, length: size_t, flags: c_uint) -> (Option<c_int>, Option<c_int>) {
    let waits = length > 0 && flags & libc::SPLICE_F_NONBLOCK == 0;
    (waits.then_some(from), waits.then_some(to))
}

/// `splice(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    let arguments = [
        from as usize,
        from_offset as usize,
        to as usize,
        to_offset as usize,
        length,
        flags as usize,
    ];
    let (from, to) = ends(from, to, length, flags);
    moving(libc::SYS_splice, from, to, arguments)
}

/// `tee(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tee(from: c_int, to: c_int, length: size_t, flags: c_uint) -> ssize_t {
    let arguments = [from as usize, to as usize, length, flags as usize, 0, 0];
    let (from, to) = ends(from, to, length, flags);
    moving(libc::SYS_tee, from, to, arguments)
}

/// `vmsplice(2)`: into a pipe, or out of one; which, the pipe's end says.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmsplice(
    fd: c_int,
    vectors: *const iovec,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let arguments = [fd as usize, vectors as usize, count, flags as usize, 0, 0];
    moving(libc::SYS_vmsplice, None, None, arguments)
}

/// `copy_file_range(2)`: between regular files only.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    let arguments = [
        from as usize,
        from_offset as usize,
        to as usize,
        to_offset as usize,
        length,
        flags as usize,
    ];
    moving(libc::SYS_copy_file_range, None, None, arguments)
}
