//! The client: pool, limits, deadlines, proxies, resolver.

mod common;

use bytes::Bytes;
use common::{Running, counting_echo, echo};
use gaggle::context;
use gaggle_http::client::{Client, ClientBuilder, ClientError, Proxies, ResponseBody};
use gaggle_http::{Peer, Server, tls};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

/// Without the environment's proxies, which are not the tests'.
fn builder() -> ClientBuilder {
    Client::builder().proxies(Proxies::none())
}

fn post(url: String, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(url)
        .body(Full::new(body.into()))
        .expect("a plain request")
}

/// A server that answers who asked, by the client's port.
fn who(builder: gaggle_http::ServerBuilder) -> Running {
    Running::handler(builder, |context, _| {
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    })
}

/// A server of `localhost` that echoes, and who trusts it.
fn echo_by_tls() -> (Running, Arc<rustls::ClientConfig>) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let chain = made.cert.pem();
    let key = made.signing_key.serialize_pem();
    let config = tls::server_config(chain.as_bytes(), key.as_bytes()).expect("they belong");
    let trusting = tls::client_config(chain.as_bytes()).expect("it is one");
    let server = Running::handler(Server::builder().tls(config), echo);
    (server, trusting)
}

/// What is answered, as text.
fn text(outcome: Result<Response<ResponseBody>, ClientError>) -> String {
    let body = outcome.expect("an answer").into_body();
    body.text(8 << 20).expect("text")
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    let server = who(Server::builder());
    let url = format!("http://{}/", server.address);
    let client = builder().build();
    let context = context::background();
    let mut seen = HashSet::new();
    for _ in 0..10 {
        seen.insert(text(client.get(&context, &url)));
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(client.connections(), 1);
    // A body that is not read to its end takes its connection with it.
    drop(client.get(&context, &url).expect("an answer"));
    assert_eq!(client.connections(), 0);
    server.stop();
}

#[test]
fn bodies_go_both_ways_whatever_their_size() {
    let server = Running::handler(Server::builder().body_bytes_max(8 << 20), echo);
    let client = builder().build();
    let context = context::background();
    for size in [0, 1, 100_000, 5_000_000] {
        let url = format!("http://{}/size?{size}", server.address);
        let body = "x".repeat(size);
        let answer = text(client.request(&context, post(url, body.clone())));
        assert!(answer == format!("POST /size {body}"));
    }
    assert_eq!(client.connections(), 1);
    drop(client);
    server.stop();
}

#[test]
fn body_is_a_reader_and_may_be_too_large() {
    let server = Running::handler(Server::builder(), echo);
    let client = builder().build();
    let context = context::background();
    let url = format!("http://{}/", server.address);
    let response = client.request(&context, post(url.clone(), "a\nb\nc"));
    let lines: Vec<_> = BufReader::new(response.expect("an answer").into_body())
        .lines()
        .collect::<Result<_, _>>()
        .expect("lines");
    assert_eq!(lines, ["POST / a", "b", "c"]);
    let response = client.request(&context, post(url, "0123456789"));
    let outcome = response.expect("an answer").into_body().bytes(10);
    assert!(matches!(outcome, Err(ClientError::TooLarge)));
    drop(client);
    server.stop();
}

#[test]
fn no_more_connections_are_open_than_the_limit_allows() {
    const LIMIT: usize = 3;
    let (server, most) = counting_echo();
    let url = format!("http://{}/", server.address);
    let client = builder().connections_per_host(LIMIT).build();
    let all: Vec<_> = (0..60)
        .map(|number| {
            let (client, url) = (client.clone(), url.clone());
            gaggle::go(move || {
                let request = post(url, number.to_string());
                text(client.request(&context::background(), request))
            })
        })
        .collect();
    for (number, one) in all.into_iter().enumerate() {
        assert_eq!(one.join().expect("no panic"), format!("POST / {number}"));
    }
    assert!(most.load(Ordering::SeqCst) <= LIMIT);
    assert!(client.connections() <= LIMIT);
    drop(client);
    server.stop();
}

#[test]
fn who_waits_for_a_connection_gives_up_with_its_context() {
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = Running::handler(Server::builder(), move |context, request| {
        entered.send(()).expect("the test waits");
        released
            .lock()
            .expect("one")
            .recv()
            .expect("the test releases");
        echo(context, request)
    });
    let url = format!("http://{}/", server.address);
    let client = builder().connections_per_host(1).build();
    let first = gaggle::go({
        let (client, url) = (client.clone(), url.clone());
        move || text(client.get(&context::background(), &url))
    });
    is_in.recv().expect("the request arrives");
    let (limited, _cancel) = context::background().with_timeout(Duration::from_millis(30));
    let outcome = client.get(&limited, &url);
    assert!(matches!(outcome, Err(ClientError::TimedOut)), "{outcome:?}");
    release.send(()).expect("it waits");
    assert_eq!(first.join().expect("no panic"), "GET / ");
    release.send(()).expect("it will wait");
    assert_eq!(text(client.get(&context::background(), &url)), "GET / ");
    drop(client);
    server.stop();
}

#[test]
fn connection_that_the_server_closed_meanwhile_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}/",
        listener.local_addr().expect("a bound address")
    );
    let (closed, is_closed) = mpsc::channel();
    let server = gaggle::go(move || {
        for number in 0..3 {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1000]).expect("a request");
            // It does not say that the connection will not be kept.
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            )
            .expect("the client reads");
            drop(stream);
            closed.send(()).expect("the test waits");
        }
    });
    let client = builder().build();
    for number in 0..3 {
        let answer = text(client.get(&context::background(), &url));
        assert_eq!(answer, number.to_string());
        is_closed.recv().expect("the server closes it");
    }
    server.join().expect("no panic");
}

