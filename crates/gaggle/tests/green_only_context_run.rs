//! `Context::run` over std's and C's own waits, which only the green backend can end: what they answer,
//! and what becomes of the descriptor.

use gaggle::context::{Context, background};
use std::ffi::c_int;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Later than any test runs.
const LATE: Duration = Duration::from_secs(3600);

/// Whether there is something to show: an OS thread's waits are the kernel's, and no context ends them.
fn is_green() -> bool {
    gaggle::runtime::backend_name() == "green"
}

/// Runs `wait`, which never ends by itself, under a context that is cancelled meanwhile.
fn canceled<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let waiting = gaggle::go(move || {
        let (context, cancel) = background().with_cancel();
        let canceler = gaggle::go(move || {
            gaggle::yield_now();
            cancel.cancel();
        });
        let answer = context.run(wait);
        canceler.join().unwrap();
        answer
    });
    waiting.join().unwrap()
}

/// As [`canceled`], for what answers std's error.
fn is_canceled<T: std::fmt::Debug + Send + 'static>(
    wait: impl FnOnce() -> io::Result<T> + Send + 'static,
) {
    let error = canceled(wait).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn read_ends_and_the_connection_is_as_before() {
    if !is_green() {
        return;
    }
    let (client, mut server) = connected();
    let reader = client.try_clone().unwrap();
    is_canceled(move || (&reader).read(&mut [0; 8]));
    server.write_all(b"later").unwrap();
    let mut buffer = [0; 5];
    (&client).read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"later");
}

#[test]
fn read_exact_that_std_repeats_ends_too() {
    if !is_green() {
        return;
    }
    let (client, mut server) = connected();
    server.write_all(b"ab").unwrap();
    is_canceled(move || (&client).read_exact(&mut [0; 8]));
    drop(server);
}

#[test]
fn deadline_answers_timed_out() {
    if !is_green() {
        return;
    }
    let waiting = gaggle::go(|| {
        let (client, _server) = connected();
        let (context, _cancel) = background().with_timeout(Duration::from_millis(3));
        let error = context.run(|| (&client).read(&mut [0; 8])).unwrap_err();
        (error.kind(), error.raw_os_error())
    });
    let expected = (ErrorKind::TimedOut, Some(libc::ETIMEDOUT));
    assert_eq!(waiting.join().unwrap(), expected);
}

#[test]
fn data_that_is_there_is_read_under_an_ended_context() {
    if !is_green() {
        return;
    }
    let answer = gaggle::go(|| {
        let (client, mut server) = connected();
        server.write_all(b"x").unwrap();
        // Until it has arrived.
        client.peek(&mut [0; 1]).unwrap();
        let (context, cancel) = background().with_cancel();
        drop(cancel);
        context.run(|| (&client).read(&mut [0; 8]))
    });
    assert_eq!(answer.join().unwrap().unwrap(), 1);
}

#[test]
fn write_answers_what_it_has_sent_and_the_next_one_fails() {
    if !is_green() {
        return;
    }
    let (client, server) = connected();
    let client = Arc::new(client);
    let writer = Arc::clone(&client);
    let huge = vec![7; 64 << 20];
    let (sent, next) = canceled(move || {
        let sent = (&*writer).write(&huge).unwrap();
        (sent, (&*writer).write(&huge).unwrap_err())
    });
    assert!(sent > 0 && sent < 64 << 20, "{sent}");
    assert_eq!(next.raw_os_error(), Some(libc::ECANCELED));
    // All that was said to be sent arrives, and nothing else.
    drop(client);
    let received = gaggle::go(move || io::copy(&mut &server, &mut io::sink()));
    assert_eq!(received.join().unwrap().unwrap(), sent as u64);
}

#[test]
fn accept_and_datagrams_end() {
    if !is_green() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = listener.try_clone().unwrap();
    is_canceled(move || accepting.accept());
    let _client = TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    is_canceled(move || socket.recv_from(&mut [0; 8]));
    let (one, _other) = UnixDatagram::pair().unwrap();
    is_canceled(move || one.recv(&mut [0; 8]));
}

