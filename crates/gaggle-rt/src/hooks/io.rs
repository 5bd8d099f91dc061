//! `read`, `write` and their relatives.
//!
//! Sockets are tried with MSG_DONTWAIT, pipes with RWF_NOWAIT (where the kernel has it), so neither
//! needs O_NONBLOCK, which is shared with other processes. Other descriptors that can be polled are
//! polled first; files take the hand-off path.

use super::{Target, answer, is_nonblocking, park_for, park_until_ready, socket};
use crate::blocking::in_call;
use crate::g::G;
use crate::netpoll::{self, Direction};
use crate::sched;
use gaggle_core::contract::NEVER;
use gaggle_sys::call::{self, FileKind, raw};
use libc::{c_int, c_long, c_void, iovec, off_t, size_t, ssize_t};

/// Linux 4.14's flag: answer EAGAIN rather than wait.
const RWF_NOWAIT: usize = 8;

/// A transfer of one or more buffers.
#[derive(Clone, Copy)]
struct Transfer {
    fd: c_int,
    vectors: *const iovec,
    count: c_int,
    direction: Direction,
}

impl Transfer {
    /// The same by the number that `target` has now.
    fn on(self, target: &Target) -> Self {
        Transfer {
            fd: target.fd(),
            ..self
        }
    }

    /// The plain system call, which may block.
    fn blocking(self) -> isize {
        let number = match self.direction {
            Direction::Read => libc::SYS_readv,
            Direction::Write => libc::SYS_writev,
        };
        self.call(number, 0, 0)
    }

    /// The system call that answers EAGAIN rather than wait; EOPNOTSUPP where there is none. The
    /// offset -1 means the descriptor's own position.
    fn at_once(self) -> isize {
        let number = match self.direction {
            Direction::Read => libc::SYS_preadv2,
            Direction::Write => libc::SYS_pwritev2,
        };
        self.call(number, usize::MAX, RWF_NOWAIT)
    }

    /// A vectored system call; `position` and `flags` are ignored by those that have none.
    fn call(self, number: c_long, position: usize, flags: usize) -> isize {
        let (vectors, count) = (self.vectors as usize, self.count as usize);
        let arguments = [self.fd as usize, vectors, count, position, position, flags];
        // SAFETY: the hook's caller vouches for the vectors and what they point to.
        unsafe { raw(number, arguments) }
    }
}

/// A transfer on a goroutine.
fn transfer(g: &'static G, transfer: Transfer) -> isize {
    match netpoll::kind(transfer.fd) {
        FileKind::Socket => {
            let message = socket::message(transfer.vectors.cast_mut(), transfer.count);
            match transfer.direction {
                Direction::Read => socket::receive_message(g, transfer.fd, message, 0),
                Direction::Write => socket::send_message(g, transfer.fd, message, 0),
            }
        }
        FileKind::Pipe => pipe(g, transfer),
        FileKind::Pollable => {
            let target = Target::new(transfer.fd);
            match park_until_ready(g, &target, transfer.direction, NEVER) {
                Some(outcome) => outcome,
                None => in_call(|| transfer.on(&target).blocking()),
            }
        }
        FileKind::File | FileKind::Closed => in_call(|| transfer.blocking()),
    }
}

/// A transfer on a pipe: a read answers what is there, a write goes on until all is written.
fn pipe(g: &'static G, mut transfer: Transfer) -> isize {
    let target = Target::new(transfer.fd);
    let mut rest = Vectors::none();
    let mut done: isize = 0;
    loop {
        transfer = transfer.on(&target);
        let observed = netpoll::observe(transfer.fd, transfer.direction);
        let result = transfer.at_once();
        if call::failed_with(result, libc::EOPNOTSUPP) {
            return slow_pipe(g, &target, transfer, done);
        }
        if call::failed_with(result, libc::EAGAIN) {
            if is_nonblocking(transfer.fd) {
                return if done > 0 { done } else { result };
            }
            match park_for(g, &target, transfer.direction, observed, NEVER) {
                None => continue,
                Some(super::UNPOLLABLE) => return slow_pipe(g, &target, transfer, done),
                Some(outcome) => return if done > 0 { done } else { outcome },
            }
        }
        if result < 0 {
            return if done > 0 { done } else { result };
        }
        done += result;
        if transfer.direction == Direction::Read {
            return done;
        }
        // SAFETY: the hook's caller vouches for the vectors.
        if !unsafe { rest.advance(transfer.vectors, transfer.count, result as usize) } {
            return done;
        }
        (transfer.vectors, transfer.count) = (rest.pointer(), rest.len());
    }
}

/// A pipe on a kernel without RWF_NOWAIT for pipes.
fn slow_pipe(g: &'static G, target: &Target, transfer: Transfer, done: isize) -> isize {
    if let Some(outcome) = park_until_ready(g, target, transfer.direction, NEVER) {
        return if done > 0 { done } else { outcome };
    }
    let result = in_call(|| transfer.on(target).blocking());
    if result < 0 && done > 0 {
        done
    } else {
        result.saturating_add(done)
    }
}

/// What is left of a list of buffers after part of it has been transferred.
pub struct Vectors(Vec<iovec>);

impl Vectors {
    /// Nothing was transferred yet.
    pub const fn none() -> Self {
        Vectors(Vec::new())
    }

