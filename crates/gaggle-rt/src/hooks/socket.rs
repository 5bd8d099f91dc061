//! Sockets: sending, receiving, accepting, connecting.
//!
//! A call is tried with MSG_DONTWAIT; on EAGAIN the goroutine parks, unless the caller asked not to
//! wait. Time-outs (SO_RCVTIMEO, SO_SNDTIMEO) become the wait's deadline. A send on a stream goes on
//! until all is sent, as a blocking one does in the kernel.

use super::io::Vectors;
use super::{Target, answer, answer_int, failure, is_nonblocking, park_for, socket_deadline};
use crate::blocking::in_call;
use crate::g::G;
use crate::netpoll::{self, Direction};
use crate::sched;
use gaggle_core::contract::Nanos;
use gaggle_sys::call::{self, raw};
use libc::{c_int, c_void, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

/// A message header around some buffers.
pub fn message(vectors: *mut iovec, count: c_int) -> msghdr {
    // SAFETY: all zeros is a message without address, buffers and control data.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors;
    message.msg_iovlen = count as _;
    message
}

/// A wait on one socket in one direction: its deadline is found out when the first wait comes.
struct Turn {
    g: &'static G,
    target: Target,
    direction: Direction,
    deadline: Option<Nanos>,
}

impl Turn {
    fn new(g: &'static G, fd: c_int, direction: Direction) -> Self {
        Turn {
            g,
            target: Target::new(fd),
            direction,
            deadline: None,
        }
    }

    /// Parks after a try answered EAGAIN. `Some`: what the call is to answer.
    fn park(&mut self, observed: netpoll::Observed) -> Option<isize> {
        let deadline = match self.deadline {
            Some(deadline) => deadline,
            None => {
                if is_nonblocking(self.target.fd()) {
                    return Some(failure(libc::EAGAIN));
                }
                *self
                    .deadline
                    .insert(socket_deadline(self.target.fd(), self.direction))
            }
        };
        park_for(self.g, &self.target, self.direction, observed, deadline)
    }
}

/// Repeats `call` (which gets the descriptor and the flags to use) until it answers anything but EAGAIN.
pub fn until_done(
    g: &'static G,
    fd: c_int,
    direction: Direction,
    flags: c_int,
    call: impl Fn(c_int, c_int) -> isize,
) -> isize {
    repeat(&mut Turn::new(g, fd, direction), flags, call)
}

/// As [`until_done`], as part of a longer turn with one deadline.
fn repeat(turn: &mut Turn, flags: c_int, call: impl Fn(c_int, c_int) -> isize) -> isize {
    loop {
        let fd = turn.target.fd();
        let observed = netpoll::observe(fd, turn.direction);
        let result = call(fd, flags | libc::MSG_DONTWAIT);
        if !call::failed_with(result, libc::EAGAIN) || flags & libc::MSG_DONTWAIT != 0 {
            return result;
        }
        match turn.park(observed) {
            None => {}
            Some(super::UNPOLLABLE) => return in_call(|| call(fd, flags)),
            Some(outcome) => return outcome,
        }
    }
}

/// `recvmsg` on a goroutine.
pub fn receive_message(g: &'static G, fd: c_int, mut message: msghdr, flags: c_int) -> isize {
    let address = &raw mut message as usize;
    receive(g, fd, flags, |fd, flags| {
        // SAFETY: the hook's caller vouches for the buffers; the header lives here.
        unsafe {
            raw(
                libc::SYS_recvmsg,
                [fd as usize, address, flags as usize, 0, 0, 0],
            )
        }
    })
}

/// A receiving call. What MSG_WAITALL means for a message with control data, or for one that is only
/// looked at, the kernel knows best: it takes the hand-off path.
fn receive(g: &'static G, fd: c_int, flags: c_int, call: impl Fn(c_int, c_int) -> isize) -> isize {
    if flags & libc::MSG_WAITALL != 0 {
        return in_call(|| call(fd, flags));
    }
    until_done(g, fd, Direction::Read, flags, call)
}

/// `recvfrom` with MSG_WAITALL: on a stream it goes on until the buffer is full, the stream ends or the
/// time is over. `part` receives into what is left of the buffer after so many bytes.
fn receive_all(
    g: &'static G,
    fd: c_int,
    length: size_t,
    flags: c_int,
    part: impl Fn(c_int, usize, c_int) -> isize,
) -> isize {
    if flags & libc::MSG_PEEK != 0 {
        return in_call(|| part(fd, 0, flags));
    }
    let is_stream = call::socket_option(fd, libc::SO_TYPE) == Ok(libc::SOCK_STREAM);
    let mut turn = Turn::new(g, fd, Direction::Read);
    let mut received = 0;
    loop {
        let result = repeat(&mut turn, flags, |fd, flags| part(fd, received, flags));
        if result <= 0 {
            return if received > 0 {
                received as isize
            } else {
                result
            };
        }
        received += result as usize;
        if !is_stream || received >= length || flags & libc::MSG_DONTWAIT != 0 {
            return received as isize;
        }
    }
}

/// `sendmsg` on a goroutine: goes on until all is sent, or nothing more can be.
pub fn send_message(g: &'static G, fd: c_int, mut message: msghdr, flags: c_int) -> isize {
    let mut turn = Turn::new(g, fd, Direction::Write);
    let mut rest = Vectors::none();
    let mut sent: isize = 0;
    loop {
        let address = &raw const message as usize;
        let result = repeat(&mut turn, flags, |fd, flags| {
            // SAFETY: the hook's caller vouches for the buffers; the header lives here.
            unsafe {
                raw(
                    libc::SYS_sendmsg,
                    [fd as usize, address, flags as usize, 0, 0, 0],
                )
            }
        });
        if result < 0 {
            return if sent > 0 { sent } else { result };
        }
        sent += result;
        if flags & libc::MSG_DONTWAIT != 0 {
            return sent;
        }
        let (vectors, count) = (message.msg_iov, message.msg_iovlen as c_int);
        // SAFETY: the hook's caller vouches for the vectors.
        if !unsafe { rest.advance(vectors, count, result as usize) } {
            return sent;
        }
        if is_nonblocking(turn.target.fd()) {
            return sent;
        }
        message.msg_iov = rest.pointer().cast_mut();
        message.msg_iovlen = rest.len() as _;
        // Control data went with the first part.
        message.msg_controllen = 0;
    }
}

/// `recvfrom(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    let part = |fd: c_int, from: usize, flags: c_int| {
        let arguments = [
            fd as usize,
            buffer as usize + from,
            length - from,
            flags as usize,
            address as usize,
            address_length as usize,
        ];
        // SAFETY: the caller's contract is the system call's, for any part of the buffer.
        unsafe { raw(libc::SYS_recvfrom, arguments) }
    };
    answer(match sched::current() {
        None => part(fd, 0, flags),
        Some(g) if flags & libc::MSG_WAITALL != 0 => receive_all(g, fd, length, flags, part),
        Some(g) => receive(g, fd, flags, |fd, flags| part(fd, 0, flags)),
    })
}

