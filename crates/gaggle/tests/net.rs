//! Readiness of sockets: who hung up, futures that wait, and calls that are made again.
#![cfg(unix)]

use gaggle::net::{Readiness, on_hangup, until_readable, until_writable};
use gaggle::{chan, context};
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let client = TcpStream::connect(address).expect("it listens");
    let (server, _) = listener.accept().expect("somebody has connected");
    (client, server)
}

/// Runs a case on a goroutine.
fn on_goroutine(case: impl FnOnce() + Send + 'static) {
    gaggle::go(case).join().expect("the case passes");
}

#[test]
fn peer_that_goes_away_is_noticed_and_what_it_sent_stays() {
    on_goroutine(|| {
        let (mut client, mut server) = pair();
        let (gone, is_gone) = chan::bounded(1);
        let watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
        client.write_all(b"last words").expect("there is room");
        drop(client);
        is_gone.recv().expect("it is told");
        drop(watch);
        let mut text = String::new();
        server.read_to_string(&mut text).expect("all came");
        assert_eq!(text, "last words");
    });
}

#[test]
fn peer_that_will_write_no_more_is_noticed() {
    on_goroutine(|| {
        let (client, server) = pair();
        let (gone, is_gone) = chan::bounded(1);
        let _watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
        client.shutdown(Shutdown::Write).expect("it is open");
        is_gone.recv().expect("it is told");
    });
}

#[test]
fn peer_that_had_gone_before_is_noticed() {
    on_goroutine(|| {
        for read_before in [false, true] {
            let (client, mut server) = pair();
            drop(client);
            if read_before {
                assert_eq!(server.read(&mut [0]).expect("the end"), 0);
            }
            let (gone, is_gone) = chan::bounded(1);
            let _watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
            is_gone.recv().expect("it is told");
        }
    });
}

#[test]
fn bytes_alone_are_no_hangup_and_one_called_off_does_not_run() {
    on_goroutine(|| {
        let (mut client, mut server) = pair();
        let (gone, is_gone) = chan::bounded::<()>(1);
        let watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
        for _ in 0..100 {
            client.write_all(b"x").expect("there is room");
            server.read_exact(&mut [0]).expect("it comes");
        }
        assert_eq!(is_gone.try_recv(), Err(chan::TryRecvError::Empty));
        drop(watch);
        // What the function held is gone with it, and nothing was sent.
        assert!(is_gone.recv().is_err());
        drop(client);
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    });
}

#[test]
fn closing_the_socket_here_calls_nothing() {
    on_goroutine(|| {
        let (client, server) = pair();
        let (gone, is_gone) = chan::bounded::<()>(1);
        let watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
        drop(watch);
        drop(server);
        assert!(is_gone.recv().is_err());
        // The number is given to another socket, whose watch is another.
        let (other_client, other) = pair();
        let (gone, is_gone) = chan::bounded(1);
        let _watch = on_hangup(&other, move || gone.send(()).expect("awaited"));
        drop(client);
        drop(other_client);
        is_gone.recv().expect("it is told");
    });
}

#[test]
fn hangup_is_noticed_while_the_goroutine_is_busy_elsewhere() {
    on_goroutine(|| {
        let (client, server) = pair();
        let (context, cancel) = gaggle::context::background().with_cancel();
        let _watch = on_hangup(&server, move || cancel.cancel());
        let (_keep, never) = chan::unbuffered::<()>();
        drop(client);
        assert!(context.run(|| never.recv()).is_err());
    });
}

#[test]
fn two_hundred_that_leave_at_once_are_all_noticed() {
    on_goroutine(|| {
        let (gone, is_gone) = chan::bounded(200);
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        for number in 0..200 {
            let (client, server) = pair();
            let gone = gone.clone();
            let watch = on_hangup(&server, move || gone.send(number).expect("awaited"));
            clients.push(client);
            servers.push((watch, server));
        }
        drop((clients, gone));
        let mut seen: Vec<i32> = (0..200)
            .map(|_| is_gone.recv().expect("each is told"))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    });
}

