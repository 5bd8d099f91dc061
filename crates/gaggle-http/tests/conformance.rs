//! What a careful server does with requests that are wrong, or meant to be misunderstood: it refuses them,
//! closes the connection, and is fine afterwards. By RFC 9110 and 9112; the bytes go over raw sockets.

mod common;

use common::{Client, Running, echo, under_load};
use gaggle_http::Server;
use std::time::Duration;

/// Sends `text`, and expects a refusal with one of `statuses`, the connection's end, and no other answer.
fn refused(server: &Running, text: &str, statuses: &[u16]) {
    let mut client = server.connect();
    client.send(text);
    let answer = client.answer();
    assert!(
        statuses.contains(&answer.status),
        "{} for {text:?}",
        answer.status
    );
    client.shut_write();
    client.expect_end();
}

/// The server answers on a new connection.
fn fine(server: &Running) {
    assert_eq!(server.connect().get("/fine").body, "GET /fine ");
}

#[test]
fn malformed_request_lines_are_refused() {
    let server = Running::handler(Server::builder(), echo);
    for text in [
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1 extra\r\n\r\n",
        "GET / HTTP/1.x\r\n\r\n",
        "GET / HTTP/3.7\r\n\r\n",
        "GET / HTTPS/1.1\r\n\r\n",
        "G\x01T / HTTP/1.1\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "{\"json\": true}\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        refused(&server, text, &[400, 505]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn malformed_headers_are_refused() {
    let server = Running::handler(Server::builder(), echo);
    for header in [
        "no colon",
        ": no name",
        "Space : before the colon",
        "Control\x01: in the name",
        "Value: with\x00null",
        "B(ad): delimiter in the name",
        "Content-Length : 5",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: test\r\n{header}\r\n\r\n");
        refused(&server, &text, &[400]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn requests_that_another_may_end_elsewhere_are_refused() {
    let server = Running::handler(Server::builder(), echo);
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        // What follows would be a second request to who ends the first one before it.
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
        let text = format!("POST / HTTP/1.1\r\nHost: test\r\n{headers}\r\n{smuggled}");
        refused(&server, &text, &[400, 501]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn lines_that_are_folded_or_end_otherwise_than_by_cr_lf_are_refused() {
    let server = Running::handler(Server::builder(), echo);
    for text in [
        "GET / HTTP/1.1\r\nHost: test\r\nFolded: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nFolded: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: test\r\n\r\n",
        "GET / HTTP/1.1\nHost: test\n\n",
        "GET / HTTP/1.1\r\nHost: test\nBare: lf\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\rBare: cr\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\n\n",
    ] {
        refused(&server, text, &[400]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn a_bad_request_behind_a_good_one_is_refused_and_the_good_one_answered() {
    let server = Running::handler(Server::builder(), echo);
    for bad in [
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: test\n\n",
    ] {
        for good in [
            "GET /good HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /good HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
            "GET /good HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ] {
            let mut client = server.connect();
            client.send(&format!("{good}{bad}"));
            assert!(client.answer().body.starts_with("GET /good "), "{good:?}");
            assert_eq!(client.answer().status, 400);
            client.shut_write();
            client.expect_end();
        }
    }
    fine(&server);
    server.stop();
}

#[test]
fn malformed_chunks_are_refused() {
    let server = Running::handler(Server::builder(), echo);
    for chunks in [
        "x\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
    ] {
        let text =
            format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        refused(&server, &text, &[400]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let server = Running::handler(Server::builder().head_bytes_max(16 * 1024), echo);
    let long = "x".repeat(40_000);
    for text in [
        format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: test\r\nLong: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: test\r\n{long}: long\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{}\r\n", "Many: x\r\n".repeat(200)),
    ] {
        refused(&server, &text, &[400, 414, 431]);
    }
    fine(&server);
    server.stop();
}

#[test]
fn head_that_never_ends_is_refused_at_the_limit() {
    let server = Running::handler(Server::builder().head_bytes_max(16 * 1024), echo);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\n");
    for _ in 0..3 {
        client.send(&format!("Long: {}\r\n", "x".repeat(8_000)));
    }
    assert_eq!(client.answer().status, 431);
    client.shut_write();
    client.expect_end();
    fine(&server);
    server.stop();
}

#[test]
fn empty_lines_before_a_request_and_odd_but_legal_requests_are_answered() {
    let server = Running::handler(Server::builder(), echo);
    for (text, body) in [
        ("\r\n\r\nGET /a HTTP/1.1\r\nHost: test\r\n\r\n", "GET /a "),
        (
            "GET /b HTTP/1.1\r\nHOST:test\r\nEmpty:\r\nTab:\ta\t\r\n\r\n",
            "GET /b ",
        ),
        (
            "POST /c HTTP/1.1\r\nHost: test\r\ntransfer-encoding: CHUNKED\r\n\r\n\
             03;name=\"a;b\"\r\nabc\r\n00\r\nTrailer: t\r\n\r\n",
            "POST /c abc",
        ),
        (
            "POST /d HTTP/1.1\r\nHost: test\r\nContent-Length: 0003\r\n\r\nabc",
            "POST /d abc",
        ),
        ("FROB /e HTTP/1.1\r\nHost: test\r\n\r\n", "FROB /e "),
        (
            "GET http://test/f HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /f ",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", "OPTIONS * "),
    ] {
        let mut client = server.connect();
        client.send(text);
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, body),
            "{text:?}"
        );
        assert_eq!(client.get("/after").body, "GET /after ");
    }
    server.stop();
}

#[test]
fn bytes_that_come_one_by_one_are_understood_alike() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    let text = "POST /one HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nhi\r\n0\r\n\r\nPOST /two HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nho";
    for byte in text.chars() {
        client.send(byte.encode_utf8(&mut [0; 4]));
    }
    assert_eq!(client.answer().body, "POST /one hi");
    assert_eq!(client.answer().body, "POST /two ho");
    server.stop();
}

#[test]
fn clients_that_send_half_a_head_are_ended_and_keep_nobody_waiting() {
    let (slow, limit) = match under_load() {
        true => (5_000, Duration::from_secs(10)),
        false => (200, Duration::from_secs(1)),
    };
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be raised");
    let server = Running::handler(Server::builder().header_read_timeout(limit), echo);
    let mut kept = server.connect();
    let mut slow: Vec<Client> = (0..slow)
        .map(|number| {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHost: te");
            if number % 20 == 0 {
                // Those that came before are all still there, and in nobody's way.
                assert_eq!(kept.get("/kept").body, "GET /kept ");
                fine(&server);
            }
            client
        })
        .collect();
    for client in &mut slow {
        assert_eq!(client.answer().status, 408);
        client.expect_end();
    }
    fine(&server);
    server.stop();
}

#[test]
fn a_head_that_dribbles_is_late_all_the_same() {
    let limit = Duration::from_millis(300);
    let server = Running::handler(Server::builder().header_read_timeout(limit), echo);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\n");
    // A byte well within each limit, until the server has said that it is enough.
    while client.is_silent_for(Duration::from_millis(20)) {
        client.send("x");
    }
    assert_eq!(client.answer().status, 408);
    server.stop();
}