/// `recv(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's contract, without an address.
    unsafe {
        recvfrom(
            fd,
            buffer,
            length,
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

/// `sendto(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> ssize_t {
    let part = |fd: c_int, from: usize, flags: c_int| {
        let arguments = [
            fd as usize,
            buffer as usize + from,
            length - from,
            flags as usize,
            address as usize,
            address_length as usize,
        ];
        // SAFETY: the caller's contract is the system call's, for any part of the buffer.
        unsafe { raw(libc::SYS_sendto, arguments) }
    };
    let Some(g) = sched::current() else {
        return answer(part(fd, 0, flags));
    };
    let mut turn = Turn::new(g, fd, Direction::Write);
    let mut sent = 0;
    loop {
        let result = repeat(&mut turn, flags, |fd, flags| part(fd, sent, flags));
        if result < 0 {
            return if sent > 0 {
                sent as ssize_t
            } else {
                answer(result)
            };
        }
        sent += result as usize;
        let once = flags & libc::MSG_DONTWAIT != 0;
        if sent >= length || result == 0 || once || is_nonblocking(turn.target.fd()) {
            return sent as ssize_t;
        }
    }
}

/// `send(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's contract, without an address.
    unsafe { sendto(fd, buffer, length, flags, std::ptr::null(), 0) }
}

/// `recvmsg(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let call = |fd: c_int, flags: c_int| {
        // SAFETY: the caller's contract is the system call's.
        unsafe {
            raw(
                libc::SYS_recvmsg,
                [fd as usize, message as usize, flags as usize, 0, 0, 0],
            )
        }
    };
    answer(match sched::current() {
        None => call(fd, flags),
        Some(g) => receive(g, fd, flags, call),
    })
}

