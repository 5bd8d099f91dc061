//! HTTP/2, with hyper's own client on tokio as the other side: a peer that knows nothing of goroutines.

mod common;

use bytes::Bytes;
use common::{Running, echo};
use gaggle::context::Context;
use gaggle_http::{Metrics, Server, tls};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::time::Duration;

/// Runs the client's side on a runtime of tokio's.
fn client<T>(side: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(common::PATIENCE, side)
            .await
            .expect("it ends in time")
    })
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a connection");
    tokio::spawn(connection);
    sender
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://test{path}"))
        .body(Full::new(body.into()))
        .expect("a plain request")
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("it comes whole");
    String::from_utf8(bytes.to_bytes().to_vec()).expect("text")
}

#[test]
fn handler_answers_over_both_versions_of_http() {
    let server = Running::handler(Server::builder(), |context, request| {
        assert!(matches!(
            request.version(),
            Version::HTTP_11 | Version::HTTP_2
        ));
        echo(context, request)
    });
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        for round in 0..20 {
            let response = sender
                .send_request(post(&format!("/{round}"), "body"))
                .await;
            let response = response.expect("an answer");
            assert_eq!(response.version(), Version::HTTP_2);
            assert_eq!(text(response).await, format!("POST /{round} body"));
        }
    });
    assert_eq!(server.connect().get("/old").body, "GET /old ");
    // The first bytes of HTTP/2's preface begin other methods too.
    assert_eq!(server.connect().post("/p", "x").body, "POST /p x");
    server.stop();
}

#[test]
fn requests_of_one_connection_are_handled_at_the_same_time() {
    const COUNT: usize = 50;
    let all_in = Arc::new(Barrier::new(COUNT));
    let server = Running::handler(Server::builder(), move |context, request| {
        // Nobody is answered before everybody has been heard.
        all_in.wait();
        echo(context, request)
    });
    let address = server.address;
    client(async {
        let sender = connect(address).await;
        let tasks: Vec<_> = (0..COUNT)
            .map(|number| {
                let mut sender = sender.clone();
                tokio::spawn(async move {
                    let response = sender.send_request(post(&format!("/{number}"), "")).await;
                    text(response.expect("an answer")).await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.expect("no panic"), format!("POST /{number} "));
        }
    });
    server.stop();
}

#[test]
fn large_bodies_go_both_ways() {
    let server = Running::handler(Server::builder().body_bytes_max(8 << 20), echo);
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        let body = "0123456789abcdef".repeat(300_000);
        let response = sender.send_request(post("/l", body.clone())).await;
        assert!(text(response.expect("an answer")).await == format!("POST /l {body}"));
    });
    server.stop();
}

#[test]
fn limits_hold_and_panics_are_answered() {
    let builder = Server::builder()
        .body_bytes_max(10)
        .body_read_timeout(Duration::from_millis(200));
    let server = Running::handler(builder, |context, request| {
        assert!(request.uri().path() != "/panic", "asked to");
        echo(context, request)
    });
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        for (path, body, status) in [
            ("/", "01234567890", 413),
            ("/panic", "", 500),
            ("/", "x", 200),
        ] {
            let response = sender.send_request(post(path, body)).await;
            assert_eq!(response.expect("an answer").status(), status);
        }
        // A body that never ends.
        let (_keep, frames) =
            futures_channel::mpsc::unbounded::<Result<Frame<Bytes>, Infallible>>();
        let request = Request::post("http://test/").body(StreamBody::new(frames));
        let mut sender = connect(address).await;
        let response = sender.send_request(request.expect("a request")).await;
        assert_eq!(
            response.expect("an answer").status(),
            StatusCode::REQUEST_TIMEOUT
        );
    });
    server.stop();
}

#[test]
fn service_streams_both_ways_at_the_same_time() {
    let service = tower::service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let server = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, service)
    });
    let address = server.address;
    client(async {
        let (frames, receiver) = futures_channel::mpsc::unbounded();
        let request = Request::post("http://test/").body(StreamBody::new(receiver));
        let mut sender = connect(address).await;
        let response = sender.send_request(request.expect("a request")).await;
        let mut body = response.expect("the head comes first").into_body();
        for round in 0..50 {
            let sent = Bytes::from(format!("part {round}"));
            let frame = Ok::<_, Infallible>(Frame::data(sent.clone()));
            frames.unbounded_send(frame).expect("it is awaited");
            let echoed = body.frame().await.expect("a frame").expect("no failure");
            assert_eq!(echoed.into_data().expect("data"), sent);
        }
        drop(frames);
        // The end may come as a frame without bytes.
        assert_eq!(body.collect().await.expect("no failure").to_bytes(), "");
    });
    server.stop();
}

#[test]
fn service_may_block_its_goroutine_and_others_go_on() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let released = Arc::clone(&released);
        async move {
            if request.uri().path() == "/wait" {
                released
                    .lock()
                    .expect("one waiter")
                    .recv()
                    .expect("the test releases");
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"fine"))))
        }
    });
    let server = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, service)
    });
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        let waiting = sender.send_request(post("/wait", ""));
        let mut other = sender.clone();
        let response = other.send_request(post("/", "")).await;
        assert_eq!(text(response.expect("an answer")).await, "fine");
        release.send(()).expect("it waits");
        assert_eq!(text(waiting.await.expect("an answer")).await, "fine");
    });
    server.stop();
}

