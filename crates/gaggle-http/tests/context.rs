//! A request's context: it ends when the client goes away, at its time-out, and when it has been answered.

mod common;

use bytes::Bytes;
use common::Running;
use gaggle::context::{Context, ContextError};
use gaggle_http::{Peer, Server};
use http::Response;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

#[test]
fn client_that_goes_away_ends_what_its_request_waits_for() {
    let (ended, has_ended) = mpsc::channel();
    let (entered, is_in) = mpsc::channel();
    let server = Running::handler(Server::builder(), move |context, _| {
        entered.send(()).expect("the test waits");
        let _ = context.done().recv();
        ended
            .send((
                context.err(),
                context.cause().map(|cause| cause.to_string()),
            ))
            .expect("the test waits");
        Response::new(Bytes::new())
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    is_in.recv().expect("the request arrives");
    drop(client);
    let (error, cause) = has_ended.recv().expect("the context ends");
    assert_eq!(error, Some(ContextError::Canceled));
    assert_eq!(cause.as_deref(), Some("the client has gone"));
    server.stop();
}

/// Only green can end a read of std's that waits.
#[test]
fn a_read_downstream_ends_with_the_client() {
    if gaggle::runtime::backend_name() != "green" {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("a bound address");
    let (ended, has_ended) = mpsc::channel();
    let server = Running::handler(Server::builder(), move |context, _| {
        let mut downstream = std::net::TcpStream::connect(address).expect("it listens");
        let outcome = context.run(|| downstream.read(&mut [0]));
        ended.send(outcome.is_err()).expect("the test waits");
        Response::new(Bytes::new())
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let (_downstream, _) = silent.accept().expect("the handler has connected");
    drop(client);
    assert!(has_ended.recv().expect("the read ends"));
    server.stop();
}

#[test]
fn bytes_of_the_next_request_are_no_hangup() {
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = Running::handler(Server::builder(), move |context, request| {
        if request.uri().path() == "/slow" {
            entered.send(()).expect("the test waits");
            released
                .lock()
                .expect("one at a time")
                .recv()
                .expect("the test releases");
        }
        Response::new(Bytes::from(format!("{:?}", context.err())))
    });
    let mut client = server.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    is_in.recv().expect("the request arrives");
    client.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n");
    release.send(()).expect("the handler waits");
    assert_eq!(client.answer().body, "None");
    assert_eq!(client.answer().body, "None");
    server.stop();
}

#[test]
fn request_that_takes_too_long_has_its_context_ended() {
    let builder = Server::builder().request_timeout(Duration::from_millis(50));
    let server = Running::handler(builder, |context, _| {
        let _ = context.done().recv();
        let text = context.err().map(|error| error.to_string());
        Response::new(text.unwrap_or_default().into())
    });
    let mut client = server.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/").body, "context deadline exceeded");
    }
    server.stop();
}

#[test]
fn context_ends_when_the_response_has_been_sent() {
    let (contexts, kept) = mpsc::channel::<Context>();
    let server = Running::handler(Server::builder(), move |context, _| {
        assert!(context.err().is_none());
        contexts.send(context.clone()).expect("the test waits");
        Response::new(Bytes::new())
    });
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
        let context = kept.recv().expect("the handler ran");
        assert!(context.done().recv().is_err());
        assert_eq!(context.err(), Some(ContextError::Canceled));
    }
    server.stop();
}

#[test]
fn context_says_who_the_client_is() {
    let server = Running::handler(Server::builder(), |context, _| {
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    });
    let mut client = server.connect();
    assert!(client.get("/").body.starts_with("Tcp(127.0.0.1:"));
    server.stop();
}

#[test]
fn service_finds_its_context_in_the_extensions() {
    let (entered, is_in) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let context = request.extensions().get::<Context>().cloned();
        let (entered, ended) = (entered.clone(), ended.clone());
        async move {
            let context = context.expect("every request has one");
            entered.send(()).expect("the test waits");
            let _ = context.done().recv();
            ended.send(()).expect("the test waits");
            Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
        }
    });
    let server = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, service)
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    is_in.recv().expect("the request arrives");
    drop(client);
    has_ended.recv().expect("the context ends");
    server.stop();
}

#[test]
fn handler_may_end_its_own_waits_and_still_answer() {
    let server = Running::handler(Server::builder(), |context, _| {
        let (context, _cancel) = context.with_timeout(Duration::from_millis(20));
        let (_sender, never) = gaggle::chan::unbuffered::<()>();
        let waited = context.run(|| never.recv());
        Response::new(format!("{}", waited.is_err()).into())
    });
    let mut client = server.connect();
    assert_eq!(client.get("/").body, "true");
    server.stop();
}