/// `sendmsg(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    match sched::current() {
        Some(g) if !message.is_null() => {
            // SAFETY: the caller's contract: a readable header.
            let header = unsafe { message.read() };
            answer(send_message(g, fd, header, flags))
        }
        // SAFETY: the caller's contract is the system call's.
        _ => answer(unsafe {
            raw(
                libc::SYS_sendmsg,
                [fd as usize, message as usize, flags as usize, 0, 0, 0],
            )
        }),
    }
}

/// Whether an `accept` on `fd` may succeed, now or later.
fn may_accept(fd: c_int, flags: c_int) -> bool {
    flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) == 0
        && call::socket_option(fd, libc::SO_ACCEPTCONN) == Ok(1)
}

/// `accept4(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let call = |fd: c_int| {
        let arguments = [
            fd as usize,
            address as usize,
            length as usize,
            flags as usize,
            0,
            0,
        ];
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_accept4, arguments) }
    };
    let result = match sched::current() {
        None => call(fd),
        // The kernel refuses these whether there is a connection or not.
        Some(_) if !may_accept(fd, flags) => call(fd),
        Some(g) => accept_parking(g, fd, call),
    };
    if result >= 0 {
        netpoll::forget(result as c_int);
    }
    answer_int(result)
}

/// There is no per-call flag for `accept`, so it is called once there is a connection, and by one goroutine
/// at a time (N5 of the netpoller). Only another process, or a foreign thread, can be quicker; then this
/// waits in the kernel.
fn accept_parking(g: &'static G, fd: c_int, call: impl Fn(c_int) -> isize) -> isize {
    let target = Target::new(fd);
    let deadline = socket_deadline(fd, Direction::Read);
    loop {
        let fd = target.fd();
        let observed = netpoll::observe(fd, Direction::Read);
        let turn = netpoll::take_turn(fd);
        if turn.is_some() && call::poll_now(fd, libc::POLLIN) != 0 {
            return in_call(|| call(fd));
        }
        if is_nonblocking(fd) {
            return call(fd);
        }
        drop(turn);
        match park_for(g, &target, Direction::Read, observed, deadline) {
            None => {}
            Some(super::UNPOLLABLE) => return in_call(|| call(fd)),
            Some(outcome) => return outcome,
        }
    }
}

/// `accept(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the caller's contract, without flags.
    unsafe { accept4(fd, address, length, 0) }
}

/// `connect(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let call = |fd: c_int| {
        // SAFETY: the caller's contract is the system call's.
        unsafe {
            raw(
                libc::SYS_connect,
                [fd as usize, address as usize, length as usize, 0, 0, 0],
            )
        }
    };
    answer_int(match sched::current() {
        None => call(fd),
        Some(g) => connect_parking(g, fd, call),
    })
}

/// There is no per-call flag for `connect`, so the descriptor is made non-blocking for the one call
/// that begins it.
fn connect_parking(g: &'static G, fd: c_int, call: impl Fn(c_int) -> isize) -> isize {
    let flags = call::status_flags(fd);
    if flags < 0 || flags & libc::O_NONBLOCK as isize != 0 {
        return call(fd);
    }
    let flags = flags as c_int;
    call::set_status_flags(fd, flags | libc::O_NONBLOCK);
    let begun = call(fd);
    call::set_status_flags(fd, flags);
    if call::failed_with(begun, libc::EAGAIN) {
        // A Unix socket whose listener's queue is full: nothing to poll for, the kernel waits.
        return in_call(|| call(fd));
    }
    // EALREADY: begun by an earlier call that did not wait.
    let under_way = [libc::EINPROGRESS, libc::EALREADY];
    if !under_way
        .iter()
        .any(|errno| call::failed_with(begun, *errno))
    {
        return begun;
    }
    let deadline = socket_deadline(fd, Direction::Write);
    let target = Target::new(fd);
    loop {
        let observed = netpoll::observe(target.fd(), Direction::Write);
        if call::poll_now(target.fd(), libc::POLLOUT) != 0 {
            break;
        }
        match park_for(g, &target, Direction::Write, observed, deadline) {
            None => {}
            // The kernel answers EINPROGRESS when SO_SNDTIMEO ends a connect.
            Some(outcome) if call::failed_with(outcome, libc::EAGAIN) => {
                return failure(libc::EINPROGRESS);
            }
            Some(super::UNPOLLABLE) => return in_call(|| call(target.fd())),
            Some(outcome) => return outcome,
        }
    }
    // The outcome is there, so this does not wait: asking for it the same way leaves the socket as a
    // blocking call would.
    call(target.fd())
}
