//! What the cases are made of.

use std::fmt::Debug;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// On what a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread of std.
    Thread,
    /// A goroutine.
    Goroutine,
}

/// One case.
pub struct Case {
    /// The situation.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&mut Log),
}

/// What a case notes, and how it starts helpers.
pub struct Log {
    kind: Kind,
    notes: Vec<String>,
}

/// A helper that was started.
pub enum Helper<T> {
    /// A thread of std.
    Thread(std::thread::JoinHandle<T>),
    /// A goroutine.
    Goroutine(gaggle::JoinHandle<T>),
}

impl<T> Helper<T> {
    /// Waits for its end.
    pub fn join(self) -> T {
        match self {
            Helper::Thread(thread) => thread.join().expect("no helper panics"),
            Helper::Goroutine(goroutine) => goroutine.join().expect("no helper panics"),
        }
    }
}

impl Case {
    /// Runs the case and answers its notes.
    pub fn outcome(&self, kind: Kind) -> Vec<String> {
        let run = self.run;
        let log = Log {
            kind,
            notes: Vec::new(),
        };
        log.start(move |mut log| {
            run(&mut log);
            log.notes
        })
        .join()
    }
}

impl Log {
    /// A helper of the same kind, with a log of its own.
    fn start<T: Send + 'static>(&self, run: impl FnOnce(Log) -> T + Send + 'static) -> Helper<T> {
        let log = Log {
            kind: self.kind,
            notes: Vec::new(),
        };
        match self.kind {
            Kind::Thread => Helper::Thread(std::thread::spawn(move || run(log))),
            Kind::Goroutine => Helper::Goroutine(gaggle::go(move || run(log))),
        }
    }

    /// Starts a helper of the same kind.
    pub fn help<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> Helper<T> {
        self.start(move |_| run())
    }

    /// Notes a value.
    pub fn note(&mut self, what: &str, value: impl Debug) {
        self.notes.push(format!("{what}: {value:?}"));
    }

    /// Notes what a call of libc answered, and errno where it failed.
    pub fn answer(&mut self, what: &str, result: impl Into<i64>) -> i64 {
        let result = result.into();
        let note = answered(result);
        self.notes.push(format!("{what}: {note}"));
        result
    }

    /// Notes whether `elapsed` was at least, and not several times, what was asked for: the latter only
    /// against a wait that never took place or was another one altogether.
    pub fn took(&mut self, what: &str, begun: Instant, at_least: Duration) {
        self.note(what, begun.elapsed() >= at_least);
    }
}

/// A call's result in words.
pub fn answered(result: i64) -> String {
    if result == -1 {
        let error = io::Error::last_os_error();
        format!("-1 ({:?})", error.raw_os_error())
    } else {
        result.to_string()
    }
}

/// Lets a helper that was started come to where it blocks. Nothing tells that it is there, of a thread or
/// of a goroutine; a case whose outcome depends on it says less, but nothing wrong, if it is not.
pub fn let_it_block() {
    std::thread::sleep(Duration::from_millis(30));
}

/// A descriptor that is closed when dropped.
pub fn owned(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a call has just answered it, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `count` bytes that tell their place.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// A pipe, its reading end first.
pub fn pipe(flags: libc::c_int) -> (OwnedFd, OwnedFd) {
    let mut pair = [-1; 2];
    // SAFETY: room for two descriptors.
    let result = unsafe { libc::pipe2(pair.as_mut_ptr(), flags) };
    assert_eq!(result, 0);
    (owned(pair[0]), owned(pair[1]))
}

/// A pair of connected Unix sockets.
pub fn socket_pair(kind: libc::c_int) -> (OwnedFd, OwnedFd) {
    let mut pair = [-1; 2];
    // SAFETY: room for two descriptors.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) };
    assert_eq!(result, 0);
    (owned(pair[0]), owned(pair[1]))
}

/// `read` into a buffer of `room` bytes.
pub fn read(fd: RawFd, room: usize) -> (i64, Vec<u8>) {
    let mut buffer = vec![0; room];
    // SAFETY: the buffer has that room.
    let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), room) };
    buffer.truncate(result.max(0) as usize);
    (result as i64, buffer)
}

/// `write` of these bytes.
pub fn write(fd: RawFd, bytes: &[u8]) -> i64 {
    // SAFETY: the bytes are readable.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as i64 }
}

/// Reads until the end and answers the bytes.
pub fn read_all(fd: RawFd) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (result, bytes) = read(fd, 4096);
        if result <= 0 {
            return all;
        }
        all.extend(bytes);
    }
}

/// A sum that tells byte sequences apart (FNV-1a).
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
