//! Pipes and FIFOs.

use crate::table::{
    Case, Log, digest, let_it_block, pattern, pipe, read, read_all, socket_pair, write,
};
use std::os::fd::AsRawFd;

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "read waits for a write",
        run: read_waits,
    },
    Case {
        name: "a large write waits until all is read",
        run: large_write,
    },
    Case {
        name: "small writes fill a pipe, then wait",
        run: filled,
    },
    Case {
        name: "nonblocking ends answer EAGAIN",
        run: nonblocking,
    },
    Case {
        name: "zero bytes are moved at once",
        run: zero_bytes,
    },
    Case {
        name: "the last writer's close ends the stream",
        run: end_of_stream,
    },
    Case {
        name: "writing without a reader is EPIPE",
        run: broken,
    },
    Case {
        name: "the reader's close ends a waiting write",
        run: reader_closes,
    },
    Case {
        name: "readv and writev keep the order",
        run: vectors,
    },
    Case {
        name: "preadv2 and pwritev2 with and without a position",
        run: vectors_with_flags,
    },
    Case {
        name: "several readers share what comes",
        run: several_readers,
    },
    Case {
        name: "a FIFO's open waits for the other end",
        run: fifo,
    },
    Case {
        name: "a FIFO opened without waiting",
        run: fifo_nonblocking,
    },
    Case {
        name: "splice and tee wait and move",
        run: spliced,
    },
    Case {
        name: "an eventfd counts and waits",
        run: eventfd,
    },
    Case {
        name: "wrong descriptors are refused",
        run: wrong,
    },
];

fn read_waits(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let helper = log.help(move || {
        let_it_block();
        write(writer.as_raw_fd(), b"hello")
    });
    log.note("read", read(reader.as_raw_fd(), 100));
    log.note("write", helper.join());
}

fn large_write(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let bytes = pattern(300_000);
    log.note("sent", digest(&bytes));
    let helper = log.help(move || write(writer.as_raw_fd(), &bytes));
    log.note("received", digest(&read_all(reader.as_raw_fd())));
    log.note("written by one call", helper.join());
}

fn filled(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes numbers only.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    log.answer("size", size);
    log.note("fills it", write(writer.as_raw_fd(), &pattern(4096)));
    let helper = log.help(move || write(writer.as_raw_fd(), b"more"));
    let_it_block();
    log.note("received", digest(&read_all(reader.as_raw_fd())));
    log.note("written", helper.join());
}

fn nonblocking(log: &mut Log) {
    let (reader, writer) = pipe(libc::O_NONBLOCK);
    let (result, _) = read(reader.as_raw_fd(), 10);
    log.answer("empty", result);
    let mut written = 0;
    loop {
        let result = write(writer.as_raw_fd(), &pattern(5000));
        if result < 0 {
            log.answer("full", result);
            break;
        }
        written += result;
    }
    log.note("held", written);
}

fn zero_bytes(log: &mut Log) {
    let (reader, writer) = pipe(0);
    log.note("read", read(reader.as_raw_fd(), 0));
    log.note("write", write(writer.as_raw_fd(), &[]));
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    log.note("read from a socket", read(one.as_raw_fd(), 0));
    log.note("write to a socket", write(other.as_raw_fd(), &[]));
    let (one, other) = socket_pair(libc::SOCK_DGRAM);
    log.note("write an empty message", write(one.as_raw_fd(), &[]));
    log.note("read it", read(other.as_raw_fd(), 10));
    let empty: [libc::iovec; 0] = [];
    // SAFETY: no vectors are read.
    let result = unsafe { libc::readv(reader.as_raw_fd(), empty.as_ptr(), 0) };
    log.answer("readv of none", result as i64);
    let nothing = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    // SAFETY: one vector of no bytes.
    let result = unsafe { libc::readv(reader.as_raw_fd(), &nothing, 1) };
    log.answer("readv of nothing", result as i64);
}

fn end_of_stream(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let helper = log.help(move || {
        let_it_block();
        drop(writer);
    });
    log.note("read", read(reader.as_raw_fd(), 10));
    helper.join();
    log.note("read again", read(reader.as_raw_fd(), 10));
}

fn broken(log: &mut Log) {
    let (reader, writer) = pipe(0);
    drop(reader);
    let result = write(writer.as_raw_fd(), b"x");
    log.answer("write", result);
}

fn reader_closes(log: &mut Log) {
    let (reader, writer) = pipe(0);
    // SAFETY: takes numbers only.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    let helper = log.help(move || {
        let result = write(writer.as_raw_fd(), &pattern(10_000));
        (result, std::io::Error::last_os_error().raw_os_error())
    });
    let_it_block();
    drop(reader);
    // A part was written before, so the call answers that; the next one is told.
    log.note("write", helper.join().0);
}

fn vectors(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let mut parts = [b"ab".to_vec(), b"".to_vec(), b"cdef".to_vec()];
    let out = parts.each_mut().map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: part.len(),
    });
    // SAFETY: three vectors of readable bytes.
    let result = unsafe { libc::writev(writer.as_raw_fd(), out.as_ptr(), 3) };
    log.answer("writev", result as i64);
    let mut first = [0u8; 3];
    let mut second = [0u8; 10];
    let places = [
        libc::iovec {
            iov_base: first.as_mut_ptr().cast(),
            iov_len: 3,
        },
        libc::iovec {
            iov_base: second.as_mut_ptr().cast(),
            iov_len: 10,
        },
    ];
    // SAFETY: two vectors of writable bytes.
    let result = unsafe { libc::readv(reader.as_raw_fd(), places.as_ptr(), 2) };
    log.answer("readv", result as i64);
    log.note("bytes", (first, second));
    // SAFETY: refused by its count.
    let result = unsafe { libc::readv(reader.as_raw_fd(), places.as_ptr(), -1) };
    log.answer("a negative count", result as i64);
}