#[test]
fn time_is_for_the_head_and_the_body_together() {
    // It sends a head, a part of the body, and then nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let server = gaggle::go(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 1000];
        let _ = stream.read(&mut bytes).expect("a request");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart")
            .expect("the client reads");
        // Until the client has given up.
        let _ = stream.read(&mut bytes);
    });
    let client = builder().timeout(Duration::from_millis(100)).build();
    let url = format!("http://{address}/");
    let response = client.get(&context::background(), &url).expect("a head");
    assert_eq!(response.status(), StatusCode::OK);
    let outcome = response.into_body().bytes(100);
    assert!(matches!(outcome, Err(ClientError::TimedOut)), "{outcome:?}");
    server.join().expect("the connection is closed");
}

#[test]
fn cancelled_context_ends_a_request_that_waits() {
    let (entered, is_in) = mpsc::channel();
    let server = Running::handler(Server::builder(), move |context, _| {
        entered.send(()).expect("the test waits");
        let _ = context.done().recv();
        Response::new(Bytes::new())
    });
    let url = format!("http://{}/", server.address);
    let (context, cancel) = context::background().with_cancel();
    let asking = gaggle::go(move || builder().build().get(&context, &url).map(drop));
    is_in.recv().expect("the request arrives");
    cancel.cancel();
    let outcome = asking.join().expect("no panic");
    assert!(matches!(outcome, Err(ClientError::Ended(_))), "{outcome:?}");
    // The server's request ends as well, since its client has gone.
    server.stop();
}

#[test]
fn answers_that_are_none_are_errors() {
    for answer in [&b"nonsense\r\n\r\n"[..], b"HTTP/1.1 2", b""] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let server = gaggle::go(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1000]).expect("a request");
            stream.write_all(answer).expect("the client reads");
        });
        let outcome = builder()
            .build()
            .get(&context::background(), &format!("http://{address}/"));
        assert!(
            matches!(outcome, Err(ClientError::Exchange(_))),
            "{outcome:?}"
        );
        server.join().expect("no panic");
    }
    let client = builder().build();
    let context = context::background();
    for url in [
        "ftp://host/",
        "/path",
        "http://",
        "http://me:secret@host/",
        "https://host/",
    ] {
        let outcome = client.get(&context, url);
        assert!(
            matches!(outcome, Err(ClientError::Request(_))),
            "{url}: {outcome:?}"
        );
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", closed.local_addr().expect("a bound address"));
    drop(closed);
    let error = client.get(&context, &url).expect_err("nobody listens");
    assert!(matches!(error, ClientError::Connect(_)) && error.is_before_sending());
    assert_eq!(client.connections(), 0);
}

#[test]
fn resolver_of_the_programs_own_is_asked() {
    let server = Running::handler(Server::builder(), |_, request| {
        let host = request.headers().get("host").cloned();
        Response::new(Bytes::copy_from_slice(host.expect("a host").as_bytes()))
    });
    let address = server.address;
    let client = builder()
        .resolver(move |host: &str, port: u16| {
            assert_eq!((host, port), ("gaggle.test", 80));
            // The first is of somebody who does not listen.
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1)), address])
        })
        .build();
    let answer = client.get(&context::background(), "http://gaggle.test/");
    assert_eq!(text(answer), "gaggle.test");
    drop(client);
    server.stop();
}