#[test]
fn stream_that_is_reset_ends_its_context_and_no_other() {
    let (entered, is_in) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let server = Running::handler(Server::builder(), move |context: &Context, request| {
        if request.uri().path() == "/wait" {
            entered.send(()).expect("the test waits");
            let _ = context.done().recv();
            ended.send(()).expect("the test waits");
        }
        Response::new(Bytes::from(format!("{:?}", context.err())))
    });
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        let mut other = sender.clone();
        let waiting = tokio::spawn(async move { sender.send_request(post("/wait", "")).await });
        tokio::task::spawn_blocking(move || is_in.recv().expect("the request arrives"))
            .await
            .expect("no panic");
        waiting.abort();
        tokio::task::spawn_blocking(move || has_ended.recv().expect("the context ends"))
            .await
            .expect("no panic");
        let response = other.send_request(post("/", "")).await;
        assert_eq!(text(response.expect("an answer")).await, "None");
    });
    server.stop();
}

#[test]
fn client_that_resets_what_it_opens_gets_no_more_goroutines_than_streams() {
    const STREAMS: u32 = 5;
    let (entered, is_in) = mpsc::channel();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let of_handler = Arc::clone(&gate);
    let builder = Server::builder().http2_streams_max(STREAMS);
    let server = Running::handler(builder, move |context, request| {
        if request.uri().path() == "/stubborn" {
            entered.send(()).expect("the test waits");
            // It minds no context.
            let (open, opened) = &*of_handler;
            let guard = open.lock().expect("no panic");
            drop(opened.wait_while(guard, |open| !*open).expect("no panic"));
        }
        echo(context, request)
    });
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        for _ in 0..STREAMS {
            let mut sender = sender.clone();
            let asking =
                tokio::spawn(async move { sender.send_request(post("/stubborn", "")).await });
            while is_in.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            asking.abort();
        }
        // All places are taken by handlers whose clients have gone: more are not started.
        for _ in 0..20 {
            let mut sender = sender.clone();
            let asking =
                tokio::spawn(async move { sender.send_request(post("/stubborn", "")).await });
            tokio::time::sleep(Duration::from_millis(2)).await;
            asking.abort();
        }
        assert!(is_in.try_recv().is_err());
        let last = tokio::spawn(async move {
            let response = sender.send_request(post("/last", "")).await;
            text(response.expect("an answer")).await
        });
        *gate.0.lock().expect("no panic") = true;
        gate.1.notify_all();
        assert_eq!(last.await.expect("no panic"), "POST /last ");
    });
    server.stop();
}

#[test]
fn stop_finishes_what_is_in_flight() {
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = Running::handler(Server::builder(), move |context, request| {
        if request.uri().path() == "/slow" {
            entered.send(()).expect("the test waits");
            released
                .lock()
                .expect("one waiter")
                .recv()
                .expect("the test releases");
        }
        echo(context, request)
    });
    let address = server.address;
    client(async {
        let mut idle = connect(address).await;
        assert_eq!(
            idle.send_request(post("/", ""))
                .await
                .expect("an answer")
                .status(),
            200
        );
        let mut busy = connect(address).await;
        let slow = tokio::spawn(async move {
            let response = busy.send_request(post("/slow", "")).await;
            text(response.expect("an answer")).await
        });
        tokio::task::spawn_blocking(move || is_in.recv().expect("the request arrives"))
            .await
            .expect("no panic");
        let stopping = server.begin_stop();
        // The idle connection is told, and ends.
        while !idle.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(!stopping.is_finished());
        release.send(()).expect("the handler waits");
        assert_eq!(slow.await.expect("no panic"), "POST /slow ");
        let stopped = tokio::task::spawn_blocking(move || stopping.join())
            .await
            .expect("no panic");
        let stopped = stopped.expect("no panic").expect("no failure");
        assert_eq!(stopped.aborted_connections, 0);
    });
}

#[test]
fn idle_connection_is_ended() {
    let builder = Server::builder().idle_timeout(Duration::from_millis(100));
    let server = Running::handler(builder, echo);
    let address = server.address;
    client(async {
        let mut sender = connect(address).await;
        let response = sender.send_request(post("/", "")).await;
        assert_eq!(response.expect("an answer").status(), 200);
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    server.stop();
}

#[test]
fn tls_chooses_http2_and_old_clients_get_what_they_know() {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let chain = made.cert.pem();
    let key = made.signing_key.serialize_pem();
    let config = tls::server_config(chain.as_bytes(), key.as_bytes()).expect("they belong");
    let metrics = Metrics::new();
    let builder = Server::builder().tls(config).metrics(metrics.clone());
    let server = Running::handler(builder, |_, request| {
        Response::new(format!("{:?} {}", request.version(), request.body().len()).into())
    });
    let address = server.address;
    let trusting = tls::client_config(chain.as_bytes()).expect("it is one");
    for (protocol, expected) in [
        (&b"h2"[..], "HTTP/2.0 1000000"),
        (b"http/1.1", "HTTP/1.1 1000000"),
    ] {
        let mut config = rustls::ClientConfig::clone(&trusting);
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        client(async {
            let stream = tokio::net::TcpStream::connect(address)
                .await
                .expect("the server listens");
            let name = "localhost".try_into().expect("a name");
            let stream = connector.connect(name, stream).await.expect("TLS");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
            let request = post("/", vec![7; 1_000_000]);
            let io = TokioIo::new(stream);
            let response = if protocol == b"h2" {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                        .await
                        .expect("a connection");
                tokio::spawn(connection);
                sender.send_request(request).await
            } else {
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                    .await
                    .expect("a connection");
                tokio::spawn(connection);
                sender.send_request(request).await
            };
            assert_eq!(text(response.expect("an answer")).await, expected);
        });
    }
    server.stop();
    assert_eq!(metrics.routes()[0].by_class, [0, 0, 2, 0, 0, 0]);
}

#[test]
fn without_http2_its_preface_is_a_malformed_request() {
    let server = Running::handler(Server::builder().http2(false), echo);
    let mut client = server.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let answer = client.rest();
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    server.stop();
}
