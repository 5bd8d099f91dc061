//! What happens to descriptors that others use: closing, duplicating, replacing.

use crate::table::{Case, Log, let_it_block, owned, pipe, read, socket_pair, write};
use std::os::fd::{AsRawFd, IntoRawFd};

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "closing twice, and what is none",
        run: close_twice,
    },
    Case {
        name: "closing what another reads leaves it waiting",
        run: close_while_read,
    },
    Case {
        name: "a number that is used again",
        run: reused,
    },
    Case {
        name: "dup shares the file",
        run: duplicated,
    },
    Case {
        name: "dup2 replaces what another reads",
        run: replaced,
    },
    Case {
        name: "dup2 and dup3 of the same",
        run: same_number,
    },
    Case {
        name: "fcntl duplicates",
        run: fcntl,
    },
    Case {
        name: "close_range closes",
        run: closed_range,
    },
    Case {
        name: "O_NONBLOCK is the file's, not the descriptor's",
        run: shared_flags,
    },
];

fn close(fd: i32) -> i32 {
    // SAFETY: takes a number; the test owns it.
    unsafe { libc::close(fd) }
}

fn close_twice(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let fd = reader.into_raw_fd();
    log.answer("once", close(fd));
    // The number is free: no other case runs now.
    log.answer("twice", close(fd));
    log.answer("none", close(-1));
    drop(writer);
}

fn close_while_read(log: &mut Log) {
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, 0] {
        let (one, other) = if kind == 0 {
            pipe(0)
        } else {
            socket_pair(kind)
        };
        let fd = one.into_raw_fd();
        let helper = log.help(move || read(fd, 10));
        let_it_block();
        log.answer("close", close(fd));
        log.note("written", write(other.as_raw_fd(), b"still"));
        log.note("read", helper.join());
        log.note("refused now", read(fd, 10).0);
    }
}

fn reused(log: &mut Log) {
    for _ in 0..20 {
        let (one, other) = socket_pair(libc::SOCK_STREAM);
        let helper = log.help(move || read(one.as_raw_fd(), 10));
        std::thread::yield_now();
        log.note("written", write(other.as_raw_fd(), b"x"));
        log.note("read", helper.join());
        let (reader, writer) = pipe(0);
        let helper = log.help(move || read(reader.as_raw_fd(), 10));
        std::thread::yield_now();
        log.note("written", write(writer.as_raw_fd(), b"y"));
        log.note("read", helper.join());
    }
}

fn duplicated(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes a number.
    let second = owned(unsafe { libc::dup(reader.as_raw_fd()) });
    let helper = log.help(move || (read(second.as_raw_fd(), 1), second));
    let_it_block();
    drop(reader);
    log.note("written", write(writer.as_raw_fd(), b"xy"));
    let (result, second) = helper.join();
    log.note("read", result);
    let helper = log.help(move || (read(second.as_raw_fd(), 1), read(second.as_raw_fd(), 1)));
    let_it_block();
    drop(writer);
    log.note("read to the end", helper.join());
}

fn replaced(log: &mut Log) {
    let (one, one_writer) = pipe(0);
    let (two, two_writer) = pipe(0);
    let fd = one.as_raw_fd();
    let helper = log.help(move || read(fd, 10));
    let_it_block();
    // SAFETY: takes numbers; both are the test's.
    log.note("dup2", unsafe { libc::dup2(two.as_raw_fd(), fd) } == fd);
    log.note("to the new", write(two_writer.as_raw_fd(), b"new"));
    log.note("to the old", write(one_writer.as_raw_fd(), b"old"));
    log.note("the one that waited", helper.join());
    log.note("the next", read(fd, 10));
}

fn same_number(log: &mut Log) {
    let (reader, _writer) = pipe(0);
    let fd = reader.as_raw_fd();
    // SAFETY: take numbers only.
    unsafe {
        log.note("dup2", libc::dup2(fd, fd) == fd);
        log.answer("dup3", libc::dup3(fd, fd, 0));
        log.answer("of none", libc::dup2(999_999, fd));
        log.answer("of the same none", libc::dup2(999_999, 999_999));
    }
    log.note("it still is", write(_writer.as_raw_fd(), b"x"));
    log.note("read", read(fd, 1));
}

fn fcntl(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes numbers.
    let high = owned(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 500) });
    log.note("high", high.as_raw_fd() >= 500);
    let helper = log.help(move || read(high.as_raw_fd(), 10));
    let_it_block();
    log.note("written", write(writer.as_raw_fd(), b"high"));
    log.note("read", helper.join());
}

fn closed_range(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes numbers.
    let first = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD, 700) };
    // SAFETY: as above.
    let second = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_DUPFD, 701) };
    let (from, to) = (first as u32, second as u32);
    // SAFETY: closes the two made above; nobody has more with such numbers.
    let result = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
    log.answer("close_range", result);
    log.note("closed", (close(first), close(second)));
    log.note("the others", write(writer.as_raw_fd(), b"x"));
    // SAFETY: refused.
    let result = unsafe { libc::syscall(libc::SYS_close_range, to + 1, from, 0) };
    log.answer("backwards", result);
}

fn shared_flags(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes a number.
    let second = owned(unsafe { libc::dup(reader.as_raw_fd()) });
    // SAFETY: as above.
    unsafe { libc::fcntl(second.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let (result, _) = read(reader.as_raw_fd(), 1);
    log.answer("does not wait", result);
    // SAFETY: as above.
    unsafe { libc::fcntl(second.as_raw_fd(), libc::F_SETFL, 0) };
    let helper = log.help(move || read(reader.as_raw_fd(), 1));
    let_it_block();
    log.note("written", write(writer.as_raw_fd(), b"x"));
    log.note("waits", helper.join());
}