#[test]
fn hangup_works_from_an_os_thread() {
    let (client, server) = pair();
    let (gone, is_gone) = std::sync::mpsc::channel();
    let _watch = on_hangup(&server, move || gone.send(()).expect("awaited"));
    drop(client);
    is_gone.recv().expect("it is told");
}

#[test]
fn regular_file_cannot_be_watched() {
    on_goroutine(|| {
        let file = tempfile::tempfile().expect("a file");
        assert!(on_hangup(&file, || ()).is_err());
    });
}

/// Tries `operation` until it need not wait.
fn poll_io<T>(
    socket: &mut Readiness<UnixStream>,
    context: &mut Context<'_>,
    writes: bool,
    mut operation: impl FnMut(&UnixStream) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match operation(socket.get_ref()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return Poll::Ready(other),
        }
        let ready = if writes {
            socket.poll_writable(context)
        } else {
            socket.poll_readable(context)
        };
        match ready {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[test]
fn futures_pass_a_megabyte_through_a_socket_that_does_not_block() {
    on_goroutine(|| {
        const BYTES: usize = 1 << 20;
        let (here, there) = UnixStream::pair().expect("two sockets");
        for socket in [&here, &there] {
            socket.set_nonblocking(true).expect("it can be set");
        }
        let writer = gaggle::go(move || {
            let mut socket = Readiness::new(here);
            let mut sent = 0;
            while sent < BYTES {
                let bytes = [7; 8192];
                sent += gaggle::block_on(poll_fn(|context| {
                    poll_io(&mut socket, context, true, |mut stream| {
                        stream.write(&bytes)
                    })
                }))
                .expect("the reader is there");
            }
        });
        let mut socket = Readiness::new(there);
        let mut received = 0;
        loop {
            let mut bytes = [0; 5000];
            let count = gaggle::block_on(poll_fn(|context| {
                poll_io(&mut socket, context, false, |mut stream| {
                    stream.read(&mut bytes)
                })
            }))
            .expect("the writer is there");
            if count == 0 {
                break;
            }
            assert!(bytes[..count].iter().all(|&byte| byte == 7));
            received += count;
        }
        writer.join().expect("it has written all");
        assert!(received >= BYTES);
    });
}

#[test]
fn echo_between_two_futures_takes_turns() {
    on_goroutine(|| {
        let (here, there) = UnixStream::pair().expect("two sockets");
        let side = |stream: UnixStream, begins: bool| {
            stream.set_nonblocking(true).expect("it can be set");
            gaggle::go(move || {
                let mut socket = Readiness::new(stream);
                let mut byte = [0];
                for round in 0..1000_u32 {
                    let writes = (round % 2 == 0) == begins;
                    let done = gaggle::block_on(poll_fn(|context| {
                        poll_io(&mut socket, context, writes, |mut stream| {
                            if writes {
                                stream.write(&[1])
                            } else {
                                stream.read(&mut byte)
                            }
                        })
                    }));
                    assert_eq!(done.expect("the other is there"), 1);
                }
                socket
            })
        };
        let first = side(here, true);
        let second = side(there, false);
        // Kept: an end that leaves early would end the other's last read.
        let _sockets = (
            first.join().expect("it passes"),
            second.join().expect("it passes"),
        );
    });
}

/// A socket that sends and receives without waiting.
fn at_once(socket: UnixStream) -> UnixStream {
    socket.set_nonblocking(true).expect("a socket");
    socket
}

/// Runs a case on a goroutine, and on an OS thread.
fn both_ways(case: impl FnOnce() + Clone + Send + 'static) {
    on_goroutine(case.clone());
    case();
}

#[test]
fn who_calls_without_waiting_is_parked_until_there_is_something() {
    both_ways(|| {
        let (mut here, there) = UnixStream::pair().expect("descriptors enough");
        let there = at_once(there);
        let writer = gaggle::go(move || {
            for byte in 0..100 {
                here.write_all(&[byte]).expect("room");
                gaggle::yield_now();
            }
        });
        let (mut seen, mut tries) = (Vec::new(), 0);
        loop {
            let mut bytes = [0; 7];
            let count = until_readable(&there, None, || {
                tries += 1;
                (&there).read(&mut bytes)
            });
            match count.expect("it comes") {
                0 => break,
                count => seen.extend_from_slice(&bytes[..count]),
            }
        }
        assert!(seen.into_iter().eq(0..100));
        // It is not asked again and again while there is nothing: once for each edge.
        assert!(tries <= 2 * 102, "{tries} tries");
        writer.join().expect("the writer writes");
    });
}

#[test]
fn who_calls_without_waiting_is_parked_until_there_is_room() {
    both_ways(|| {
        const LENGTH: usize = 1 << 20;
        let (here, mut there) = UnixStream::pair().expect("descriptors enough");
        let reader = gaggle::go(move || {
            let mut bytes = Vec::new();
            there.read_to_end(&mut bytes).expect("all comes");
            bytes.len()
        });
        let here = at_once(here);
        let mut left = LENGTH;
        while left > 0 {
            let bytes = vec![1; left];
            left -= until_writable(&here, None, || (&here).write(&bytes)).expect("room at last");
        }
        drop(here);
        assert_eq!(reader.join().expect("the reader reads"), LENGTH);
    });
}

#[test]
fn waiting_to_call_again_ends_at_its_time_and_a_call_that_fails_is_not_repeated() {
    both_ways(|| {
        let (mut here, there) = UnixStream::pair().expect("descriptors enough");
        let there = at_once(there);
        let time = Duration::from_millis(20);
        let begin = Instant::now();
        // What comes meanwhile is not what is waited for, and gives no more time.
        let writer = gaggle::go(move || {
            for _ in 0..3 {
                here.write_all(b"x").expect("room");
                gaggle::time::sleep(Duration::from_millis(1));
            }
            here
        });
        let never = || Err::<(), _>(ErrorKind::WouldBlock.into());
        let late = until_readable(&there, Some(time), || {
            let _ = (&there).read(&mut [0; 8]);
            never()
        });
        assert_eq!(
            late.expect_err("nothing else comes").kind(),
            ErrorKind::TimedOut
        );
        assert!(begin.elapsed() >= time);
        let at_once = until_readable(&there, Some(Duration::ZERO), never);
        assert_eq!(at_once.expect_err("no time").kind(), ErrorKind::TimedOut);
        let mut calls = 0;
        let failed = until_readable(&there, None, || {
            calls += 1;
            Err::<(), _>(ErrorKind::InvalidData.into())
        });
        assert_eq!(failed.expect_err("as told").kind(), ErrorKind::InvalidData);
        assert_eq!(calls, 1);
        drop(writer.join().expect("the writer writes"));
    });
}

#[test]
fn waiting_to_call_again_meets_the_end_and_what_cannot_be_polled() {
    both_ways(|| {
        let (here, there) = UnixStream::pair().expect("descriptors enough");
        let there = at_once(there);
        let closer = gaggle::go(move || drop(here));
        let count = until_readable(&there, None, || (&there).read(&mut [0; 8]));
        assert_eq!(count.expect("the end"), 0);
        closer.join().expect("it closes");
    });
    // A file is always ready; on a goroutine, where readiness is asked of epoll, it cannot be waited for.
    on_goroutine(|| {
        let file = tempfile::tempfile().expect("a file");
        let mut calls = 0;
        let outcome = until_readable(&file, None, || {
            calls += 1;
            match calls {
                1 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        assert_eq!(
            outcome.is_ok(),
            gaggle::runtime::backend_name() == "threads"
        );
    });
}

#[test]
fn context_ends_the_wait_to_call_again() {
    if gaggle::runtime::backend_name() == "threads" {
        // `Context::run` is of goroutines alone.
        return;
    }
    on_goroutine(|| {
        let (_here, there) = UnixStream::pair().expect("descriptors enough");
        let there = at_once(there);
        let (context, _cancel) = context::background().with_timeout(Duration::from_millis(5));
        let ended = context.run(|| until_readable(&there, None, || (&there).read(&mut [0; 8])));
        assert_eq!(ended.expect_err("it ends").kind(), ErrorKind::TimedOut);
    });
}
