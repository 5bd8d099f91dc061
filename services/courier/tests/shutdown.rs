//! SIGTERM to a real `courier serve`: what is in flight is brought to its end, the rest is given
//! back, and a restart goes on where it stood.

mod common;

use common::{Serve, message};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Reads a request up to the end of its payload.
fn read_request(stream: &mut TcpStream, payload: &str) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(payload.as_bytes()) {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the request ended early");
        request.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(request).unwrap()
}

fn publish(server: &Serve, endpoint: &str, key: &str, payload: &str) -> String {
    let body = message(endpoint, key, payload);
    let answer = server.post("/v1/messages", None, &body).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = &answer.body["deliveries"][0]["id"];
    id.as_str().unwrap().to_owned()
}

#[test]
fn deliveries_in_flight_are_drained_and_the_next_of_the_lane_waits_for_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("courier.db");
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Serve::start(&database, "127.0.0.1:0", &[]);
    let endpoint = server.endpoint(&format!("http://{}/", receiver.local_addr().unwrap()));
    let first = publish(&server, &endpoint, "k", r#"{"n":1}"#);
    let second = publish(&server, &endpoint, "k", r#"{"n":2}"#);
    let (mut stream, _) = receiver.accept().unwrap();
    read_request(&mut stream, r#"{"n":1}"#);
    server.terminate();
    // Only when the API is gone has the shutdown begun; the delivery is still in flight then.
    while TcpStream::connect(server.address).is_ok() {
        gaggle::yield_now();
    }
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (code, error) = server.wait();
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("0 deliveries given back"), "{error}");

    let server = Serve::start(&database, "127.0.0.1:0", &[]);
    let (mut stream, _) = receiver.accept().unwrap();
    read_request(&mut stream, r#"{"n":2}"#);
    let view = server.get(&format!("/v1/deliveries/{first}")).unwrap().body;
    assert_eq!(view["state"], "delivered");
    assert_eq!(view["attempts"], 1);
    let view = server
        .get(&format!("/v1/deliveries/{second}"))
        .unwrap()
        .body;
    assert_eq!(
        (&view["state"], &view["attempts"]),
        (&"leased".into(), &1.into())
    );
}

#[test]
fn what_does_not_end_in_time_is_given_back_uncharged() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("courier.db");
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Serve::start(&database, "127.0.0.1:0", &["--drain-seconds", "0"]);
    let endpoint = server.endpoint(&format!("http://{}/", receiver.local_addr().unwrap()));
    let delivery = publish(&server, &endpoint, "k", r#"{"n":1}"#);
    let (mut stream, _) = receiver.accept().unwrap();
    read_request(&mut stream, r#"{"n":1}"#);
    server.terminate();
    let (code, error) = server.wait();
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("1 deliveries given back"), "{error}");
    assert!(!error.contains("took back"), "{error}");

    let server = Serve::start(&database, "127.0.0.1:0", &[]);
    let (mut stream, _) = receiver.accept().unwrap();
    read_request(&mut stream, r#"{"n":1}"#);
    let view = server.get(&format!("/v1/deliveries/{delivery}")).unwrap();
    assert_eq!(
        view.body["attempts"], 1,
        "the attempt given back was charged"
    );
}

#[test]
fn a_child_stops_when_its_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("courier.db");
    let mut server = Serve::start(&database, "127.0.0.1:0", &[]);
    server.close_input();
    let (code, error) = server.wait();
    assert_eq!(code, Some(0), "{error}");
}
