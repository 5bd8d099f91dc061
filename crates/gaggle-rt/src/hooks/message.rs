//! `recvmmsg` and `sendmmsg`: several messages by one call.

use super::socket::{send_message, until_done};
use super::{answer_int, failure};
use crate::g::G;
use crate::netpoll::Direction;
use crate::sched;
use gaggle_core::contract::NEVER;
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, c_uint, mmsghdr, timespec};

/// The kernel's UIO_MAXIOV: it takes no more messages at once.
const MESSAGES_MAX: usize = 1024;

/// `recvmmsg` on a goroutine: takes what is there, and parks for the rest.
fn receive_many(
    g: &'static G,
    fd: c_int,
    messages: *mut mmsghdr,
    count: usize,
    flags: c_int,
    time: *mut timespec,
) -> isize {
    let count = count.min(MESSAGES_MAX);
    // SAFETY: the hook's caller vouches: null or a readable time.
    let over = unsafe { time.as_ref() }.map_or(NEVER, |time| {
        clock::now().saturating_add(clock::nanos_of(time))
    });
    let mut done = 0;
    let result = loop {
        let result = until_done(g, fd, Direction::Read, flags, |fd, flags| {
            let place = messages.wrapping_add(done);
            let arguments = [
                fd as usize,
                place as usize,
                count - done,
                flags as usize,
                0,
                0,
            ];
            // SAFETY: the hook's caller vouches for all the messages.
            unsafe { raw(libc::SYS_recvmmsg, arguments) }
        });
        if result <= 0 {
            break if done > 0 { done as isize } else { result };
        }
        done += result as usize;
        let enough = flags & (libc::MSG_WAITFORONE | libc::MSG_DONTWAIT) != 0;
        if done >= count || enough || clock::now() >= over {
            break done as isize;
        }
    };
    if over != NEVER && result > 0 {
        let left = over.saturating_sub(clock::now());
        let left = timespec {
            tv_sec: (left / 1_000_000_000) as libc::time_t,
            tv_nsec: (left % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: the hook's caller vouches for a writable time; the kernel leaves the rest in it.
        unsafe { time.write(left) };
    }
    result
}

/// `recvmmsg(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    time: *mut timespec,
) -> c_int {
    // SAFETY: the caller's contract: null or a readable time.
    let valid = unsafe { time.as_ref() }.is_none_or(super::sleep::is_valid);
    answer_int(match sched::current() {
        Some(_) if !valid => failure(libc::EINVAL),
        Some(g) if count > 0 => receive_many(g, fd, messages, count as usize, flags, time),
        _ => {
            let arguments = [
                fd as usize,
                messages as usize,
                count as usize,
                flags as usize,
                time as usize,
                0,
            ];
            // SAFETY: the caller's contract is the system call's.
            unsafe { raw(libc::SYS_recvmmsg, arguments) }
        }
    })
}

/// `sendmmsg` on a goroutine: message by message, since a part of one that did not fit has to follow
/// before the next.
fn send_many(
    g: &'static G,
    fd: c_int,
    messages: *mut mmsghdr,
    count: usize,
    flags: c_int,
) -> isize {
    let count = count.min(MESSAGES_MAX);
    for done in 0..count {
        let place = messages.wrapping_add(done);
        // SAFETY: the hook's caller vouches for `count` messages.
        let mut message = unsafe { place.read() };
        let result = send_message(g, fd, message.msg_hdr, flags);
        if result < 0 {
            return if done > 0 { done as isize } else { result };
        }
        message.msg_len = result as c_uint;
        // SAFETY: as above; the kernel would write the length there.
        unsafe { place.write(message) };
    }
    count as isize
}

/// `sendmmsg(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    answer_int(match sched::current() {
        Some(g) if count > 0 => send_many(g, fd, messages, count as usize, flags),
        _ => {
            let arguments = [
                fd as usize,
                messages as usize,
                count as usize,
                flags as usize,
                0,
                0,
            ];
            // SAFETY: the caller's contract is the system call's.
            unsafe { raw(libc::SYS_sendmmsg, arguments) }
        }
    })
}
