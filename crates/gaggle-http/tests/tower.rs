//! The server with a `tower` service.

mod common;

use bytes::Bytes;
use common::Running;
use gaggle_http::{Server, ServerBuilder};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use tower::service_fn;

fn start<S, B>(builder: ServerBuilder, service: S) -> Running
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Running::start(move |listener, context| {
        builder.build().serve_service(listener, context, service)
    })
}

async fn reverse(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    // Neither `Send` nor in the way of anybody: the future stays on its connection's goroutine.
    let kept = Rc::new(());
    let mut bytes = request.into_body().collect().await?.to_bytes().to_vec();
    drop(kept);
    bytes.reverse();
    Ok(Response::new(bytes.into()))
}

#[test]
fn a_service_reads_the_body_and_answers() {
    let server = start(Server::builder(), service_fn(reverse));
    let mut client = server.connect();
    for _ in 0..10 {
        assert_eq!(client.post("/", "stressed").body, "desserts");
    }
    server.stop();
}

#[test]
fn a_service_that_waits_for_another_goroutine_is_woken() {
    let service = service_fn(async |_: Request<Incoming>| {
        let (send, receive) = futures_channel::oneshot::channel();
        gaggle::go(move || send.send("from afar").expect("the service waits"));
        let text = receive.await.expect("the goroutine sends");
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
            text.as_bytes(),
        ))))
    });
    let server = start(Server::builder(), service);
    let mut client = server.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/").body, "from afar");
    }
    server.stop();
}

#[test]
fn a_body_may_be_echoed_while_it_comes() {
    // The response's body is the request's: its first part leaves before its last has come.
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let server = start(Server::builder(), service);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    assert_eq!(client.head_and(3), "abc");
    client.send("def");
    assert_eq!(client.bytes(3), "def");
    assert_eq!(client.post("/", "again").body, "again");
    server.stop();
}

#[test]
fn a_service_that_fails_or_panics_answers_500_and_the_server_goes_on() {
    let service = service_fn(async |request: Request<Incoming>| {
        match request.uri().path() {
            "/fail" => return Err("it cannot"),
            "/panic" => panic!("asked to"),
            _ => {}
        }
        Ok(Response::new(Full::new(Bytes::from_static(b"fine"))))
    });
    let server = start(Server::builder(), service);
    for path in ["/fail", "/panic"] {
        let mut client = server.connect();
        assert_eq!(client.get(path).status, 500);
        client.shut_write();
        client.expect_end();
        assert_eq!(server.connect().get("/").body, "fine");
    }
    server.stop();
}

#[test]
fn a_declared_body_over_the_limit_never_reaches_the_service() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let of_service = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        of_service
            .lock()
            .expect("no panic")
            .push(request.body().size_hint().lower());
        async move {
            let status = StatusCode::NO_CONTENT;
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(
                Response::builder()
                    .status(status)
                    .body(Full::<Bytes>::default())
                    .expect("plain"),
            )
        }
    });
    let server = start(Server::builder().body_bytes_max(4), service);
    let mut client = server.connect();
    assert_eq!(client.post("/", "four").status, 204);
    assert_eq!(client.post("/", "fives").status, 413);
    client.shut_write();
    client.expect_end();
    server.stop();
    assert_eq!(*seen.lock().expect("no panic"), [4]);
}
