//! Bad input to a real `courier serve`: a clear error each, the right status, and nothing lost.

mod common;

use common::{Serve, message, output};
use std::net::TcpListener;
use tempfile::TempDir;

/// A courier whose only endpoint is a listener that never answers, and the endpoint's id.
fn serve(arguments: &[&str]) -> (TempDir, Serve, TcpListener, String) {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Serve::start(&folder.path().join("c.db"), "127.0.0.1:0", arguments);
    let endpoint = server.endpoint(&format!("http://{}/", silent.local_addr().unwrap()));
    (folder, server, silent, endpoint)
}

#[test]
fn malformed_requests_are_400_and_store_nothing() {
    let (_folder, server, _silent, endpoint) = serve(&[]);
    for (body, code) in [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ("{\"payload\":\u{1}}", "malformed_json"),
        ("[]", "invalid_request"),
        ("{}", "invalid_request"),
        (r#"{"event_type":"t","payload":{}}"#, "invalid_request"),
        (
            r#"{"endpoint":"E","endpoints":["E"],"event_type":"t","payload":{}}"#,
            "invalid_request",
        ),
        (
            r#"{"endpoints":[],"event_type":"t","payload":{}}"#,
            "invalid_request",
        ),
        (
            r#"{"endpoints":["E","E"],"event_type":"t","payload":{}}"#,
            "invalid_request",
        ),
        (
            r#"{"endpoint":"E","event_type":"","payload":{}}"#,
            "invalid_request",
        ),
        (
            r#"{"endpoint":"E","event_type":"t","payload":{},"extra":1}"#,
            "invalid_request",
        ),
        (
            r#"{"endpoint":"E","event_type":"t","payload":{"a":}}"#,
            "malformed_json",
        ),
    ] {
        let body = body.replace('E', &endpoint);
        let answer = server.post("/v1/messages", None, body.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
        let message = &answer.body["error"]["message"];
        assert!(!message.as_str().unwrap().is_empty(), "{body}");
    }
    for body in [
        r#"{"url":"ftp://example.com/"}"#,
        r#"{"url":"http://10.0.0.1/"}"#,
        r#"{"url":"http://example.com/","secret":"short"}"#,
        r#"{"secret":"whsec_"}"#,
    ] {
        let answer = server.post("/v1/endpoints", None, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(server.metric("courier_deliveries_unfinished"), 0);
    assert_eq!(server.metric("courier_messages_published_total"), 0);
}

#[test]
fn what_is_unknown_is_404_and_a_wrong_method_405() {
    let (folder, server, _silent, endpoint) = serve(&[]);
    let other_store = format!("ep_{:016x}1", 0);
    for name in ["ep_1", "", &other_store, &endpoint.replace("ep_", "dlv_")] {
        let body = message(name, "k", "{}");
        let answer = server.post("/v1/messages", None, &body).unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (404, "unknown_endpoint"),
            "{name}"
        );
    }
    for path in ["/v1/deliveries/dlv_1", "/v1/deliveries/", "/", "/v1"] {
        assert_eq!(server.get(path).unwrap().status, 404, "{path}");
    }
    let answer = server.get("/v1/messages").unwrap();
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    assert_eq!(server.get("/healthz").unwrap().status, 200);
    assert_eq!(server.metric("courier_messages_published_total"), 0);
    drop(folder);
}

#[test]
fn a_payload_over_256_kilobytes_is_413_and_one_of_that_size_is_taken() {
    let (_folder, server, _silent, endpoint) = serve(&[]);
    let payload = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let body = message(&endpoint, "k", &payload(256 * 1024 + 1));
    let answer = server.post("/v1/messages", None, &body).unwrap();
    assert_eq!((answer.status, answer.code()), (413, "payload_too_large"));
    let body = message(&endpoint, "k", &payload(256 * 1024));
    let answer = server.post("/v1/messages", None, &body).unwrap();
    assert_eq!(answer.status, 202);
    assert_eq!(server.metric("courier_messages_published_total"), 1);
}

#[test]
fn an_idempotency_key_answers_as_before_or_conflicts() {
    let (_folder, server, _silent, endpoint) = serve(&[]);
    let post = |key: &str, body: &[u8]| server.post("/v1/messages", Some(key), body).unwrap();
    let body = message(&endpoint, "k", r#"{"n":1}"#);
    let first = post("once", &body);
    assert_eq!(first.status, 202);
    let again = post("once", &body);
    assert_eq!((again.status, &again.body), (202, &first.body));
    let other = post("once", &message(&endpoint, "k", r#"{"n":2}"#));
    assert_eq!((other.status, other.code()), (409, "idempotency_conflict"));
    let long = post(&"k".repeat(256), &body);
    assert_eq!((long.status, long.code()), (400, "invalid_request"));
    assert_eq!(server.metric("courier_messages_published_total"), 1);
    assert_eq!(server.metric("courier_messages_replayed_total"), 1);
}

#[test]
fn a_full_queue_is_429_with_retry_after_and_keeps_what_it_has() {
    let (_folder, server, _silent, endpoint) = serve(&["--queue-limit", "3"]);
    let body = message(&endpoint, "k", "{}");
    for n in 0..3 {
        let key = n.to_string();
        let answer = server.post("/v1/messages", Some(&key), &body).unwrap();
        assert_eq!(answer.status, 202);
    }
    let full = server.post("/v1/messages", Some("3"), &body).unwrap();
    assert_eq!((full.status, full.code()), (429, "queue_full"));
    assert_eq!(full.retry_after.as_deref(), Some("1"));
    // What was taken is answered as before, also now.
    let replay = server.post("/v1/messages", Some("0"), &body).unwrap();
    assert_eq!(replay.status, 202);
    assert_eq!(server.metric("courier_deliveries_unfinished"), 3);
}

#[test]
fn a_database_that_cannot_be_written_or_is_held_ends_with_1_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/courier.db");
    let missing = missing.to_str().unwrap();
    let run = output(&["serve", "--listen", "127.0.0.1:0", "--database", missing]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{error}");
    assert!(
        error.contains("cannot write") && error.contains(missing),
        "{error}"
    );

    let held = folder.path().join("courier.db");
    let _first = Serve::start(&held, "127.0.0.1:0", &[]);
    let held = held.to_str().unwrap();
    let run = output(&["serve", "--listen", "127.0.0.1:0", "--database", held]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{error}");
    assert!(error.contains("another courier"), "{error}");
}

#[test]
fn a_port_in_use_ends_with_1_and_wrong_usage_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = folder.path().join("courier.db");
    let database = database.to_str().unwrap();
    let run = output(&["serve", "--listen", &address, "--database", database]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{error}");
    assert!(error.contains(&address), "{error}");
    for arguments in [
        &["serve", "--workers", "0"][..],
        &["serve", "--lease-seconds", "5"],
        &["fly"],
        &[],
    ] {
        assert_eq!(output(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = output(&["serve", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("COURIER_DATABASE"), "{text}");
}

#[test]
fn events_that_are_none_end_the_demo_with_1_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    std::fs::write(&path, "{\"id\":\"a\",\"customer\":\"x\"}\nnonsense\n").unwrap();
    let run = output(&["demo", "--events", path.to_str().unwrap()]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{error}");
    assert!(error.contains("line 2"), "{error}");
}
