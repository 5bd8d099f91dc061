//! Joining threads, and calls by their numbers.

use crate::table::{Case, Log, answered, let_it_block, pipe, read, socket_pair, write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn pthread_timedjoin_np(
        thread: libc::pthread_t,
        value: *mut *mut libc::c_void,
        time: *const libc::timespec,
    ) -> libc::c_int;
    fn pthread_tryjoin_np(thread: libc::pthread_t, value: *mut *mut libc::c_void) -> libc::c_int;
}

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "a thread is joined",
        run: joined,
    },
    Case {
        name: "a thread is joined in time, or not",
        run: timed_join,
    },
    Case {
        name: "many threads of std are joined",
        run: many_joined,
    },
    Case {
        name: "calls by number",
        run: by_number,
    },
    Case {
        name: "a futex by number",
        run: futex,
    },
    Case {
        name: "a futex requeued",
        run: requeue,
    },
    Case {
        name: "a futex woken with a change",
        run: wake_op,
    },
    Case {
        name: "getaddrinfo",
        run: names,
    },
];

extern "C" fn sleeps(argument: *mut libc::c_void) -> *mut libc::c_void {
    std::thread::sleep(Duration::from_millis(argument as u64));
    (argument as usize + 1) as *mut libc::c_void
}

fn start(milliseconds: usize) -> libc::pthread_t {
    let mut thread = 0;
    let argument = milliseconds as *mut libc::c_void;
    // SAFETY: a function that any thread may run.
    let result = unsafe { libc::pthread_create(&mut thread, std::ptr::null(), sleeps, argument) };
    assert_eq!(result, 0);
    thread
}

fn joined(log: &mut Log) {
    for milliseconds in [0, 30] {
        let thread = start(milliseconds);
        if milliseconds == 0 {
            let_it_block();
        }
        let mut value = std::ptr::null_mut();
        // SAFETY: a thread that nobody joined.
        log.note("join", unsafe { libc::pthread_join(thread, &mut value) });
        log.note("value", value as usize);
    }
    // SAFETY: refused: EDEADLK, or EINVAL where it is detached, as a goroutine of the threads backend is.
    let itself = unsafe { libc::pthread_join(libc::pthread_self(), std::ptr::null_mut()) };
    log.note("itself is refused", itself != 0);
}

fn timed_join(log: &mut Log) {
    let thread = start(100);
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a writable time.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    let mut value = std::ptr::null_mut();
    // SAFETY: a thread that nobody joined, and readable times.
    unsafe {
        log.note("not yet", pthread_tryjoin_np(thread, &mut value));
        log.note("too late", pthread_timedjoin_np(thread, &mut value, &now));
        let soon = libc::timespec {
            tv_sec: now.tv_sec + 60,
            ..now
        };
        log.note("in time", pthread_timedjoin_np(thread, &mut value, &soon));
    }
    log.note("value", value as usize);
}

fn many_joined(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let reader = Arc::new(reader);
    let threads: Vec<_> = (0..20u8)
        .map(|_| {
            let reader = reader.clone();
            std::thread::spawn(move || read(reader.as_raw_fd(), 1).1)
        })
        .collect();
    let helpers: Vec<_> = threads
        .into_iter()
        .map(|thread| log.help(move || thread.join().expect("it does not panic")))
        .collect();
    for number in 0..20u8 {
        write(writer.as_raw_fd(), &[number]);
    }
    let mut values: Vec<_> = helpers
        .into_iter()
        .flat_map(|helper| helper.join())
        .collect();
    values.sort();
    log.note("values", values);
}

fn by_number(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let helper = log.help(move || {
        let_it_block();
        // SAFETY: readable bytes.
        let result =
            unsafe { libc::syscall(libc::SYS_write, writer.as_raw_fd(), b"numbered".as_ptr(), 8) };
        (result, writer)
    });
    let mut buffer = [0u8; 20];
    // SAFETY: room for as many bytes.
    let result =
        unsafe { libc::syscall(libc::SYS_read, reader.as_raw_fd(), buffer.as_mut_ptr(), 20) };
    log.answer("read", result);
    log.note("bytes", &buffer[..8]);
    log.note("write", helper.join().0);
    let (one, other) = socket_pair(libc::SOCK_DGRAM);
    let helper = log.help(move || {
        let_it_block();
        let (fd, bytes) = (one.as_raw_fd(), b"datagram".as_ptr());
        // SAFETY: readable bytes, no address.
        unsafe { libc::syscall(libc::SYS_sendto, fd, bytes, 8, 0, 0, 0) }
    });
    let (fd, place) = (other.as_raw_fd(), buffer.as_mut_ptr());
    // SAFETY: room for as many bytes, no address.
    let result = unsafe { libc::syscall(libc::SYS_recvfrom, fd, place, 20, 0, 0, 0) };
    log.answer("recvfrom", result);
    log.note("sendto", helper.join());
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    let begun = Instant::now();
    // SAFETY: a readable time.
    log.answer("nanosleep", unsafe {
        libc::syscall(libc::SYS_nanosleep, &time, 0)
    });
    log.took("it waited", begun, Duration::from_millis(20));
    // SAFETY: refused by its clock.
    let result = unsafe { libc::syscall(libc::SYS_clock_nanosleep, 77, 0, &time, 0) };
    log.answer("a wrong clock", result);
    // SAFETY: there is no such call.
    log.answer("no such call", unsafe { libc::syscall(100_000) });
    // SAFETY: refused by its descriptor.
    log.answer("close", unsafe { libc::syscall(libc::SYS_close, 999_999) });
}

