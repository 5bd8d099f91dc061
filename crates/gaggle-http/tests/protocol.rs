//! One connection at a time: what is kept, refused, limited and timed out.

mod common;

use bytes::Bytes;
use common::{Client, Running, echo};
use gaggle_http::Server;
use http::Response;
use std::time::Duration;

#[test]
fn requests_on_one_connection_are_answered_in_turn() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    for round in 0..100 {
        assert_eq!(
            client.get(&format!("/{round}")).body,
            format!("GET /{round} ")
        );
        assert_eq!(
            client.post("/b", &round.to_string()).body,
            format!("POST /b {round}")
        );
    }
    server.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    let mut text = String::new();
    for round in 0..50 {
        text += &format!("GET /{round} HTTP/1.1\r\nHost: test\r\n\r\n");
        text += &format!("POST /{round} HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
    }
    client.send(&text);
    for round in 0..50 {
        assert_eq!(client.answer().body, format!("GET /{round} "));
        assert_eq!(client.answer().body, format!("POST /{round} abc"));
    }
    server.stop();
}

#[test]
fn a_request_that_asks_to_close_is_answered_and_closed() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send("GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().body, "GET /last ");
    client.expect_end();
    let mut client = server.connect();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, "GET /old ");
    client.expect_end();
    server.stop();
}

#[test]
fn a_client_that_shuts_its_writing_side_still_gets_its_answer() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
    client.shut_write();
    assert_eq!(client.answer().body, "GET /half ");
    client.expect_end();
    server.stop();
}

#[test]
fn a_head_and_a_body_that_come_in_pieces_are_put_together() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    for piece in [
        "POST /pie",
        "ces HTTP/1.1\r\nHo",
        "st: test\r\nContent-Length: 6",
        "\r\n\r\n",
    ] {
        client.send(piece);
        std::thread::yield_now();
    }
    for piece in ["ab", "cd", "ef"] {
        client.send(piece);
        std::thread::yield_now();
    }
    assert_eq!(client.answer().body, "POST /pieces abcdef");
    server.stop();
}

#[test]
fn a_chunked_body_is_collected() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send("POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("4\r\ndefg\r\n0\r\n\r\n");
    assert_eq!(client.answer().body, "POST /c abcdefg");
    assert_eq!(client.get("/next").body, "GET /next ");
    server.stop();
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends_the_body() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send(
        "POST /e HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer().status, 100);
    client.send("body");
    assert_eq!(client.answer().body, "POST /e body");
    server.stop();
}

#[test]
fn a_large_body_goes_both_ways() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    let body = "0123456789abcdef".repeat(40_000);
    let answer = client.post("/l", &body);
    assert_eq!(answer.body, format!("POST /l {body}"));
    server.stop();
}

#[test]
fn a_malformed_request_is_answered_400_and_closed() {
    let server = Running::handler(Server::builder(), echo);
    for text in [
        "what is this\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(text);
        assert_eq!(client.answer().status, 400, "{text:?}");
        client.expect_end();
    }
    server.stop();
}

#[test]
fn a_head_over_the_limit_is_answered_431() {
    let server = Running::handler(Server::builder().head_bytes_max(8 * 1024), echo);
    let mut client = server.connect();
    let long = "x".repeat(20_000);
    client.send(&format!(
        "GET / HTTP/1.1\r\nHost: test\r\nLong: {long}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 431);
    client.expect_end();
    server.stop();
}

#[test]
fn a_declared_body_over_the_limit_is_answered_413_without_reading_it() {
    let server = Running::handler(Server::builder().body_bytes_max(10), echo);
    let mut client = server.connect();
    assert_eq!(client.post("/", "0123456789").body, "POST / 0123456789");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
    client.shut_write();
    client.expect_end();
    server.stop();
}

#[test]
fn a_client_that_sends_a_refused_body_whole_still_reads_the_413() {
    let server = Running::handler(Server::builder().body_bytes_max(1000), echo);
    for _ in 0..20 {
        let mut client = server.connect();
        assert_eq!(client.post("/", &"x".repeat(300_000)).status, 413);
        client.shut_write();
        client.expect_end();
    }
    server.stop();
}

#[test]
fn a_chunked_body_over_the_limit_is_answered_413() {
    let server = Running::handler(Server::builder().body_bytes_max(10), echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("8\r\n01234567\r\n8\r\n01234567\r\n");
    assert_eq!(client.answer().status, 413);
    client.shut_write();
    client.expect_end();
    server.stop();
}

#[test]
fn a_malformed_chunk_is_answered_400() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    assert_eq!(client.answer().status, 400);
    client.shut_write();
    client.expect_end();
    server.stop();
}

#[test]
fn a_handler_that_panics_answers_500_and_the_server_goes_on() {
    let server = Running::handler(Server::builder(), |context, request| {
        assert!(request.uri().path() != "/panic", "asked to");
        echo(context, request)
    });
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!(client.get("/panic").status, 500);
        client.expect_end();
        assert_eq!(server.connect().get("/fine").body, "GET /fine ");
    }
    server.stop();
}

#[test]
fn a_client_too_slow_with_its_head_gets_408() {
    let limit = Duration::from_millis(200);
    let server = Running::handler(Server::builder().header_read_timeout(limit), echo);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    assert_eq!(client.answer().status, 408);
    client.expect_end();
    server.stop();
}

#[test]
fn a_client_too_slow_with_its_body_gets_408() {
    let limit = Duration::from_millis(200);
    let server = Running::handler(Server::builder().body_read_timeout(limit), echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.answer().status, 408);
    client.expect_end();
    server.stop();
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed() {
    let limit = Duration::from_millis(200);
    let builder = Server::builder()
        .header_read_timeout(limit)
        .idle_timeout(limit);
    let server = Running::handler(builder, echo);
    let mut mute = server.connect();
    let mut idle = server.connect();
    assert_eq!(idle.get("/").status, 200);
    mute.expect_end();
    idle.expect_end();
    server.stop();
}

#[test]
fn a_client_that_goes_away_in_a_body_harms_nobody() {
    let server = Running::handler(Server::builder(), echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    drop(client);
    assert_eq!(Client::connect(server.address).get("/").status, 200);
    server.stop();
}

#[test]
fn a_client_that_never_reads_its_response_is_given_up() {
    // More than the buffers of both sides hold, so that only a reader or the limit ends the write.
    let response = Bytes::from(vec![b'x'; 64 << 20]);
    let limit = Duration::from_millis(200);
    let server = Running::handler(Server::builder().write_timeout(limit), move |_, _| {
        Response::new(response.clone())
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.wait_for_a_byte();
    // Waits for the connection, whose client is still there.
    server.stop();
}

#[test]
fn an_unmodified_blocking_client_reuses_its_connection() {
    let server = Running::handler(Server::builder(), |_, request| {
        Response::builder()
            .status(201)
            .body(request.into_body())
            .expect("a plain response")
    });
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("http://{}/", server.address);
    for _ in 0..10 {
        let mut answer = agent.post(&url).send("over ureq").expect("an answer");
        assert_eq!(answer.status(), 201);
        assert_eq!(
            answer.body_mut().read_to_string().expect("text"),
            "over ureq"
        );
    }
    drop(agent);
    server.stop();
}

#[test]
fn a_response_to_head_has_no_body() {
    let server = Running::handler(Server::builder(), |_, _| {
        Response::new(Bytes::from("hello"))
    });
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    client.shut_write();
    let text = client.rest();
    assert!(
        text.contains("content-length: 5\r\n") && text.ends_with("\r\n\r\n"),
        "{text:?}"
    );
    server.stop();
}
