//! Sockets.

use crate::table::{
    Case, Log, digest, let_it_block, owned, pattern, read, read_all, socket_pair, write,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "recv waits, and MSG_DONTWAIT does not",
        run: receive_waits,
    },
    Case {
        name: "MSG_PEEK leaves the bytes",
        run: peek,
    },
    Case {
        name: "MSG_WAITALL waits for all",
        run: wait_for_all,
    },
    Case {
        name: "MSG_WAITALL ends with the stream",
        run: wait_for_all_ends,
    },
    Case {
        name: "a nonblocking socket answers EAGAIN",
        run: nonblocking,
    },
    Case {
        name: "SO_RCVTIMEO ends a read",
        run: receive_timeout,
    },
    Case {
        name: "SO_SNDTIMEO ends a send after a part",
        run: send_timeout,
    },
    Case {
        name: "a large send waits until all is taken",
        run: large_send,
    },
    Case {
        name: "sendmsg and recvmsg with vectors",
        run: messages,
    },
    Case {
        name: "datagrams keep their borders",
        run: datagrams,
    },
    Case {
        name: "a datagram that is too long is cut",
        run: truncated,
    },
    Case {
        name: "sequenced packets",
        run: packets,
    },
    Case {
        name: "recvmmsg and sendmmsg",
        run: many_messages,
    },
    Case {
        name: "recvmmsg with a time",
        run: many_with_time,
    },
    Case {
        name: "shutdown by another ends a read",
        run: shutdown_read,
    },
    Case {
        name: "shutdown by another ends an accept",
        run: shutdown_accept,
    },
    Case {
        name: "the peer's reset",
        run: reset,
    },
    Case {
        name: "sending to a closed peer is EPIPE",
        run: closed_peer,
    },
    Case {
        name: "accept4 sets what its flags say",
        run: accept_flags,
    },
    Case {
        name: "accept with SO_RCVTIMEO",
        run: accept_timeout,
    },
    Case {
        name: "connect is refused where nobody listens",
        run: refused,
    },
    Case {
        name: "connect without waiting",
        run: connect_nonblocking,
    },
    Case {
        name: "connect twice, and to nothing",
        run: connect_twice,
    },
    Case {
        name: "connect waits for room in a Unix backlog",
        run: full_backlog,
    },
    Case {
        name: "sendfile to a socket",
        run: send_file,
    },
    Case {
        name: "descriptors in messages",
        run: passed_descriptor,
    },
    Case {
        name: "recv and send on what is no socket",
        run: no_socket,
    },
];

fn receive(fd: RawFd, room: usize, flags: libc::c_int) -> (i64, Vec<u8>) {
    let mut buffer = vec![0; room];
    // SAFETY: the buffer has that room.
    let result = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), room, flags) };
    buffer.truncate(result.max(0) as usize);
    (result as i64, buffer)
}

fn send(fd: RawFd, bytes: &[u8], flags: libc::c_int) -> i64 {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: readable bytes.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) as i64 }
}

fn receive_waits(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let (result, _) = receive(one.as_raw_fd(), 10, libc::MSG_DONTWAIT);
    log.answer("nothing there", result);
    let helper = log.help(move || {
        let_it_block();
        send(other.as_raw_fd(), b"words", 0)
    });
    log.note("received", receive(one.as_raw_fd(), 10, 0));
    log.note("sent", helper.join());
    log.note("end", receive(one.as_raw_fd(), 10, 0));
}

fn peek(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let helper = log.help(move || {
        let_it_block();
        send(other.as_raw_fd(), b"look", 0);
        other
    });
    log.note("peeked", receive(one.as_raw_fd(), 2, libc::MSG_PEEK));
    log.note("received", receive(one.as_raw_fd(), 10, 0));
    drop(helper.join());
}

fn wait_for_all(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let helper = log.help(move || {
        for part in [&b"in "[..], b"three ", b"parts"] {
            let_it_block();
            send(other.as_raw_fd(), part, 0);
        }
        other
    });
    log.note("received", receive(one.as_raw_fd(), 14, libc::MSG_WAITALL));
    drop(helper.join());
}