#[test]
fn connect_ends() {
    if !is_green() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: takes numbers only; it makes the queue of who is not accepted yet as short as can be.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let filler = TcpStream::connect(address).unwrap();
    is_canceled(move || {
        // Those that still find room are kept until one does not.
        let mut others = Vec::new();
        loop {
            others.push(TcpStream::connect(address)?);
        }
        #[allow(unreachable_code, reason = "it names the type that `?` answers")]
        Ok(())
    });
    drop(filler);
}

#[test]
fn pipes_end_in_both_directions() {
    if !is_green() {
        return;
    }
    let (reader, writer) = io::pipe().unwrap();
    let waiting = reader.try_clone().unwrap();
    is_canceled(move || (&waiting).read(&mut [0; 8]));
    let full = writer.try_clone().unwrap();
    is_canceled(move || {
        // A pipe has room for 64 KiB as a rule: the first write is a part, the second has none.
        let huge = vec![0; 1 << 20];
        (&full).write_all(&huge)
    });
    drop((reader, writer));
}

#[test]
fn sleeps_of_std_and_c_return_early() {
    if !is_green() {
        return;
    }
    let start = Instant::now();
    canceled(|| thread::sleep(LATE));
    canceled(|| thread::sleep(Duration::MAX));
    let wanted = libc::timespec {
        tv_sec: 3600,
        tv_nsec: 5,
    };
    let (result, errno, left) = canceled(move || {
        let mut left = wanted;
        // SAFETY: two times that live here.
        let result = unsafe { libc::nanosleep(&wanted, &mut left) };
        (result, io::Error::last_os_error().raw_os_error(), left)
    });
    assert_eq!((result, errno), (-1, Some(libc::EINTR)));
    // Else a caller that sleeps for the rest would begin again, for ever.
    assert_eq!((left.tv_sec, left.tv_nsec), (0, 0));
    let result = canceled(|| {
        let end = libc::timespec {
            tv_sec: i64::MAX / 2_000_000_000,
            tv_nsec: 0,
        };
        let null = std::ptr::null_mut();
        // SAFETY: one time that lives here.
        unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &end, null) }
    });
    assert_eq!(result, 0);
    // SAFETY: takes a number.
    assert_eq!(canceled(|| unsafe { libc::sleep(3600) }), 0);
    assert!(start.elapsed() < LATE);
}

#[test]
fn polls_of_c_end() {
    if !is_green() {
        return;
    }
    let (one, _other) = UnixStream::pair().unwrap();
    let fd = one.as_raw_fd();
    let errno = |result: c_int| {
        assert_eq!(result, -1);
        io::Error::last_os_error().raw_os_error()
    };
    let polled = canceled(move || {
        let mut entry = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry that lives here.
        errno(unsafe { libc::poll(&mut entry, 1, -1) })
    });
    assert_eq!(polled, Some(libc::ECANCELED));
    let selected = canceled(move || {
        // SAFETY: all zeros is an empty set.
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        // SAFETY: the set lives here and the number is small.
        unsafe { libc::FD_SET(fd, &mut set) };
        let null = std::ptr::null_mut();
        // SAFETY: a set that lives here.
        let result = unsafe { libc::select(fd + 1, &mut set, null, null, std::ptr::null_mut()) };
        errno(result)
    });
    assert_eq!(selected, Some(libc::ECANCELED));
    let waited = canceled(move || {
        // SAFETY: takes a number.
        let epoll = unsafe { libc::epoll_create1(0) };
        // SAFETY: just made, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        errno(unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, -1) })
    });
    assert_eq!(waited, Some(libc::ECANCELED));
}

#[test]
fn wait_for_a_child_ends_and_the_child_runs_on() {
    if !is_green() {
        return;
    }
    let mut child = Command::new("sleep").arg("3600").spawn().unwrap();
    let pid = child.id();
    is_canceled(move || {
        let result = child.wait();
        // It has not been waited for, so it can still be.
        assert!(child.try_wait().unwrap().is_none());
        result
    });
    // SAFETY: the child has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
    // SAFETY: null is no place for the status.
    let waited = unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
    assert_eq!(waited, pid as i32);
}

