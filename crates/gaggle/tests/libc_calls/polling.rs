//! `poll`, `select` and `epoll_wait`.

use crate::table::{
    Case, Log, answered, let_it_block, owned, pattern, pipe, read, socket_pair, write,
};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "poll waits, for a time or not at all",
        run: poll_times,
    },
    Case {
        name: "poll is woken by what it waits for",
        run: poll_woken,
    },
    Case {
        name: "poll tells hang-ups, errors and wrong numbers",
        run: poll_ends,
    },
    Case {
        name: "poll for writing alone",
        run: poll_writing,
    },
    Case {
        name: "ppoll with times",
        run: ppoll_times,
    },
    Case {
        name: "select with sets and times",
        run: select_times,
    },
    Case {
        name: "select is woken by what it waits for",
        run: select_woken,
    },
    Case {
        name: "select refuses what is wrong",
        run: select_wrong,
    },
    Case {
        name: "select with many descriptors",
        run: select_many,
    },
    Case {
        name: "pselect with times",
        run: pselect_times,
    },
    Case {
        name: "urgent data is exceptional",
        run: urgent,
    },
    Case {
        name: "epoll_wait waits, for a time or not at all",
        run: epoll_times,
    },
    Case {
        name: "epoll_wait level- and edge-triggered",
        run: epoll_triggers,
    },
    Case {
        name: "epoll tells hang-ups",
        run: epoll_hangup,
    },
    Case {
        name: "epoll_pwait and epoll_pwait2",
        run: epoll_variants,
    },
    Case {
        name: "polling through a regular file",
        run: poll_file,
    },
];

fn poll(entries: &mut [(RawFd, i16)], milliseconds: i32) -> (String, Vec<i16>) {
    let mut list: Vec<_> = entries
        .iter()
        .map(|(fd, events)| libc::pollfd {
            fd: *fd,
            events: *events,
            revents: 0x7f,
        })
        .collect();
    let count = list.len() as libc::nfds_t;
    // SAFETY: as many entries.
    let result = unsafe { libc::poll(list.as_mut_ptr(), count, milliseconds) };
    let answer = answered(result.into());
    (answer, list.iter().map(|entry| entry.revents).collect())
}

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;

fn poll_times(log: &mut Log) {
    let (reader, _writer) = pipe(0);
    let mut entries = [(reader.as_raw_fd(), IN), (-1, IN)];
    log.note("not at all", poll(&mut entries, 0));
    let begun = Instant::now();
    log.note("for a time", poll(&mut entries, 20));
    log.took("it waited", begun, Duration::from_millis(20));
    let begun = Instant::now();
    log.note("for nothing", poll(&mut [], 20));
    log.took("it waited", begun, Duration::from_millis(20));
}

fn poll_woken(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let helper = log.help(move || {
        let_it_block();
        write(writer.as_raw_fd(), b"x");
        (writer, other)
    });
    let mut entries = [
        (one.as_raw_fd(), IN | libc::POLLRDHUP),
        (reader.as_raw_fd(), IN | libc::POLLRDNORM),
    ];
    log.note("for ever", poll(&mut entries, -1));
    let (_, other) = helper.join();
    read(reader.as_raw_fd(), 10);
    let helper = log.help(move || {
        let_it_block();
        // SAFETY: takes numbers only.
        let result = unsafe { libc::shutdown(other.as_raw_fd(), libc::SHUT_WR) };
        (result, other)
    });
    let mut entries = [(one.as_raw_fd(), libc::POLLRDHUP)];
    log.note("the peer's end", poll(&mut entries, 60_000));
    log.note("shutdown", helper.join().0);
}

fn poll_ends(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let helper = log.help(move || {
        let_it_block();
        drop(writer);
    });
    log.note(
        "the writer's end",
        poll(&mut [(reader.as_raw_fd(), IN)], -1),
    );
    helper.join();
    let (reader, writer) = pipe(0);
    drop(reader);
    log.note(
        "the reader's end",
        poll(&mut [(writer.as_raw_fd(), OUT)], -1),
    );
    log.note(
        "asked for nothing",
        poll(&mut [(writer.as_raw_fd(), 0)], -1),
    );
    let mut entries = [(999_999, IN), (writer.as_raw_fd(), IN)];
    log.note("a wrong number", poll(&mut entries, -1));
}