fn wait_for_all_ends(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let helper = log.help(move || {
        let_it_block();
        send(other.as_raw_fd(), b"short", 0)
    });
    log.note("received", receive(one.as_raw_fd(), 14, libc::MSG_WAITALL));
    log.note(
        "received after",
        receive(one.as_raw_fd(), 14, libc::MSG_WAITALL),
    );
    log.note("sent", helper.join());
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    send(other.as_raw_fd(), b"some", 0);
    let flags = libc::MSG_WAITALL | libc::MSG_DONTWAIT;
    log.note("but not to wait", receive(one.as_raw_fd(), 14, flags));
    set_timeout(one.as_raw_fd(), libc::SO_RCVTIMEO, 20);
    send(other.as_raw_fd(), b"more", 0);
    log.note(
        "for a time",
        receive(one.as_raw_fd(), 14, libc::MSG_WAITALL),
    );
}

fn nonblocking(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let (result, _) = read(one.as_raw_fd(), 10);
    log.answer("read", result);
    let (result, _) = receive(one.as_raw_fd(), 10, 0);
    log.answer("recv", result);
    loop {
        let result = send(other.as_raw_fd(), &pattern(100_000), 0);
        if result < 0 {
            log.answer("full", result);
            break;
        }
    }
}

fn set_timeout(fd: RawFd, option: libc::c_int, milliseconds: i64) {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: milliseconds * 1000,
    };
    let length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the kernel reads the time.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw const time).cast(),
            length,
        )
    };
    assert_eq!(result, 0);
}

fn receive_timeout(log: &mut Log) {
    let (one, _other) = socket_pair(libc::SOCK_STREAM);
    set_timeout(one.as_raw_fd(), libc::SO_RCVTIMEO, 20);
    let begun = Instant::now();
    let (result, _) = read(one.as_raw_fd(), 10);
    log.answer("read", result);
    log.took("it waited", begun, Duration::from_millis(19));
    let (result, _) = receive(one.as_raw_fd(), 10, 0);
    log.answer("recv", result);
}

fn send_timeout(log: &mut Log) {
    let (one, _other) = socket_pair(libc::SOCK_STREAM);
    set_timeout(one.as_raw_fd(), libc::SO_SNDTIMEO, 20);
    let bytes = pattern(4_000_000);
    let begun = Instant::now();
    let sent = send(one.as_raw_fd(), &bytes, 0);
    log.note("a part was sent", sent > 0 && sent < 4_000_000);
    log.took("it waited", begun, Duration::from_millis(19));
    let result = send(one.as_raw_fd(), &bytes, 0);
    log.answer("nothing more", result);
}

fn large_send(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let bytes = pattern(3_000_000);
    log.note("sent", digest(&bytes));
    let helper = log.help(move || {
        let sent = send(one.as_raw_fd(), &bytes, 0);
        let written = write(one.as_raw_fd(), &bytes);
        (sent, written)
    });
    log.note("received", digest(&read_all(other.as_raw_fd())));
    log.note("by one call each", helper.join());
}

fn vector(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn header(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: zeros are a header of nothing.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vectors.as_mut_ptr();
    header.msg_iovlen = vectors.len();
    header
}

fn messages(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let mut large = pattern(1_500_000);
    let mut tail = *b"tail";
    log.note("sent", digest(&large));
    let helper = log.help(move || {
        let mut vectors = [vector(&mut large), vector(&mut tail)];
        // SAFETY: readable vectors.
        let sent = unsafe { libc::sendmsg(one.as_raw_fd(), &header(&mut vectors), 0) };
        drop(one);
        sent
    });
    let mut first = [0; 10];
    let mut second = [0; 6];
    let mut vectors = [vector(&mut first), vector(&mut second)];
    let mut received = header(&mut vectors);
    // SAFETY: writable vectors.
    let result = unsafe { libc::recvmsg(other.as_raw_fd(), &mut received, libc::MSG_WAITALL) };
    log.answer("recvmsg", result as i64);
    log.note("bytes", (first, second));
    log.note("flags", received.msg_flags);
    log.note("rest", digest(&read_all(other.as_raw_fd())));
    log.note("by one call", helper.join());
}

fn udp() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let other = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound");
    one.connect(address).expect("an address");
    (one, other)
}

fn datagrams(log: &mut Log) {
    let (one, other) = udp();
    let helper = log.help(move || {
        let_it_block();
        for message in [&b"one"[..], b"", b"three"] {
            one.send(message).expect("it is read");
        }
    });
    let mut buffer = [0; 100];
    for _ in 0..3 {
        let (length, _) = other.recv_from(&mut buffer).expect("it is sent");
        log.note("received", &buffer[..length]);
    }
    helper.join();
}

