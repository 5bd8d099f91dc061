//! The client over HTTP/2: by TLS's choice and by prior knowledge, one connection for all requests.

mod common;

use bytes::Bytes;
use common::{Running, counting_echo, echo};
use gaggle::context;
use gaggle_http::client::{Client, ClientBuilder, ClientError, Proxies, ResponseBody};
use gaggle_http::{Peer, Server, ServerBuilder, tls};
use http::{Request, Response, Version};
use http_body_util::Full;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Barrier, Mutex, mpsc};
use std::time::Duration;

/// Without the environment's proxies, which are not the tests'.
fn knowing() -> ClientBuilder {
    Client::builder()
        .proxies(Proxies::none())
        .http2_prior_knowledge(true)
}

fn post(url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(url)
        .body(Full::new(body.into()))
        .expect("a plain request")
}

fn text(response: Result<Response<ResponseBody>, ClientError>) -> String {
    let body = response.expect("an answer").into_body();
    body.text(16 << 20).expect("text")
}

/// A server with TLS for `localhost`, and a client that trusts it and asks it for that name.
fn secured(
    server: ServerBuilder,
    handler: impl Fn(&context::Context, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> (Running, ClientBuilder) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let config = tls::server_config(chain.as_bytes(), key.as_bytes()).expect("they belong");
    let server = Running::handler(server.tls(config), handler);
    let address = server.address;
    let client = Client::builder()
        .proxies(Proxies::none())
        .tls(tls::client_config(chain.as_bytes()).expect("it is one"))
        .resolver(move |_: &str, _: u16| Ok(vec![address]));
    (server, client)
}

/// Answers who asked, by the client's port, once `all_in` have been heard.
fn who_at_once(
    all_in: Barrier,
) -> impl Fn(&context::Context, Request<Bytes>) -> Response<Bytes> + Send + Sync {
    move |context, _| {
        all_in.wait();
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    }
}

/// Asks so often at once; answers the different answers.
fn ask_at_once(client: &Client, url: &str, count: usize) -> HashSet<String> {
    let seen = Mutex::new(HashSet::new());
    gaggle::scope(|scope| {
        for _ in 0..count {
            scope.go(|| {
                let answer = text(client.get(&context::background(), url));
                seen.lock().expect("no panic").insert(answer);
            });
        }
    });
    seen.into_inner().expect("no panic")
}

#[gaggle::test]
fn requests_at_once_share_one_connection_by_prior_knowledge() {
    const COUNT: usize = 50;
    let server = Running::handler(Server::builder(), who_at_once(Barrier::new(COUNT)));
    let url = format!("http://{}/", server.address);
    let client = knowing().build();
    let first = ask_at_once(&client, &url, COUNT);
    assert_eq!((first.len(), client.connections()), (1, 1));
    assert_eq!(ask_at_once(&client, &url, COUNT), first);
    drop(client);
    server.stop();
}

#[gaggle::test]
fn requests_at_once_share_one_connection_by_the_choice_of_tls() {
    const COUNT: usize = 50;
    let (server, client) = secured(Server::builder(), who_at_once(Barrier::new(COUNT)));
    let client = client.build();
    let seen = ask_at_once(&client, "https://localhost/", COUNT);
    assert_eq!((seen.len(), client.connections()), (1, 1));
    drop(client);
    server.stop();
}

#[gaggle::test]
fn who_does_not_choose_http2_is_asked_by_http1() {
    const COUNT: usize = 10;
    let version = |client: &Client| {
        let response = client.get(&context::background(), "https://localhost/");
        let response = response.expect("an answer");
        let version = response.version();
        assert!(response.into_body().text(100).is_ok());
        version
    };
    let (server, client) = secured(Server::builder(), echo);
    assert_eq!(version(&client.build()), Version::HTTP_2);
    server.stop();
    let (server, client) = secured(Server::builder(), echo);
    assert_eq!(version(&client.http2(false).build()), Version::HTTP_11);
    server.stop();
    // The server that does not speak it is asked by as many connections as there are requests.
    let handler = who_at_once(Barrier::new(COUNT));
    let (server, client) = secured(Server::builder().http2(false), handler);
    let client = client.build();
    let seen = ask_at_once(&client, "https://localhost/", COUNT);
    assert_eq!((seen.len(), client.connections()), (COUNT, COUNT));
    drop(client);
    server.stop();
}

#[gaggle::test]
fn no_more_requests_are_under_way_than_the_limit_allows() {
    const LIMIT: usize = 3;
    let (server, most) = counting_echo();
    let url = format!("http://{}/", server.address);
    let client = knowing().connections_per_host(LIMIT).build();
    gaggle::scope(|scope| {
        for number in 0..60 {
            let (client, url) = (&client, &url);
            scope.go(move || {
                let request = post(url, number.to_string());
                let answer = text(client.request(&context::background(), request));
                assert_eq!(answer, format!("POST / {number}"));
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= LIMIT);
    assert_eq!(client.connections(), 1);
    drop(client);
    server.stop();
}

#[gaggle::test]
fn bodies_go_both_ways_whatever_their_size() {
    let server = Running::handler(Server::builder().body_bytes_max(8 << 20), echo);
    let client = knowing().build();
    for size in [0, 1, 100_000, 5_000_000] {
        let url = format!("http://{}/size?{size}", server.address);
        let body = "x".repeat(size);
        let answer = text(client.request(&context::background(), post(&url, body.clone())));
        assert!(answer == format!("POST /size {body}"), "{size}");
    }
    assert_eq!(client.connections(), 1);
    drop(client);
    server.stop();
}

#[gaggle::test]
fn the_host_that_is_asked_is_the_urls() {
    let server = Running::handler(Server::builder(), |_, request| {
        let uri = request.uri().clone();
        assert_eq!(uri.scheme_str(), Some("http"));
        Response::new(uri.authority().expect("one").to_string().into())
    });
    let address = server.address;
    let client = knowing()
        .resolver(move |_: &str, _: u16| Ok(vec![address]))
        .build();
    let url = "http://gaggle.test:81/a?b";
    let answer = text(client.get(&context::background(), url));
    assert_eq!(answer, "gaggle.test:81");
    drop(client);
    server.stop();
}

#[gaggle::test]
fn a_body_that_is_not_read_ends_its_stream_alone() {
    let server = Running::handler(Server::builder(), |context, request| {
        if request.uri().path() == "/long" {
            return Response::new(vec![b'x'; 4 << 20].into());
        }
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    });
    let url = |path: &str| format!("http://{}{path}", server.address);
    let client = knowing().connections_per_host(1).build();
    let context = context::background();
    let before = text(client.get(&context, &url("/who")));
    for _ in 0..5 {
        let response = client.get(&context, &url("/long")).expect("an answer");
        let mut some = [0; 100];
        response
            .into_body()
            .read_exact(&mut some)
            .expect("some of it");
    }
    // Its place is free, and the connection is the same.
    assert_eq!(text(client.get(&context, &url("/who"))), before);
    assert_eq!(client.connections(), 1);
    drop(client);
    server.stop();
}

#[gaggle::test]
fn a_context_that_ends_ends_its_stream_alone() {
    let (entered, is_in) = mpsc::channel();
    let (left, has_left) = mpsc::channel();
    let server = Running::handler(Server::builder(), move |context, request| {
        if request.uri().path() == "/wait" {
            entered.send(()).expect("the test waits");
            let _ = context.done().recv();
            left.send(()).expect("the test waits");
        }
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    });
    let url = format!("http://{}/who", server.address);
    let client = knowing().build();
    let before = text(client.get(&context::background(), &url));
    let (context, cancel) = context::background().with_cancel();
    let asking = {
        let (client, url) = (client.clone(), format!("http://{}/wait", server.address));
        gaggle::go(move || client.get(&context, &url).map(drop))
    };
    is_in.recv().expect("the request arrives");
    cancel.cancel();
    let outcome = asking.join().expect("no panic");
    assert!(matches!(outcome, Err(ClientError::Ended(_))), "{outcome:?}");
    // The server hears of it, while the connection stays.
    has_left.recv().expect("its context ends");
    assert_eq!(text(client.get(&context::background(), &url)), before);
    drop(client);
    server.stop();
}

#[gaggle::test]
fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let short = Duration::from_millis(30);
    let builder = Server::builder().idle_timeout(short);
    let server = Running::handler(builder, |context, _| {
        let peer = context.value::<Peer>().expect("every request has one");
        Response::new(format!("{peer:?}").into())
    });
    let url = format!("http://{}/", server.address);
    let client = knowing().build();
    let mut seen = HashSet::new();
    while seen.len() < 3 {
        seen.insert(text(client.get(&context::background(), &url)));
        // The server says goodbye when nobody has asked for as long.
        while client.connections() > 0 {
            gaggle::yield_now();
        }
    }
    drop(client);
    server.stop();
}

#[gaggle::test]
fn a_connection_is_not_kept_where_none_is_to_be() {
    let server = Running::handler(Server::builder(), echo);
    let url = format!("http://{}/", server.address);
    let client = knowing().idle_per_host(0).build();
    for _ in 0..3 {
        assert_eq!(text(client.get(&context::background(), &url)), "GET / ");
        assert_eq!(client.connections(), 0);
    }
    drop(client);
    server.stop();
}

#[gaggle::test]
fn servers_that_speak_something_else_are_errors() {
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let server = gaggle::go(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 24]).expect("the preface");
            let _ = stream.write_all(answer);
        });
        let client = knowing().build();
        let outcome = client.get(&context::background(), &format!("http://{address}/"));
        assert!(
            matches!(outcome, Err(ClientError::Exchange(_))),
            "{outcome:?}"
        );
        server.join().expect("no panic");
        // Its goroutine is about to end.
        while client.connections() > 0 {
            gaggle::yield_now();
        }
    }
}