fn poll_writing(log: &mut Log) {
    let (reader, writer) = pipe(libc::O_NONBLOCK);
    // SAFETY: takes numbers only.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    write(writer.as_raw_fd(), &pattern(4096));
    log.note("full", poll(&mut [(writer.as_raw_fd(), OUT)], 10));
    let helper = log.help(move || {
        let_it_block();
        read(reader.as_raw_fd(), 4096);
        reader
    });
    let mut entries = [(writer.as_raw_fd(), libc::POLLWRNORM)];
    log.note("room", poll(&mut entries, 60_000));
    drop(helper.join());
}

fn ppoll_times(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let mut entry = libc::pollfd {
        fd: reader.as_raw_fd(),
        events: IN,
        revents: 0,
    };
    let mut ppoll = |seconds, nanos| {
        let time = libc::timespec {
            tv_sec: seconds,
            tv_nsec: nanos,
        };
        // SAFETY: one entry and a readable time.
        let result = unsafe { libc::ppoll(&mut entry, 1, &time, std::ptr::null()) };
        (answered(result.into()), time.tv_nsec)
    };
    let begun = Instant::now();
    log.note("for a time", ppoll(0, 20_000_000));
    log.took("it waited", begun, Duration::from_millis(20));
    log.note("a wrong time", ppoll(0, 1_000_000_000));
    log.note("a negative time", ppoll(-1, 0));
    log.note("not at all", ppoll(0, 0));
    write(writer.as_raw_fd(), b"x");
    log.note("ready", ppoll(60, 0));
}

/// Three sets made of lists of descriptors.
struct Sets([libc::fd_set; 3]);

impl Sets {
    fn new(lists: [&[RawFd]; 3]) -> Sets {
        Sets(lists.map(|list| {
            let mut set = std::mem::MaybeUninit::<libc::fd_set>::zeroed();
            for fd in list {
                // SAFETY: a set of zeros, and numbers below FD_SETSIZE.
                unsafe { libc::FD_SET(*fd, set.as_mut_ptr()) };
            }
            // SAFETY: zeros are an empty set.
            unsafe { set.assume_init() }
        }))
    }

    /// For each of the sets, whether it holds each of these.
    fn holds(&self, list: &[RawFd]) -> Vec<[bool; 3]> {
        // SAFETY: sets, and numbers below FD_SETSIZE.
        let holds = |fd: RawFd| {
            self.0
                .each_ref()
                // SAFETY: as above.
                .map(|set| unsafe { libc::FD_ISSET(fd, set) })
        };
        list.iter().map(|fd| holds(*fd)).collect()
    }

    fn select(&mut self, count: i32, time: Option<&mut libc::timeval>) -> String {
        let [read, write, except] = &mut self.0;
        let time = time.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: three sets and a time, or none.
        answered(unsafe { libc::select(count, read, write, except, time) }.into())
    }
}

fn select_times(log: &mut Log) {
    let (reader, _writer) = pipe(0);
    let fd = reader.as_raw_fd();
    let begun = Instant::now();
    let mut sets = Sets::new([&[fd], &[], &[fd]]);
    let mut time = libc::timeval {
        tv_sec: 0,
        tv_usec: 20_000,
    };
    log.note("for a time", sets.select(fd + 1, Some(&mut time)));
    log.took("it waited", begun, Duration::from_millis(20));
    log.note("left", (time.tv_sec, time.tv_usec));
    log.note("sets", sets.holds(&[fd]));
    let mut none = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let mut sets = Sets::new([&[fd], &[], &[]]);
    log.note("not at all", sets.select(fd + 1, Some(&mut none)));
    log.note("sets", sets.holds(&[fd]));
    let mut time = libc::timeval {
        tv_sec: 0,
        tv_usec: 20_000,
    };
    let null = std::ptr::null_mut();
    let begun = Instant::now();
    // SAFETY: no sets.
    log.answer("a sleep", unsafe {
        libc::select(0, null, null, null, &mut time)
    });
    log.took("it waited", begun, Duration::from_millis(20));
}