fn truncated(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_DGRAM);
    send(one.as_raw_fd(), b"a long message", 0);
    log.note("cut", receive(other.as_raw_fd(), 6, 0));
    send(one.as_raw_fd(), b"a long message", 0);
    log.note(
        "its length",
        receive(other.as_raw_fd(), 6, libc::MSG_TRUNC).0,
    );
    send(one.as_raw_fd(), b"waits for all?", 0);
    log.note("no", receive(other.as_raw_fd(), 60, libc::MSG_WAITALL));
}

fn packets(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_SEQPACKET);
    let helper = log.help(move || {
        let_it_block();
        (
            write(one.as_raw_fd(), b"first"),
            write(one.as_raw_fd(), b"second"),
        )
    });
    log.note("read", read(other.as_raw_fd(), 100));
    log.note("read", read(other.as_raw_fd(), 100));
    log.note("written", helper.join());
    log.note("end", read(other.as_raw_fd(), 100));
}

/// Receives up to `count` messages.
fn receive_many(
    fd: RawFd,
    count: usize,
    flags: libc::c_int,
    time: Option<Duration>,
) -> (i64, Vec<Vec<u8>>) {
    let mut buffers = vec![[0u8; 16]; count];
    let mut vectors: Vec<_> = buffers.iter_mut().map(|buffer| [vector(buffer)]).collect();
    let mut headers: Vec<_> = vectors
        .iter_mut()
        .map(|vectors| libc::mmsghdr {
            msg_hdr: header(vectors),
            msg_len: 0,
        })
        .collect();
    let mut time = time.map(|time| libc::timespec {
        tv_sec: 0,
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time
        .as_mut()
        .map_or(std::ptr::null_mut(), |time| &raw mut *time);
    // SAFETY: as many headers with a vector each.
    let result = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count as u32, flags, time) };
    let received = headers.iter().zip(&buffers).take(result.max(0) as usize);
    let bytes = received.map(|(header, buffer)| buffer[..header.msg_len as usize].to_vec());
    (result.into(), bytes.collect())
}

fn many_messages(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_DGRAM);
    let helper = log.help(move || {
        let_it_block();
        let mut bytes = [*b"first ", *b"second", *b"third "];
        let mut vectors: Vec<_> = bytes.iter_mut().map(|bytes| [vector(bytes)]).collect();
        let mut headers: Vec<_> = vectors
            .iter_mut()
            .map(|vectors| libc::mmsghdr {
                msg_hdr: header(vectors),
                msg_len: 0,
            })
            .collect();
        // SAFETY: three headers.
        let sent = unsafe { libc::sendmmsg(one.as_raw_fd(), headers.as_mut_ptr(), 3, 0) };
        let lengths: Vec<_> = headers.iter().map(|header| header.msg_len).collect();
        send(one.as_raw_fd(), b"fourth", 0);
        (sent, lengths, one)
    });
    log.note("all of four", receive_many(other.as_raw_fd(), 4, 0, None));
    let (sent, lengths, one) = helper.join();
    log.note("sent", (sent, lengths));
    send(one.as_raw_fd(), b"alone", 0);
    let result = receive_many(other.as_raw_fd(), 4, libc::MSG_WAITFORONE, None);
    log.note("one is enough", result);
    let (result, _) = receive_many(other.as_raw_fd(), 4, libc::MSG_DONTWAIT, None);
    log.answer("none", result);
    let (result, _) = receive_many(other.as_raw_fd(), 0, 0, None);
    log.answer("of none", result);
}

fn many_with_time(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_DGRAM);
    send(one.as_raw_fd(), b"before", 0);
    let helper = log.help(move || {
        std::thread::sleep(Duration::from_millis(60));
        send(one.as_raw_fd(), b"after", 0);
        one
    });
    // The time is looked at when a message has come, so the late one is received, too.
    let time = Some(Duration::from_millis(10));
    log.note("received", receive_many(other.as_raw_fd(), 4, 0, time));
    drop(helper.join());
}

fn shutdown_read(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    let one = std::sync::Arc::new(one);
    let same = one.clone();
    let helper = log.help(move || read(same.as_raw_fd(), 10));
    let_it_block();
    // SAFETY: takes numbers only.
    log.answer("shutdown", unsafe {
        libc::shutdown(one.as_raw_fd(), libc::SHUT_RD)
    });
    log.note("read", helper.join());
    drop(other);
}