#[test]
fn https_is_checked_against_whom_the_client_trusts() {
    let (server, trusting) = echo_by_tls();
    let address = server.address;
    let resolver = move |_: &str, _: u16| Ok(vec![address]);
    let client = builder()
        .tls(Arc::clone(&trusting))
        .resolver(resolver)
        .build();
    let context = context::background();
    for _ in 0..3 {
        let body = "y".repeat(300_000);
        let request = post("https://localhost/s".to_owned(), body.clone());
        assert!(text(client.request(&context, request)) == format!("POST /s {body}"));
    }
    assert_eq!(client.connections(), 1);
    let other = client.get(&context, "https://other.test/");
    assert!(matches!(other, Err(ClientError::Connect(_))), "{other:?}");
    drop(client);
    server.stop();
}

/// A proxy that notes what it is asked, and answers itself or passes bytes on.
fn proxy(target: SocketAddr) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let (note, notes) = mpsc::channel();
    gaggle::go(move || {
        let (client, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(client.try_clone().expect("a descriptor"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).expect("a line");
        }
        note.send(head.clone()).expect("the test waits");
        if !head.starts_with("CONNECT") {
            (&client)
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
                .expect("the client reads");
            return;
        }
        (&client)
            .write_all(b"HTTP/1.1 200 Go on\r\n\r\n")
            .expect("the client reads");
        let server = TcpStream::connect(target).expect("it listens");
        let up = (
            client.try_clone().expect("one"),
            server.try_clone().expect("one"),
        );
        let upwards = gaggle::go(move || std::io::copy(&mut &up.0, &mut &up.1));
        let _ = std::io::copy(&mut &server, &mut &client);
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = upwards.join();
    });
    (address, notes)
}

#[test]
fn proxy_is_asked_for_the_whole_address_or_to_pass_bytes_on() {
    let (server, trusting) = echo_by_tls();
    let context = context::background();

    let (address, notes) = proxy(server.address);
    let proxies = Proxies::none()
        .http(&format!("http://{address}"))
        .expect("an address");
    let client = Client::builder().proxies(proxies).build();
    let answer = client.get(&context, "http://far.test/path?q=1");
    assert_eq!(text(answer), "proxy");
    let head = notes.recv().expect("it was asked");
    assert!(
        head.starts_with("GET http://far.test/path?q=1 HTTP/1.1\r\n"),
        "{head}"
    );

    let (address, notes) = proxy(server.address);
    let proxies = Proxies::none()
        .https(&format!("http://me:secret@{address}"))
        .expect("an address");
    let client = Client::builder().proxies(proxies).tls(trusting).build();
    let answer = client.get(&context, "https://localhost:444/in");
    assert_eq!(text(answer), "GET /in ");
    let head = notes.recv().expect("it was asked");
    assert!(
        head.starts_with("CONNECT localhost:444 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
        "{head}"
    );
    drop(client);
    server.stop();
}

#[test]
fn service_passes_bodies_on_in_both_directions_while_they_come() {
    // The backend echoes what it gets as it gets it; the service between is one of this client's.
    let backend = Running::start(|listener, context| {
        let echo = tower::service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        Server::default().serve_service(listener, context, echo)
    });
    let client = builder().build();
    let url = format!("http://{}/", backend.address);
    let of_service = client.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (client, url) = (of_service.clone(), url.clone());
        async move {
            let context = request.extensions().get::<context::Context>().cloned();
            let context = context.expect("every request has one");
            let request = Request::post(url)
                .body(request.into_body())
                .expect("a request");
            client.send(&context, request).await
        }
    });
    let front = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, service)
    });
    let mut asking = front.connect();
    asking.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(asking.head_and(3), "abc");
    asking.send("def");
    assert_eq!(asking.bytes(3), "def");
    asking.send("ghi");
    assert_eq!(asking.bytes(3), "ghi");
    // Both connections are kept, and a body of unknown length is passed on as well.
    asking.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(asking.head_and_chunk(), "abc");
    asking.send("3\r\ndef\r\n");
    assert_eq!(asking.chunk(), "def");
    asking.send("0\r\n\r\n");
    assert_eq!(asking.chunk(), "");
    assert_eq!(client.connections(), 1);
    drop(asking);
    front.stop();
    drop(client);
    backend.stop();
}

#[test]
fn two_hundred_goroutines_ask_at_once() {
    const COUNT: usize = 200;
    let all_in = Arc::new(Barrier::new(COUNT));
    let server = Running::handler(Server::builder(), move |context, request| {
        // Nobody is answered before everybody has been heard.
        all_in.wait();
        echo(context, request)
    });
    let client = builder()
        .connections_per_host(COUNT)
        .idle_per_host(5)
        .build();
    let url = format!("http://{}/", server.address);
    let all: Vec<_> = (0..COUNT)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            gaggle::go(move || text(client.get(&context::background(), &url)))
        })
        .collect();
    for one in all {
        assert_eq!(one.join().expect("no panic"), "GET / ");
    }
    assert!(client.connections() <= 5);
    drop(client);
    server.stop();
}