fn select_woken(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let (first, second) = (reader.as_raw_fd(), one.as_raw_fd());
    let helper = log.help(move || {
        let_it_block();
        write(other.as_raw_fd(), b"x");
        (writer, other)
    });
    let count = first.max(second) + 1;
    let mut sets = Sets::new([&[first, second], &[], &[first]]);
    log.note("for ever", sets.select(count, None));
    log.note("sets", sets.holds(&[first, second]));
    let mut time = libc::timeval {
        tv_sec: 60,
        tv_usec: 0,
    };
    let mut sets = Sets::new([&[first, second], &[second], &[]]);
    log.note("both ways", sets.select(count, Some(&mut time)));
    log.note("sets", sets.holds(&[first, second]));
    log.note("time is left", time.tv_sec > 0);
    drop(helper.join());
}

fn select_wrong(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let fd = reader.as_raw_fd();
    let mut wrong = libc::timeval {
        tv_sec: -1,
        tv_usec: 0,
    };
    let mut sets = Sets::new([&[fd], &[], &[]]);
    log.note("a negative time", sets.select(fd + 1, Some(&mut wrong)));
    log.note("a negative count", sets.select(-1, None));
    drop(reader);
    let mut sets = Sets::new([&[fd], &[], &[]]);
    // Another thread of the test's process may have taken the number: none does.
    log.note("a closed one", sets.select(fd + 1, None));
    log.note("sets", sets.holds(&[fd]));
    drop(writer);
}

fn select_many(log: &mut Log) {
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..40).map(|_| pipe(0)).collect();
    let readers: Vec<_> = pipes.iter().map(|(reader, _)| reader.as_raw_fd()).collect();
    let writers: Vec<_> = pipes.iter().map(|(_, writer)| writer.as_raw_fd()).collect();
    let count = readers.iter().chain(&writers).max().expect("forty") + 1;
    let ready = writers[23];
    let helper = log.help(move || {
        let_it_block();
        write(ready, b"x")
    });
    let mut sets = Sets::new([&readers, &[], &readers]);
    log.note("one is ready", sets.select(count, None));
    let holds = sets.holds(&readers);
    log.note("which", holds.iter().position(|sets| sets[0]));
    log.note("written", helper.join());
    let mut sets = Sets::new([&readers, &writers, &[]]);
    log.note("all can be written", sets.select(count, None));
}

fn pselect_times(log: &mut Log) {
    let (reader, _writer) = pipe(0);
    let fd = reader.as_raw_fd();
    let pselect = |nanos| {
        let Sets([mut read, _, _]) = Sets::new([&[fd], &[], &[]]);
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: nanos,
        };
        let null = std::ptr::null_mut();
        // SAFETY: a set and a time.
        let result =
            unsafe { libc::pselect(fd + 1, &mut read, null, null, &time, std::ptr::null()) };
        (answered(result.into()), time.tv_nsec)
    };
    let begun = Instant::now();
    log.note("for a time", pselect(20_000_000));
    log.took("it waited", begun, Duration::from_millis(20));
    log.note("not at all", pselect(0));
    log.note("a wrong time", pselect(-1));
}

fn urgent(log: &mut Log) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let one = std::net::TcpStream::connect(address).expect("it listens");
    let (other, _) = listener.accept().expect("it connected");
    let helper = log.help(move || {
        let_it_block();
        // SAFETY: one readable byte.
        let sent = unsafe { libc::send(one.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        (sent, one)
    });
    let fd = other.as_raw_fd();
    log.note("poll", poll(&mut [(fd, libc::POLLPRI)], 60_000));
    let mut sets = Sets::new([&[], &[], &[fd]]);
    log.note("select", sets.select(fd + 1, None));
    log.note("sent", helper.join().0);
}

fn epoll() -> OwnedFd {
    // SAFETY: takes flags only.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn add(epoll: &OwnedFd, fd: RawFd, events: i32, data: u64) -> i32 {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: data,
    };
    // SAFETY: one readable event.
    unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }
}

fn wait(epoll: &OwnedFd, milliseconds: i32) -> (String, Vec<(u32, u64)>) {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    // SAFETY: room for eight events.
    let result =
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 8, milliseconds) };
    let answer = answered(result.into());
    let told = events.iter().take(result.max(0) as usize);
    (
        answer,
        told.map(|event| (event.events, event.u64)).collect(),
    )
}