fn shutdown_accept(log: &mut Log) {
    let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let same = listener.clone();
    let helper = log.help(move || {
        same.accept()
            .map(|_| ())
            .map_err(|error| error.raw_os_error())
    });
    let_it_block();
    // SAFETY: takes numbers only.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    log.answer("shutdown", result);
    log.note("accept", helper.join());
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let one = TcpStream::connect(address).expect("it listens");
    (one, listener.accept().expect("it connected").0)
}

fn reset(log: &mut Log) {
    let (mut one, other) = tcp();
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the kernel reads the structure.
    unsafe {
        libc::setsockopt(
            other.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    let helper = log.help(move || {
        let_it_block();
        drop(other);
    });
    log.note("read", one.read(&mut [0; 4]).map_err(|error| error.kind()));
    log.note(
        "read again",
        one.read(&mut [0; 4]).map_err(|error| error.kind()),
    );
    helper.join();
}

fn closed_peer(log: &mut Log) {
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    drop(other);
    let result = send(one.as_raw_fd(), b"x", 0);
    log.answer("send", result);
    log.note("read", read(one.as_raw_fd(), 4));
}

fn accept_flags(log: &mut Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let helper = log.help(move || {
        let_it_block();
        TcpStream::connect(address).expect("it listens")
    });
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let null = std::ptr::null_mut();
    // SAFETY: no address is asked for.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), null, null.cast(), flags) };
    let fd = owned(fd);
    // SAFETY: takes numbers only.
    let status = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    log.note("nonblocking", status & libc::O_NONBLOCK != 0);
    // SAFETY: as above.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    log.note("closed on exec", flags & libc::FD_CLOEXEC != 0);
    let (result, _) = read(fd.as_raw_fd(), 1);
    log.answer("read", result);
    drop(helper.join());
    // SAFETY: refused by its flags.
    let result = unsafe { libc::accept4(listener.as_raw_fd(), null, null.cast(), 1) };
    log.answer("unknown flags", result);
}

fn accept_timeout(log: &mut Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    set_timeout(listener.as_raw_fd(), libc::SO_RCVTIMEO, 20);
    log.note(
        "accept",
        listener
            .accept()
            .map(|_| ())
            .map_err(|error| error.raw_os_error()),
    );
    listener.set_nonblocking(true).expect("a socket");
    log.note(
        "at once",
        listener
            .accept()
            .map(|_| ())
            .map_err(|error| error.raw_os_error()),
    );
}

fn refused(log: &mut Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let outcome = TcpStream::connect(address).map(|_| ());
    log.note("connect", outcome.map_err(|error| error.raw_os_error()));
}

/// `connect` of a socket to a local TCP port.
fn connect(fd: RawFd, port: u16) -> libc::c_int {
    // SAFETY: zeros are an address of nothing.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: an address of that length.
    unsafe { libc::connect(fd, (&raw const address).cast(), length) }
}

fn tcp_socket(flags: libc::c_int) -> std::os::fd::OwnedFd {
    // SAFETY: takes numbers only.
    owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | flags, 0) })
}

fn connect_nonblocking(log: &mut Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = tcp_socket(libc::SOCK_NONBLOCK);
    let result = connect(socket.as_raw_fd(), port);
    log.answer("begun", result);
    let mut entry = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry.
    log.answer("poll", unsafe { libc::poll(&mut entry, 1, -1) });
    log.note("events", entry.revents);
    // SAFETY: takes numbers only. It waits from now on.
    unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, 0) };
    let result = connect(socket.as_raw_fd(), port);
    log.answer("ended", result);
    let result = connect(socket.as_raw_fd(), port);
    log.answer("again", result);
}

fn connect_twice(log: &mut Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = tcp_socket(0);
    let result = connect(socket.as_raw_fd(), port);
    log.answer("connect", result);
    let result = connect(socket.as_raw_fd(), port);
    log.answer("again", result);
    drop(listener);
    let socket = tcp_socket(0);
    let result = connect(socket.as_raw_fd(), port);
    log.answer("refused", result);
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    let result = connect(socket.as_raw_fd(), port);
    log.answer("and then taken", result);
    drop(listener);
}

