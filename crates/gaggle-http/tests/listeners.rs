//! Unix sockets, TLS, upgrades and what is measured.

mod common;

use bytes::Bytes;
use common::{Running, echo};
use gaggle::context;
use gaggle_http::{Metrics, Peer, Server, named, on_upgrade, tls};
use http::{Response, StatusCode, header};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// A certificate for localhost, its key, and a client's configuration that trusts it.
fn certificate() -> (String, String, Arc<rustls::ClientConfig>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let client = tls::client_config(chain.as_bytes()).expect("it is one");
    (chain, key, client)
}

fn tls_client(
    address: std::net::SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(common::PATIENCE))
        .expect("a timeout can be set");
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).expect("a config");
    rustls::StreamOwned::new(connection, stream)
}

#[test]
fn unix_socket_is_served_and_stopped_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a free name");
    let (stop_context, stop) = context::background().with_cancel();
    let server = gaggle::go(move || {
        Server::default().serve(listener, &stop_context, |context, request| {
            assert_eq!(context.value::<Peer>(), Some(&Peer::Unix));
            echo(context, request)
        })
    });
    let mut client = UnixStream::connect(&path).expect("the server listens");
    for round in 0..3 {
        let text = format!("POST /{round} HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi");
        client.write_all(text.as_bytes()).expect("the server reads");
        let expected = format!("POST /{round} hi");
        let mut answer = Vec::new();
        while !answer.ends_with(expected.as_bytes()) {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("the server answers");
            answer.push(byte[0]);
        }
    }
    let mut idle = UnixStream::connect(&path).expect("the server listens");
    stop.cancel();
    let stopped = server.join().expect("no panic").expect("no failure");
    assert_eq!(stopped.aborted_connections, 0);
    assert_eq!(idle.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn requests_over_tls_are_answered_on_one_connection() {
    let (chain, key, client) = certificate();
    let config = tls::server_config(chain.as_bytes(), key.as_bytes()).expect("they belong");
    let server = Running::handler(Server::builder().tls(config), echo);
    let mut stream = tls_client(server.address, &client);
    let body = "x".repeat(100_000);
    for round in 0..3 {
        let head = format!(
            "POST /{round} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        stream.write_all(body.as_bytes()).expect("the server reads");
        let expected = format!("POST /{round} {body}");
        let mut answer = Vec::new();
        while !answer.ends_with(expected.as_bytes()) {
            let mut bytes = [0; 16 * 1024];
            let count = stream.read(&mut bytes).expect("the server answers");
            assert!(count > 0, "the connection ended");
            answer.extend_from_slice(&bytes[..count]);
        }
    }
    assert_eq!(stream.conn.alpn_protocol(), None);
    server.stop();
}

#[test]
fn peer_that_speaks_no_tls_or_none_at_all_is_closed() {
    let (chain, key, client) = certificate();
    let config = tls::server_config(chain.as_bytes(), key.as_bytes()).expect("they belong");
    let builder = Server::builder()
        .tls(config)
        .header_read_timeout(Duration::from_millis(200));
    let server = Running::handler(builder, echo);
    let mut plain = TcpStream::connect(server.address).expect("the server listens");
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        .expect("the server reads");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut mute = TcpStream::connect(server.address).expect("the server listens");
    assert_eq!(mute.read(&mut [0]).expect("the end"), 0);
    let mut fine = tls_client(server.address, &client);
    fine.write_all(b"GET /fine HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .expect("the server reads");
    let mut answer = String::new();
    fine.read_to_string(&mut answer)
        .expect("the end is said, not only met");
    assert!(answer.ends_with("GET /fine "), "{answer:?}");
    server.stop();
}

#[test]
fn key_of_another_certificate_is_refused() {
    let (chain, _, _) = certificate();
    let (_, key, _) = certificate();
    assert!(tls::server_config(chain.as_bytes(), key.as_bytes()).is_err());
    assert!(tls::server_config(b"", key.as_bytes()).is_err());
    assert!(tls::client_config(b"nothing").is_err());
}

#[test]
fn upgraded_connection_is_handed_over_with_what_came_along() {
    let server = Running::handler(Server::builder(), |_, _| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, "upgrade".parse().expect("a value"));
        headers.insert(header::UPGRADE, "shout".parse().expect("a value"));
        on_upgrade(&mut response, |mut connection| {
            let mut bytes = [0; 100];
            while let Ok(count @ 1..) = connection.read(&mut bytes) {
                bytes[..count].make_ascii_uppercase();
                connection
                    .write_all(&bytes[..count])
                    .expect("the client reads");
            }
        });
        response
    });
    let mut client = server.connect();
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nearly");
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.bytes(5), "EARLY");
    client.send("late");
    assert_eq!(client.bytes(4), "LATE");
    // A stop ends the read that waits.
    let server = server.begin_stop();
    client.expect_end();
    let stopped = server.join().expect("no panic").expect("no failure");
    assert_eq!(stopped.aborted_connections, 0);
}

#[test]
fn requests_are_measured_by_route_and_status() {
    let metrics = Metrics::new();
    let of_handler = metrics.clone();
    let builder = Server::builder().metrics(metrics.clone());
    let server = Running::handler(builder, move |_, request| {
        assert_eq!(of_handler.in_flight(), 1);
        match request.uri().path() {
            "/panic" => panic!("asked to"),
            path if path.starts_with("/users/") => {
                named("/users/{id}", Response::new(Bytes::new()))
            }
            _ => Response::builder()
                .status(404)
                .body(Bytes::new())
                .expect("a plain response"),
        }
    });
    let mut client = server.connect();
    for path in ["/users/1", "/users/2", "/other", "/panic"] {
        client.get(path);
    }
    server.stop();
    let routes = metrics.routes();
    let seen: Vec<_> = routes
        .iter()
        .map(|route| (route.route.as_str(), route.by_class))
        .collect();
    assert_eq!(
        seen,
        [
            ("", [0, 0, 0, 0, 1, 1]),
            ("/users/{id}", [0, 0, 2, 0, 0, 0])
        ]
    );
    assert!(routes[1].quantile(0.5).is_some());
    assert_eq!(metrics.in_flight(), 0);
}