fn epoll_times(log: &mut Log) {
    let epoll = epoll();
    let (reader, _writer) = pipe(0);
    log.answer("add", add(&epoll, reader.as_raw_fd(), libc::EPOLLIN, 1));
    log.note("not at all", wait(&epoll, 0));
    let begun = Instant::now();
    log.note("for a time", wait(&epoll, 20));
    log.took("it waited", begun, Duration::from_millis(20));
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: refused by its count.
    let result = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 0, -1) };
    log.answer("room for none", result);
    // SAFETY: no epoll descriptor.
    let result = unsafe { libc::epoll_wait(reader.as_raw_fd(), &mut event, 1, -1) };
    log.answer("no epoll", result);
}

fn epoll_triggers(log: &mut Log) {
    let epoll = epoll();
    let (reader, writer) = pipe(0);
    let (second, second_writer) = pipe(0);
    add(&epoll, reader.as_raw_fd(), libc::EPOLLIN, 1);
    add(&epoll, second.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, 2);
    let helper = log.help(move || {
        let_it_block();
        write(writer.as_raw_fd(), b"x");
        writer
    });
    log.note("for ever", wait(&epoll, -1));
    log.note("still there", wait(&epoll, -1));
    let writer = helper.join();
    read(reader.as_raw_fd(), 10);
    write(second_writer.as_raw_fd(), b"y");
    log.note("an edge", wait(&epoll, -1));
    log.note("told once", wait(&epoll, 10));
    drop(writer);
}

fn epoll_hangup(log: &mut Log) {
    let epoll = epoll();
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    add(&epoll, one.as_raw_fd(), libc::EPOLLIN | libc::EPOLLRDHUP, 1);
    let helper = log.help(move || {
        let_it_block();
        drop(other);
    });
    log.note("the peer's end", wait(&epoll, -1));
    helper.join();
    let (reader, writer) = pipe(0);
    add(&epoll, writer.as_raw_fd(), 0, 2);
    drop(reader);
    drop(one);
    log.note("the reader's end", wait(&epoll, -1));
}

fn epoll_variants(log: &mut Log) {
    let epoll = epoll();
    let (reader, writer) = pipe(0);
    add(&epoll, reader.as_raw_fd(), libc::EPOLLIN, 1);
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    let fd = epoll.as_raw_fd();
    let begun = Instant::now();
    // SAFETY: room for an event.
    let result = unsafe { libc::epoll_pwait(fd, &mut event, 1, 20, std::ptr::null()) };
    log.answer("epoll_pwait", result);
    log.took("it waited", begun, Duration::from_millis(20));
    let mut pwait2 = |nanos| {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: nanos,
        };
        // SAFETY: room for an event, and a readable time.
        let result =
            unsafe { libc::syscall(libc::SYS_epoll_pwait2, fd, &mut event, 1, &time, 0, 8) };
        answered(result)
    };
    let begun = Instant::now();
    log.note("epoll_pwait2", pwait2(20_000_000));
    log.took("it waited", begun, Duration::from_millis(20));
    log.note("a wrong time", pwait2(2_000_000_000));
    write(writer.as_raw_fd(), b"x");
    log.note("ready", pwait2(900_000_000));
}

fn poll_file(log: &mut Log) {
    let file = std::fs::File::open("/proc/self/exe").expect("the test's own binary");
    let (reader, writer) = pipe(0);
    let mut entries = [(file.as_raw_fd(), IN | OUT)];
    log.note("always ready", poll(&mut entries, -1));
    let epoll = epoll();
    log.answer(
        "not for epoll",
        add(&epoll, file.as_raw_fd(), libc::EPOLLIN, 1),
    );
    // A mix of what can be watched and what cannot.
    let mut entries = [(file.as_raw_fd(), 0), (reader.as_raw_fd(), IN)];
    log.note("for a time", poll(&mut entries, 10));
    // The writer stays open: its end would be told as well, as soon as it comes.
    let to = writer.as_raw_fd();
    let helper = log.help(move || {
        let_it_block();
        write(to, b"x")
    });
    log.note("for ever", poll(&mut entries, -1));
    log.note("written", helper.join());
}