fn vectors_with_flags(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let mut bytes = *b"positions";
    let vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: one vector of readable bytes, in each.
    let (at_own, at_zero) = unsafe {
        (
            libc::pwritev2(writer.as_raw_fd(), &vector, 1, -1, 0),
            libc::pwritev2(writer.as_raw_fd(), &vector, 1, 0, 0),
        )
    };
    log.answer("at its own position", at_own as i64);
    log.answer("a pipe has no other", at_zero as i64);
    // SAFETY: one vector of writable bytes.
    let result = unsafe { libc::preadv2(reader.as_raw_fd(), &vector, 1, -1, 0) };
    log.answer("read", result as i64);
    // SAFETY: as above; RWF_NOWAIT.
    let result = unsafe { libc::preadv2(reader.as_raw_fd(), &vector, 1, -1, 8) };
    log.answer("without waiting", result as i64);
}

fn several_readers(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let reader = std::sync::Arc::new(reader);
    let helpers: Vec<_> = (0..8)
        .map(|_| {
            let reader = reader.clone();
            log.help(move || read(reader.as_raw_fd(), 1))
        })
        .collect();
    for byte in 0..8u8 {
        write(writer.as_raw_fd(), &[byte]);
    }
    let mut received: Vec<_> = helpers.into_iter().map(|helper| helper.join()).collect();
    received.sort();
    log.note("received", received);
}

/// A new FIFO's path.
fn new_fifo(log: &Log) -> std::ffi::CString {
    let own = std::ptr::from_ref(log) as usize;
    let path = std::env::temp_dir().join(format!("gaggle-fifo-{}-{own:x}", std::process::id()));
    let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes());
    let path = path.expect("a path has no zero byte");
    // SAFETY: a path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    path
}

fn open(path: &std::ffi::CStr, flags: libc::c_int) -> libc::c_int {
    // SAFETY: a path.
    unsafe { libc::open(path.as_ptr(), flags) }
}

fn fifo(log: &mut Log) {
    let path = new_fifo(log);
    let other = path.clone();
    let helper = log.help(move || {
        let_it_block();
        let writer = crate::table::owned(open(&other, libc::O_WRONLY));
        write(writer.as_raw_fd(), b"through a FIFO")
    });
    let reader = crate::table::owned(open(&path, libc::O_RDONLY));
    log.note("read", read(reader.as_raw_fd(), 100));
    log.note("written", helper.join());
    log.note("end", read(reader.as_raw_fd(), 100));
    // SAFETY: a path.
    log.answer("unlink", unsafe { libc::unlink(path.as_ptr()) });
}

fn fifo_nonblocking(log: &mut Log) {
    let path = new_fifo(log);
    let result = open(&path, libc::O_WRONLY | libc::O_NONBLOCK);
    log.answer("no reader", result);
    let reader = crate::table::owned(open(&path, libc::O_RDONLY | libc::O_NONBLOCK));
    log.note("no writer", read(reader.as_raw_fd(), 10));
    // SAFETY: a path.
    unsafe { libc::unlink(path.as_ptr()) };
}

fn spliced(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let (second_reader, second_writer) = pipe(0);
    let helper = log.help(move || {
        let_it_block();
        write(writer.as_raw_fd(), b"spliced bytes")
    });
    // SAFETY: pipes have no offsets.
    let copied = unsafe { libc::tee(reader.as_raw_fd(), second_writer.as_raw_fd(), 7, 0) };
    log.answer("tee", copied as i64);
    let null = std::ptr::null_mut();
    // SAFETY: as above.
    let moved = unsafe {
        libc::splice(
            reader.as_raw_fd(),
            null,
            second_writer.as_raw_fd(),
            null,
            100,
            0,
        )
    };
    log.answer("splice", moved as i64);
    log.note("arrived", read(second_reader.as_raw_fd(), 100));
    // SAFETY: as above.
    let moved = unsafe {
        let (from, to) = (second_reader.as_raw_fd(), second_writer.as_raw_fd());
        libc::splice(from, null, to, null, 100, libc::SPLICE_F_NONBLOCK)
    };
    log.answer("into itself", moved as i64);
    log.note("written", helper.join());
}

fn eventfd(log: &mut Log) {
    // SAFETY: takes numbers only.
    let event = crate::table::owned(unsafe { libc::eventfd(0, 0) });
    let event = std::sync::Arc::new(event);
    let other = event.clone();
    let helper = log.help(move || {
        let_it_block();
        write(other.as_raw_fd(), &7u64.to_ne_bytes())
    });
    log.note("read", read(event.as_raw_fd(), 8));
    log.note("write", helper.join());
    let largest = (u64::MAX - 1).to_ne_bytes();
    log.note("fills it", write(event.as_raw_fd(), &largest));
    let other = event.clone();
    let helper = log.help(move || write(other.as_raw_fd(), &1u64.to_ne_bytes()));
    let_it_block();
    log.note("read", read(event.as_raw_fd(), 8));
    log.note("waited to write", helper.join());
    let (result, _) = read(event.as_raw_fd(), 4);
    log.answer("too little room", result);
}

fn wrong(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let (result, _) = read(writer.as_raw_fd(), 4);
    log.answer("read from the writing end", result);
    let result = write(reader.as_raw_fd(), b"x");
    log.answer("write to the reading end", result);
    let (result, _) = read(-1, 4);
    log.answer("read from -1", result);
    let (result, _) = read(1_000_000, 4);
    log.answer("read from a number never used", result);
}
