//! Regular files.

use crate::table::{Case, Log, digest, let_it_block, pattern, pipe, read};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "bytes at their places",
        run: places,
    },
    Case {
        name: "vectors at their places",
        run: vector_places,
    },
    Case {
        name: "syncing",
        run: syncing,
    },
    Case {
        name: "flock waits",
        run: flock,
    },
    Case {
        name: "locks of ranges wait",
        run: range_lock,
    },
    Case {
        name: "copy_file_range and sendfile between files",
        run: copies,
    },
    Case {
        name: "std's files",
        run: std_files,
    },
    Case {
        name: "opening what is not there",
        run: missing,
    },
];

/// A new file without a name.
fn new_file(name: &str) -> (File, std::path::PathBuf) {
    let file = format!("gaggle-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(file);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a folder to write in");
    (file, path)
}

fn places(log: &mut Log) {
    let (file, path) = new_file("places");
    std::fs::remove_file(path).expect("just made");
    let fd = file.as_raw_fd();
    let bytes = pattern(100_000);
    let mut buffer = vec![0u8; 100];
    // SAFETY: readable and writable bytes.
    unsafe {
        log.answer(
            "pwrite",
            libc::pwrite(fd, bytes.as_ptr().cast(), 100_000, 50) as i64,
        );
        log.answer(
            "pread",
            libc::pread(fd, buffer.as_mut_ptr().cast(), 100, 1050) as i64,
        );
        log.note("bytes", digest(&buffer));
        log.answer(
            "the end",
            libc::pread(fd, buffer.as_mut_ptr().cast(), 100, 100_000) as i64,
        );
        log.answer(
            "beyond",
            libc::pread(fd, buffer.as_mut_ptr().cast(), 100, 200_000) as i64,
        );
        log.answer(
            "before",
            libc::pread(fd, buffer.as_mut_ptr().cast(), 100, -1) as i64,
        );
        log.answer("position", libc::lseek(fd, 0, libc::SEEK_CUR));
    }
    log.note("read", digest(&read(fd, 1000).1));
    log.note("nothing", read(fd, 0));
    let (reader, _writer) = pipe(0);
    // SAFETY: as above.
    let result = unsafe { libc::pread(reader.as_raw_fd(), buffer.as_mut_ptr().cast(), 1, 0) };
    log.answer("a pipe has none", result as i64);
}

fn vector_places(log: &mut Log) {
    let (file, path) = new_file("vectors");
    std::fs::remove_file(path).expect("just made");
    let fd = file.as_raw_fd();
    let mut parts = [*b"first", *b"other"];
    let vectors = parts.each_mut().map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: 5,
    });
    // SAFETY: two vectors of five bytes.
    unsafe {
        log.answer("pwritev", libc::pwritev(fd, vectors.as_ptr(), 2, 3) as i64);
        log.answer(
            "pwritev2",
            libc::pwritev2(fd, vectors.as_ptr(), 2, 20, 0) as i64,
        );
        log.answer(
            "its own position",
            libc::pwritev2(fd, vectors.as_ptr(), 1, -1, 0) as i64,
        );
        log.answer("preadv", libc::preadv(fd, vectors.as_ptr(), 2, 20) as i64);
        log.answer(
            "preadv2",
            libc::preadv2(fd, vectors.as_ptr(), 2, 0, 0) as i64,
        );
        log.answer(
            "unknown flags",
            libc::preadv2(fd, vectors.as_ptr(), 2, 0, 1 << 30) as i64,
        );
    }
    log.note("bytes", parts);
}

fn syncing(log: &mut Log) {
    let (file, path) = new_file("syncing");
    std::fs::remove_file(path).expect("just made");
    let fd = file.as_raw_fd();
    let (reader, _writer) = pipe(0);
    // SAFETY: take numbers only.
    unsafe {
        log.answer("fsync", libc::fsync(fd));
        log.answer("fdatasync", libc::fdatasync(fd));
        log.answer("sync_file_range", libc::sync_file_range(fd, 0, 0, 2));
        log.answer("a pipe", libc::fsync(reader.as_raw_fd()));
        log.answer("ftruncate", libc::ftruncate(fd, 1000));
    }
    log.note(
        "length",
        file.metadata().map(|metadata| metadata.len()).ok(),
    );
}