    /// Takes `bytes` off the front of the `count` vectors at `vectors`; whether any byte is left.
    ///
    /// # Safety
    /// The vectors are readable (they may be this list's own).
    pub unsafe fn advance(
        &mut self,
        vectors: *const iovec,
        count: c_int,
        mut bytes: usize,
    ) -> bool {
        if self.0.is_empty() {
            let count = usize::try_from(count).unwrap_or(0);
            // SAFETY: the caller's contract.
            self.0 = unsafe { std::slice::from_raw_parts(vectors, count) }.to_vec();
        }
        while let Some(first) = self.0.first_mut() {
            if bytes < first.iov_len {
                // The address is the caller's buffer, moved on within it.
                first.iov_base = first.iov_base.wrapping_byte_add(bytes);
                first.iov_len -= bytes;
                return true;
            }
            bytes -= first.iov_len;
            self.0.remove(0);
        }
        false
    }

    /// The vectors that are left.
    pub fn pointer(&self) -> *const iovec {
        self.0.as_ptr()
    }

    /// How many vectors are left.
    pub fn len(&self) -> c_int {
        self.0.len() as c_int
    }
}

fn one_buffer(
    g: &'static G,
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    direction: Direction,
) -> isize {
    let vector = iovec {
        iov_base: buffer,
        iov_len: length,
    };
    let one = Transfer {
        fd,
        vectors: &raw const vector,
        count: 1,
        direction,
    };
    transfer(g, one)
}

/// `read` and `write`: a transfer of nothing is the plain call, since it may mean something to the
/// file (an empty datagram) that an empty list of buffers does not.
fn plain(fd: c_int, buffer: *mut c_void, length: size_t, direction: Direction) -> ssize_t {
    let number = match direction {
        Direction::Read => libc::SYS_read,
        Direction::Write => libc::SYS_write,
    };
    let arguments = [fd as usize, buffer as usize, length, 0, 0, 0];
    // SAFETY: the hook's caller vouches for the buffer.
    let call = || unsafe { raw(number, arguments) };
    answer(match sched::current() {
        None => call(),
        Some(_) if length == 0 => in_call(call),
        Some(g) => one_buffer(g, fd, buffer, length, direction),
    })
}

/// `read(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    plain(fd, buffer, length, Direction::Read)
}

/// `write(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    plain(fd, buffer.cast_mut(), length, Direction::Write)
}

fn vectored(fd: c_int, vectors: *const iovec, count: c_int, direction: Direction) -> ssize_t {
    let all = Transfer {
        fd,
        vectors,
        count,
        direction,
    };
    answer(match sched::current() {
        None => all.blocking(),
        Some(_) if !(1..=1024).contains(&count) => all.blocking(),
        Some(g) => transfer(g, all),
    })
}

/// `readv(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
    vectored(fd, vectors, count, Direction::Read)
}

/// `writev(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
    vectored(fd, vectors, count, Direction::Write)
}

/// A transfer at an offset: only files have those, so it takes the hand-off path.
fn at_offset(number: c_long, fd: c_int, buffer: usize, length: usize, offset: off_t) -> ssize_t {
    let position = offset as usize;
    answer(in_call(|| {
        // SAFETY: the hook's caller vouches for the buffer.
        unsafe { raw(number, [fd as usize, buffer, length, position, 0, 0]) }
    }))
}

macro_rules! offset_calls {
    ($($name:ident, $number:ident, $buffer:ty;)*) => {$(
        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            fd: c_int,
            buffer: $buffer,
            length: size_t,
            offset: off_t,
        ) -> ssize_t {
            at_offset(libc::$number, fd, buffer as usize, length, offset)
        }
    )*};
}

offset_calls! {
    pread, SYS_pread64, *mut c_void;
    pread64, SYS_pread64, *mut c_void;
    pwrite, SYS_pwrite64, *const c_void;
    pwrite64, SYS_pwrite64, *const c_void;
    preadv, SYS_preadv, *const iovec;
    preadv64, SYS_preadv, *const iovec;
    pwritev, SYS_pwritev, *const iovec;
    pwritev64, SYS_pwritev, *const iovec;
}

/// `preadv2` and `pwritev2`. The offset -1 is the descriptor's own position, which pipes and sockets
/// have; flags are for files and for those who do not want to wait.
fn vectored_with_flags(all: Transfer, offset: off_t, flags: c_int) -> ssize_t {
    let number = match all.direction {
        Direction::Read => libc::SYS_preadv2,
        Direction::Write => libc::SYS_pwritev2,
    };
    let call = || all.call(number, offset as usize, flags as usize);
    let may_park = offset == -1 && flags == 0 && (1..=1024).contains(&all.count);
    answer(match sched::current() {
        None => call(),
        Some(g) if may_park => transfer(g, all),
        Some(_) => in_call(call),
    })
}

macro_rules! flagged_calls {
    ($($name:ident, $direction:ident;)*) => {$(
        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            fd: c_int,
            vectors: *const iovec,
            count: c_int,
            offset: off_t,
            flags: c_int,
        ) -> ssize_t {
            let direction = Direction::$direction;
            let all = Transfer { fd, vectors, count, direction };
            vectored_with_flags(all, offset, flags)
        }
    )*};
}

flagged_calls! {
    preadv2, Read;
    preadv64v2, Read;
    pwritev2, Write;
    pwritev64v2, Write;
}