const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;

fn futex_call(
    word: &AtomicU32,
    operation: i32,
    value: u32,
    time: usize,
    second: usize,
    third: u32,
) -> String {
    // SAFETY: an aligned word that lives; the other arguments as the operation wants them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            value,
            time,
            second,
            third,
        )
    };
    answered(result)
}

fn futex(log: &mut Log) {
    for private in [PRIVATE, 0] {
        let word = Arc::new(AtomicU32::new(1));
        let (wait, wake) = (libc::FUTEX_WAIT | private, libc::FUTEX_WAKE | private);
        log.note("another value", futex_call(&word, wait, 2, 0, 0, 0));
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let begun = Instant::now();
        let address = &raw const time as usize;
        log.note("for a time", futex_call(&word, wait, 1, address, 0, 0));
        log.took("it waited", begun, Duration::from_millis(20));
        let wrong = libc::timespec {
            tv_sec: 0,
            tv_nsec: -1,
        };
        let address = &raw const wrong as usize;
        log.note("a wrong time", futex_call(&word, wait, 1, address, 0, 0));
        log.note("nobody", futex_call(&word, wake, 1, 0, 0, 0));
        let same = word.clone();
        let helper = log.help(move || {
            while same.load(Ordering::SeqCst) == 1 {
                futex_call(&same, wait, 1, 0, 0, 0);
            }
        });
        let_it_block();
        word.store(2, Ordering::SeqCst);
        futex_call(&word, wake, 1, 0, 0, 0);
        helper.join();
        let bits = libc::FUTEX_WAIT_BITSET | private;
        log.note("no bits", futex_call(&word, bits, 2, 0, 0, 0));
    }
}

/// Starts helpers that wait until `word` is not 0; each then counts.
fn waiters(
    log: &Log,
    word: &Arc<[AtomicU32; 2]>,
    count: usize,
) -> Vec<crate::table::Helper<String>> {
    (0..count)
        .map(|_| {
            let word = word.clone();
            log.help(move || futex_call(&word[0], libc::FUTEX_WAIT | PRIVATE, 0, 0, 0, 0))
        })
        .collect()
}

fn requeue(log: &mut Log) {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let helpers = waiters(log, &words, 5);
    let second = words[1].as_ptr() as usize;
    let operation = libc::FUTEX_CMP_REQUEUE | PRIVATE;
    log.note(
        "another value",
        futex_call(&words[0], operation, 1, 1, second, 7),
    );
    let mut reached = 0u32;
    // All five, as they come: one woken, four moved, at most.
    while reached < 5 {
        let answer = futex_call(&words[0], operation, 0, 5, second, 0);
        reached += answer.parse::<u32>().expect("a count");
        std::thread::yield_now();
    }
    log.note("moved", reached);
    log.note(
        "none is left",
        futex_call(&words[0], libc::FUTEX_WAKE | PRIVATE, 9, 0, 0, 0),
    );
    log.note(
        "woken",
        futex_call(&words[1], libc::FUTEX_WAKE | PRIVATE, 9, 0, 0, 0),
    );
    let answers: Vec<_> = helpers.into_iter().map(|helper| helper.join()).collect();
    log.note("answers", answers);
}

fn wake_op(log: &mut Log) {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(5)]);
    let helpers = waiters(log, &words, 2);
    let_it_block();
    let second = words[1].as_ptr() as usize;
    // Add 3; compare the old value for being greater than 4.
    let encoded = 1 << 28 | 4 << 24 | 3 << 12 | 4;
    let operation = libc::FUTEX_WAKE_OP | PRIVATE;
    let mut woken = 0u32;
    while woken < 2 {
        let answer = futex_call(&words[0], operation, 2, 9, second, encoded);
        woken += answer.parse::<u32>().expect("a count");
        words[1].fetch_min(8, Ordering::SeqCst);
        std::thread::yield_now();
    }
    log.note("changed", words[1].load(Ordering::SeqCst));
    let answers: Vec<_> = helpers.into_iter().map(|helper| helper.join()).collect();
    log.note("answers", answers);
}

fn names(log: &mut Log) {
    use std::net::ToSocketAddrs;
    let found = ("127.0.0.1", 80)
        .to_socket_addrs()
        .map(Iterator::collect::<Vec<_>>);
    log.note("a number", found.ok());
    let found = ("localhost", 80).to_socket_addrs();
    log.note(
        "a name",
        found
            .map(|mut all| all.all(|one| one.ip().is_loopback()))
            .ok(),
    );
    let found = ("no-such-name.invalid", 80).to_socket_addrs();
    log.note("no name", found.is_err());
}