fn flock(log: &mut Log) {
    let (file, path) = new_file("flock");
    let second = File::open(&path).expect("just made");
    std::fs::remove_file(path).expect("just made");
    // SAFETY: take numbers only, in all.
    unsafe {
        log.answer("lock", libc::flock(file.as_raw_fd(), libc::LOCK_EX));
        let without = libc::LOCK_EX | libc::LOCK_NB;
        log.answer("without waiting", libc::flock(second.as_raw_fd(), without));
    }
    // SAFETY: as above.
    let helper = log.help(move || unsafe { libc::flock(second.as_raw_fd(), libc::LOCK_SH) });
    let_it_block();
    // SAFETY: as above.
    log.answer("unlock", unsafe {
        libc::flock(file.as_raw_fd(), libc::LOCK_UN)
    });
    log.note("waited", helper.join());
}

fn range_lock(log: &mut Log) {
    let (file, path) = new_file("ranges");
    let second = File::options().write(true).open(&path).expect("just made");
    std::fs::remove_file(path).expect("just made");
    let lock = |fd: i32, command: i32, kind: i32| {
        // SAFETY: zeros are a lock of nothing.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = kind as i16;
        range.l_len = 10;
        // SAFETY: a readable lock.
        unsafe { libc::fcntl(fd, command, &range) }
    };
    log.answer(
        "lock",
        lock(file.as_raw_fd(), libc::F_OFD_SETLK, libc::F_WRLCK),
    );
    log.answer(
        "in vain",
        lock(second.as_raw_fd(), libc::F_OFD_SETLK, libc::F_WRLCK),
    );
    let helper = log.help(move || lock(second.as_raw_fd(), libc::F_OFD_SETLKW, libc::F_WRLCK));
    let_it_block();
    log.answer(
        "unlock",
        lock(file.as_raw_fd(), libc::F_OFD_SETLK, libc::F_UNLCK),
    );
    log.note("waited", helper.join());
}

fn copies(log: &mut Log) {
    let (from, from_path) = new_file("copied");
    let (to, to_path) = new_file("copy");
    std::fs::write(&from_path, pattern(10_000)).expect("there is room");
    let mut offset = 100;
    let null = std::ptr::null_mut();
    let (source, target) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: an offset that may be written, or none.
    unsafe {
        let copied = libc::copy_file_range(source, &mut offset, target, null, 5000, 0);
        log.answer("copy_file_range", copied as i64);
        log.note("offset", offset);
        let sent = libc::sendfile(target, source, &mut offset, 9999);
        log.answer("sendfile", sent as i64);
        log.note("offset", offset);
    }
    log.note(
        "bytes",
        digest(&std::fs::read(&to_path).expect("just written")),
    );
    std::fs::remove_file(from_path).expect("just made");
    std::fs::remove_file(to_path).expect("just made");
}

fn std_files(log: &mut Log) {
    let (file, path) = new_file("std");
    let file = Arc::new(file);
    let helpers: Vec<_> = (0..4u64)
        .map(|number| {
            let file = file.clone();
            log.help(move || {
                use std::os::unix::fs::FileExt;
                file.write_all_at(&pattern(50_000), number * 50_000).is_ok()
            })
        })
        .collect();
    let written: Vec<_> = helpers.into_iter().map(|helper| helper.join()).collect();
    log.note("written", written);
    log.note(
        "bytes",
        digest(&std::fs::read(&path).expect("just written")),
    );
    std::fs::remove_file(path).expect("just made");
}

fn missing(log: &mut Log) {
    let open = |path: &std::ffi::CStr, flags| {
        // SAFETY: a path.
        unsafe { libc::open(path.as_ptr(), flags) }
    };
    log.answer("no file", open(c"/no/such/file", libc::O_RDONLY));
    log.answer("a folder", open(c"/tmp", libc::O_WRONLY));
    // SAFETY: a path.
    let result = unsafe { libc::openat(-1, c"relative".as_ptr(), libc::O_RDONLY) };
    log.answer("relative to nothing", result);
}
