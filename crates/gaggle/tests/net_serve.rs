//! `net::serve`: so many at most, an orderly end, and what errors and panics make of it.
#![cfg(unix)]

use gaggle::chan;
use gaggle::context::{self, Cancel, Context};
use gaggle::net::serve;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server that runs.
struct Served {
    address: SocketAddr,
    stop: Cancel,
    server: gaggle::JoinHandle<io::Result<()>>,
}

impl Served {
    fn start(
        limit: usize,
        handler: impl Fn(&Context, TcpStream) + Send + Sync + 'static,
    ) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (context, stop) = context::background().with_cancel();
        let server = gaggle::go(move || serve(listener, limit, &context, handler));
        Served {
            address,
            stop,
            server,
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    fn stop(self) -> io::Result<()> {
        self.stop.cancel();
        self.server.join().expect("no panic")
    }
}

fn echo(_: &Context, mut stream: TcpStream) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
}

fn ask(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
    stream.write_all(&[byte])?;
    let mut answer = [0];
    stream.read_exact(&mut answer).map(|()| answer[0])
}

#[gaggle::test]
fn each_connection_has_a_goroutine_of_its_own() {
    let served = Served::start(1000, echo);
    let mut clients: Vec<_> = (0..200).map(|_| served.connect()).collect();
    // All are open, and the last is answered first.
    for (number, client) in clients.iter_mut().enumerate().rev() {
        let answer = ask(client, number as u8).expect("an answer");
        assert_eq!(answer, number as u8);
    }
    drop(clients);
    served.stop().expect("it ends in order");
}

#[gaggle::test]
fn no_more_are_served_at_a_time_than_the_limit_allows() {
    const LIMIT: usize = 3;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let served = Served::start(LIMIT, {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |context, stream| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gaggle::yield_now();
            echo(context, stream);
            now.fetch_sub(1, Ordering::SeqCst);
        }
    });
    gaggle::scope(|scope| {
        for number in 0..60 {
            let served = &served;
            scope.go(move || {
                let answer = ask(&mut served.connect(), number).expect("an answer");
                assert_eq!(answer, number);
            });
        }
    });
    let mut held: Vec<_> = (0..LIMIT).map(|_| served.connect()).collect();
    for client in &mut held {
        ask(client, 1).expect("an answer");
    }
    // One more is kept waiting until one of those has gone.
    let mut waiting = served.connect();
    waiting.write_all(b"w").expect("the kernel takes it");
    let short = Some(Duration::from_millis(30));
    waiting.set_read_timeout(short).expect("it can be set");
    let early = waiting.read(&mut [0]).expect_err("nobody reads it yet");
    assert!(
        matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{early}"
    );
    waiting.set_read_timeout(None).expect("it can be set");
    drop(held.pop());
    let mut answer = [0];
    waiting.read_exact(&mut answer).expect("it is its turn");
    assert_eq!(&answer, b"w");
    drop((held, waiting));
    served.stop().expect("it ends in order");
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
}

#[gaggle::test]
fn what_is_in_flight_finishes_and_nobody_else_is_accepted() {
    let (entered, is_in) = chan::bounded(10);
    let (release, released) = chan::unbuffered::<()>();
    let served = Served::start(10, move |context, mut stream| {
        entered.send(()).expect("the test waits");
        released.recv().expect("the test releases");
        assert!(context.err().is_some(), "the end has been called");
        stream.write_all(b"done").expect("the client is there");
    });
    let address = served.address;
    let client = served.connect();
    is_in.recv().expect("it is served");
    served.stop.cancel();
    // Closed while that one still runs: at once or a moment later.
    while TcpStream::connect(address).is_ok() {
        gaggle::yield_now();
    }
    assert!(!served.server.is_finished(), "one is in flight");
    release.send(()).expect("it waits");
    assert_eq!(io::read_to_string(client).expect("an answer"), "done");
    served.server.join().expect("no panic").expect("in order");
}

#[gaggle::test]
fn a_handler_that_waits_under_the_context_is_stopped_with_it() {
    let served = Served::start(10, |context, mut stream| {
        let (_keep, never) = chan::unbuffered::<()>();
        stream.write_all(b"!").expect("the client is there");
        assert!(context.run(|| never.recv()).is_err());
    });
    let mut client = served.connect();
    client.read_exact(&mut [0]).expect("it is served");
    served.stop().expect("it ends in order");
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
}

#[gaggle::test]
fn a_context_that_ends_while_all_places_are_taken_ends_it() {
    let served = Served::start(1, echo);
    let mut client = served.connect();
    ask(&mut client, 1).expect("an answer");
    served.stop.cancel();
    drop(client);
    served.stop().expect("it ends in order");
}

#[gaggle::test]
fn a_context_that_had_ended_before_serves_nobody() {
    let (context, stop) = context::background().with_cancel();
    stop.cancel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let waiting = TcpStream::connect(address).expect("it listens");
    serve(listener, 1, &context, |_, _| panic!("nobody is served")).expect("in order");
    assert!(TcpStream::connect(address).is_err());
    drop(waiting);
}

#[gaggle::test]
fn a_deadline_ends_it() {
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(20));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    serve(listener, 1, &context, echo).expect("it ends in order");
    assert!(context.err().is_some());
}

#[gaggle::test]
fn a_handler_that_panics_frees_its_place_and_ends_its_connection() {
    let served = Served::start(1, |context, mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        assert_ne!(byte[0], 0, "as the test wants it");
        stream.write_all(&byte).expect("the client is there");
        echo(context, stream);
    });
    for round in 0..20 {
        let mut client = served.connect();
        let answer = ask(&mut client, round % 2);
        assert_eq!(answer.is_ok(), round % 2 == 1, "{answer:?}");
    }
    served.stop().expect("it ends in order");
}

#[gaggle::test]
fn unix_sockets_are_served_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a free name");
    let (context, stop) = context::background().with_cancel();
    let server = gaggle::go(move || {
        serve(listener, 5, &context, |_, mut stream: UnixStream| {
            stream.write_all(b"hello").expect("the client is there");
        })
    });
    for _ in 0..20 {
        let client = UnixStream::connect(&path).expect("it listens");
        assert_eq!(io::read_to_string(client).expect("text"), "hello");
    }
    stop.cancel();
    server.join().expect("no panic").expect("it ends in order");
}

#[gaggle::test]
fn a_listener_that_fails_for_good_is_an_error_once_all_have_ended() {
    // A connection is none that listens.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    let fake = TcpListener::from(std::os::fd::OwnedFd::from(client));
    let error = serve(fake, 1, &context::background(), echo).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}