#[test]
fn foreign_joins_and_locks_wait_on() {
    if !is_green() {
        return;
    }
    let answer = gaggle::go(|| {
        let (context, cancel) = background().with_cancel();
        let mutex = Arc::new(std::sync::Mutex::new(0));
        let held = mutex.lock().unwrap();
        let other = Arc::clone(&mutex);
        let waiting = gaggle::go(move || context.run(|| *other.lock().unwrap()));
        gaggle::yield_now();
        cancel.cancel();
        gaggle::yield_now();
        let mut held = held;
        *held = 7;
        drop(held);
        waiting.join().unwrap()
    });
    assert_eq!(answer.join().unwrap(), 7);
    // A thread of the operating system, joined under an ended context.
    let joined = gaggle::go(|| {
        let ended: Context = {
            let (context, _cancel) = background().with_cancel();
            context
        };
        ended.run(|| {
            let other = thread::spawn(|| {
                thread::sleep(Duration::from_millis(3));
                7
            });
            other.join().unwrap()
        })
    });
    assert_eq!(joined.join().unwrap(), 7);
}

#[test]
fn ends_racing_data_lose_none() {
    if !is_green() {
        return;
    }
    const COUNT: u32 = 2_000;
    let (one, other) = UnixStream::pair().unwrap();
    let sending = gaggle::go(move || {
        for value in 0..COUNT {
            (&one).write_all(&[value as u8]).unwrap();
            gaggle::yield_now();
        }
    });
    let received = gaggle::go(move || {
        let mut expected = 0;
        while expected < COUNT {
            let (context, cancel) = background().with_cancel();
            let canceler = gaggle::go(move || cancel.cancel());
            let mut byte = [0];
            match context.run(|| (&other).read(&mut byte)) {
                Ok(1) => {
                    assert_eq!(byte[0], expected as u8);
                    expected += 1;
                }
                Ok(end) => panic!("the stream has ended: {end}"),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
            canceler.join().unwrap();
        }
    });
    received.join().unwrap();
    sending.join().unwrap();
}

#[test]
fn many_that_accept_from_one_listener_all_end() {
    if !is_green() {
        return;
    }
    const ACCEPTING: usize = 8;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let (context, cancel) = background().with_cancel();
    let (sender, accepted) = gaggle::chan::bounded(100);
    let accepting: Vec<_> = (0..ACCEPTING)
        .map(|_| {
            let (listener, context) = (Arc::clone(&listener), context.clone());
            let sender = sender.clone();
            gaggle::go(move || {
                context.run(|| {
                    loop {
                        match listener.accept() {
                            Ok(connection) => drop(sender.send(connection.1)),
                            Err(error) => return error.raw_os_error(),
                        }
                    }
                })
            })
        })
        .collect();
    // Each connection wakes all of them, and one gets it: the others must not wait in the kernel.
    for _ in 0..50 {
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(accepted.recv(), Ok(client.local_addr().unwrap()));
    }
    cancel.cancel();
    for accepting in accepting {
        assert_eq!(accepting.join().unwrap(), Some(libc::ECANCELED));
    }
}

#[test]
fn connections_that_come_together_are_all_accepted() {
    if !is_green() {
        return;
    }
    const COUNT: usize = 40;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    // They wait in the listener's queue, so there is one edge for all of them, or few.
    let clients: Vec<_> = (0..COUNT)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let accepting: Vec<_> = (0..COUNT)
        .map(|_| {
            let listener = Arc::clone(&listener);
            gaggle::go(move || listener.accept().unwrap().1)
        })
        .collect();
    let mut found: Vec<_> = accepting
        .into_iter()
        .map(|accepting| accepting.join().unwrap())
        .collect();
    let mut expected: Vec<_> = clients
        .iter()
        .map(|client| client.local_addr().unwrap())
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