fn full_backlog(log: &mut Log) {
    // SAFETY: zeros are an address of nothing.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // SAFETY: takes numbers only.
    let new = || owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) });
    let listener = new();
    let family = size_of::<libc::sa_family_t>() as libc::socklen_t;
    // SAFETY: a family alone asks the kernel for a name of its own.
    let bound = unsafe { libc::bind(listener.as_raw_fd(), (&raw const address).cast(), family) };
    log.answer("bind", bound);
    let mut length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: room for an address of that length.
    unsafe { libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &mut length) };
    // SAFETY: takes numbers only.
    log.answer("listen", unsafe { libc::listen(listener.as_raw_fd(), 0) });
    let connect = move |fd: RawFd| {
        // SAFETY: an address of that length.
        unsafe { libc::connect(fd, (&raw const address).cast(), length) }
    };
    let first = new();
    log.answer("connect", connect(first.as_raw_fd()));
    let helper = log.help(move || {
        let second = new();
        let result = connect(second.as_raw_fd());
        (result, second)
    });
    let_it_block();
    let null = std::ptr::null_mut();
    // SAFETY: no address is asked for.
    let accept = || owned(unsafe { libc::accept(listener.as_raw_fd(), null, null.cast()) });
    drop(accept());
    drop(accept());
    log.note("waited for room", helper.join().0);
}

fn send_file(log: &mut Log) {
    let bytes = pattern(700_000);
    let path = std::env::temp_dir().join(format!("gaggle-sendfile-{}", std::process::id()));
    std::fs::write(&path, &bytes).expect("there is room");
    let file = std::fs::File::open(&path).expect("just written");
    std::fs::remove_file(&path).expect("just written");
    let (one, other) = socket_pair(libc::SOCK_STREAM);
    log.note("sent", digest(&bytes));
    let helper = log.help(move || {
        let null = std::ptr::null_mut();
        // SAFETY: no offset: the file's own position.
        unsafe { libc::sendfile(one.as_raw_fd(), file.as_raw_fd(), null, 700_000) as i64 }
    });
    log.note("received", digest(&read_all(other.as_raw_fd())));
    log.note("by one call", helper.join());
}

fn passed_descriptor(log: &mut Log) {
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    let (reader, writer) = crate::table::pipe(0);
    #[repr(C, align(8))]
    struct Control([u8; 24]);
    // SAFETY: takes a number.
    let space = unsafe { libc::CMSG_SPACE(4) } as usize;
    let mut control = Control([0; 24]);
    let mut byte = [1u8];
    let mut vectors = [vector(&mut byte)];
    let mut sent = header(&mut vectors);
    sent.msg_control = control.0.as_mut_ptr().cast();
    sent.msg_controllen = space;
    // SAFETY: the header has room for one control message of an int.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(&sent);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(first)
            .cast::<libc::c_int>()
            .write(writer.as_raw_fd());
    }
    // SAFETY: made above.
    let result = unsafe { libc::sendmsg(one.as_raw_fd(), &sent, 0) };
    log.answer("sendmsg", result as i64);
    drop(writer);
    let mut control = Control([0; 24]);
    let mut vectors = [vector(&mut byte)];
    let mut received = header(&mut vectors);
    received.msg_control = control.0.as_mut_ptr().cast();
    received.msg_controllen = space;
    // SAFETY: room for the same.
    let result = unsafe { libc::recvmsg(other.as_raw_fd(), &mut received, 0) };
    log.answer("recvmsg", result as i64);
    // SAFETY: the kernel wrote one control message.
    let passed = owned(unsafe {
        let first = libc::CMSG_FIRSTHDR(&received);
        libc::CMSG_DATA(first).cast::<libc::c_int>().read()
    });
    let helper = log.help(move || write(passed.as_raw_fd(), b"by the passed one"));
    log.note("read", read(reader.as_raw_fd(), 100));
    log.note("written", helper.join());
    log.note("end", read(reader.as_raw_fd(), 100));
}

fn no_socket(log: &mut Log) {
    let (reader, writer) = crate::table::pipe(0);
    let (result, _) = receive(reader.as_raw_fd(), 4, 0);
    log.answer("recv", result);
    let result = send(writer.as_raw_fd(), b"x", 0);
    log.answer("send", result);
    let result = connect(writer.as_raw_fd(), 1);
    log.answer("connect", result);
    let (mut one, mut other) = tcp();
    one.write_all(b"std").expect("it is read");
    let mut three = [0; 3];
    other.read_exact(&mut three).expect("it is written");
    log.note("std's own", three);
}
