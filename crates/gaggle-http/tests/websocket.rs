//! WebSockets: between our own two sides, and with tungstenite's own blocking client as the other one.

mod common;

use bytes::Bytes;
use common::Running;
use gaggle::context;
use gaggle_http::websocket::{
    self, Backoff, Message, Options, Reconnecting, WebSocket, WebSocketError,
};
use gaggle_http::{Server, tls};
use http::Response;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

/// Starts a server whose every request is one for a WebSocket.
fn start(options: Options, handler: impl Fn(WebSocket) + Clone + Send + Sync + 'static) -> Running {
    Running::handler(Server::builder(), move |_, request| {
        let handler = handler.clone();
        websocket::accept(&request, options.clone(), handler)
    })
}

fn echo(socket: WebSocket) {
    while let Ok(message) = socket.recv() {
        socket.send(message).expect("the client is there");
    }
}

fn url(server: &Running) -> String {
    format!("ws://{}/", server.address)
}

fn connect(server: &Running) -> WebSocket {
    WebSocket::connect(&url(server), Options::default()).expect("the server greets")
}

#[test]
fn messages_of_both_kinds_and_all_sizes_come_back() {
    let server = start(Options::default(), echo);
    let socket = connect(&server);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let text = "x".repeat(size);
        socket.send(text.as_str()).expect("the server reads");
        assert_eq!(socket.recv().expect("an echo"), Message::Text(text));
        let bytes = Bytes::from(vec![7; size]);
        socket.send(bytes.clone()).expect("the server reads");
        assert_eq!(socket.recv().expect("an echo"), Message::Binary(bytes));
    }
    socket.close(1000, "done").expect("the server is there");
    match socket.recv() {
        Err(WebSocketError::Closed { code, reason }) => {
            assert_eq!((code, reason.as_str()), (1000, "done"));
        }
        other => panic!("{other:?}"),
    }
    server.stop();
}

#[test]
fn client_of_another_make_is_understood() {
    let server = start(Options::default(), echo);
    let (mut client, _) = tungstenite::connect(url(&server)).expect("the server greets");
    for text in ["one", "two"] {
        client.send(text.into()).expect("the server reads");
        assert_eq!(
            client.read().expect("an echo").to_text().expect("text"),
            text
        );
    }
    client
        .send(tungstenite::Message::Ping(Bytes::from_static(b"there?")))
        .expect("the server reads");
    let pong = client.read().expect("an answer");
    assert_eq!(
        pong,
        tungstenite::Message::Pong(Bytes::from_static(b"there?"))
    );
    client.close(None).expect("the server is there");
    while client.read().is_ok() {}
    server.stop();
}

#[test]
fn many_send_at_once_and_every_message_arrives_whole() {
    const SENDERS: usize = 8;
    const EACH: usize = 50;
    let server = start(Options::default(), |socket| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let socket = socket.clone();
                gaggle::go(move || {
                    for round in 0..EACH {
                        let text = format!("{number} {round} {}", "y".repeat(round * 100));
                        socket.send(text).expect("the client reads");
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().expect("no panic");
        }
    });
    let socket = connect(&server);
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * EACH {
        let message = socket.recv().expect("a message");
        let text = message.as_text().expect("text");
        let mut words = text.split(' ');
        let mut number = || -> usize {
            words
                .next()
                .and_then(|word| word.parse().ok())
                .expect("one")
        };
        let (sender, round) = (number(), number());
        assert_eq!(round, next[sender], "in the order of sending");
        next[sender] += 1;
        assert_eq!(words.next().map(str::len), Some(round * 100));
    }
    assert!(matches!(
        socket.recv(),
        Err(WebSocketError::Closed { code: 1000, .. })
    ));
    server.stop();
}

#[test]
fn both_sides_send_much_before_they_receive() {
    // A megabyte each way fits into no buffer: who sends must not keep who receives waiting.
    const EACH: usize = 64;
    let flood = |socket: &WebSocket| {
        let sender = socket.clone();
        let sending = gaggle::go(move || {
            for _ in 0..EACH {
                sender.send(vec![1; 128 * 1024]).expect("the peer reads");
            }
        });
        for _ in 0..EACH {
            socket.recv().expect("the peer sends");
        }
        sending.join().expect("no panic");
    };
    let server = start(Options::default(), move |socket| flood(&socket));
    let socket = connect(&server);
    gaggle::go(move || flood(&socket)).join().expect("no panic");
    server.stop();
}

#[test]
fn silence_is_asked_about_and_answered_while_both_receive() {
    let beat = Duration::from_millis(30);
    let server = start(Options::default().heartbeat(beat), echo);
    let socket = WebSocket::connect(&url(&server), Options::default().heartbeat(beat))
        .expect("the server greets");
    let received = gaggle::go({
        let socket = socket.clone();
        move || socket.recv()
    });
    // Many beats, in which only pings and pongs pass.
    gaggle::time::sleep(beat * 10);
    socket.send("still here").expect("the server is there");
    let message = received.join().expect("no panic").expect("no failure");
    assert_eq!(message.as_text(), Some("still here"));
    drop(socket);
    server.stop();
}

#[test]
fn peer_that_answers_nothing_is_given_up() {
    let (ended, has_ended) = mpsc::channel();
    let server = start(
        Options::default().heartbeat(Duration::from_millis(50)),
        move |socket| {
            ended.send(socket.recv()).expect("the test waits");
        },
    );
    // It greets, and then reads and says nothing.
    let mut client = server.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    // The value of RFC 6455, 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    match has_ended.recv().expect("the handler goes on") {
        Err(WebSocketError::Lost(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        }
        other => panic!("{other:?}"),
    }
    server.stop();
}

#[test]
fn request_that_is_none_for_a_websocket_is_refused() {
    let server = start(Options::default(), |_| panic!("nobody greets"));
    assert_eq!(server.connect().get("/").status, 400);
    let mut client = server.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    server.stop();
}

#[test]
fn address_that_is_none_and_server_that_is_none_are_errors() {
    for url in ["http://localhost/", "nonsense", "ws://"] {
        let outcome = WebSocket::connect(url, Options::default());
        assert!(matches!(outcome, Err(WebSocketError::Refused(_))), "{url}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = closed.local_addr().expect("a bound address");
    drop(closed);
    let outcome = WebSocket::connect(&format!("ws://{address}/"), Options::default());
    assert!(matches!(outcome, Err(WebSocketError::Lost(_))));
    let plain = Running::handler(Server::builder(), |_, _| Response::new(Bytes::new()));
    let outcome = WebSocket::connect(&url(&plain), Options::default());
    assert!(matches!(outcome, Err(WebSocketError::Refused(_))));
    plain.stop();
}

#[test]
fn message_over_the_limit_ends_the_connection() {
    let (ended, has_ended) = mpsc::channel();
    let server = start(Options::default().message_bytes_max(1000), move |socket| {
        assert!(socket.recv().is_ok());
        ended.send(socket.recv()).expect("the test waits");
    });
    let socket = connect(&server);
    socket.send(vec![0; 1000]).expect("the server reads");
    socket.send(vec![0; 1001]).expect("the server reads");
    assert!(matches!(
        has_ended.recv().expect("the handler goes on"),
        Err(WebSocketError::Protocol(_))
    ));
    drop(socket);
    server.stop();
}

#[test]
fn subprotocol_is_chosen_where_it_is_offered() {
    let options = Options::default().protocol("chat.v2");
    let server = start(options.clone(), echo);
    let socket = WebSocket::connect(&url(&server), options).expect("it is chosen");
    socket.send("x").expect("the server reads");
    assert_eq!(socket.recv().expect("an echo").as_text(), Some("x"));
    // What is not offered is not chosen, and one who insists on it refuses.
    let other = Options::default().protocol("chat.v1");
    assert!(WebSocket::connect(&url(&server), other).is_err());
    drop(socket);
    server.stop();
}

#[test]
fn messages_pass_through_tls() {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let chain = made.cert.pem();
    let config = tls::server_config(
        chain.as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    )
    .expect("they belong");
    let builder = Server::builder().tls(config);
    let server = Running::handler(builder, |_, request| {
        websocket::accept(&request, Options::default(), echo)
    });
    let url = format!("wss://{}/", server.address);
    let trusting = tls::client_config(chain.as_bytes()).expect("it is one");
    let socket = WebSocket::connect(&url, Options::default().tls(trusting)).expect("a greeting");
    for size in [1, 100_000, 1_000_000] {
        let text = "z".repeat(size);
        socket.send(text.as_str()).expect("the server reads");
        assert_eq!(socket.recv().expect("an echo"), Message::Text(text));
    }
    socket.close(1000, "").expect("the server is there");
    assert!(matches!(socket.recv(), Err(WebSocketError::Closed { .. })));
    // Who trusts nobody is refused by its own side.
    assert!(WebSocket::connect(&url, Options::default()).is_err());
    server.stop();
}

#[test]
fn stop_says_goodbye_to_who_waits_for_a_message() {
    let server = start(Options::default(), echo);
    let socket = connect(&server);
    socket.send("hello").expect("the server reads");
    assert!(socket.recv().is_ok());
    let stopping = server.begin_stop();
    assert!(matches!(
        socket.recv(),
        Err(WebSocketError::Closed { code: 1001, .. })
    ));
    let stopped = stopping.join().expect("no panic").expect("no failure");
    assert_eq!(stopped.aborted_connections, 0);
}

#[test]
fn handler_learns_that_its_client_is_gone_while_it_sends_nothing() {
    let (ended, has_ended) = mpsc::channel();
    let server = start(Options::default(), move |socket| {
        let _ = socket.context().done().recv();
        ended.send(()).expect("the test waits");
    });
    let socket = connect(&server);
    socket.abort();
    has_ended.recv().expect("the context ends");
    server.stop();
}

#[test]
fn lost_connection_is_made_again_and_goes_on_where_it_was() {
    const COUNT: u64 = 30;
    // A feed of numbers that breaks off after every seven, and begins where it is told to.
    let server = start(Options::default(), |socket| {
        let asked = socket.recv().expect("a client says where it is");
        let text = asked.as_text().expect("text").to_owned();
        let from: u64 = text
            .strip_prefix("after ")
            .and_then(|word| word.parse().ok())
            .expect("it says so");
        for number in from + 1..=from + 7 {
            socket.send(number.to_string()).expect("the client reads");
        }
        // Without a goodbye, as when a cable is cut; what was sent has arrived.
        assert!(socket.recv().is_ok(), "the client says when");
        socket.abort();
    });
    let seen = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&seen);
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
    let feed = Reconnecting::new(url(&server), Options::default(), backoff)
        .on_connect(move |socket| socket.send(format!("after {}", last.load(Ordering::Relaxed))));
    let context = context::background();
    for expected in 1..=COUNT {
        let message = feed.recv(&context).expect("it goes on");
        let number: u64 = message
            .as_text()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert_eq!(number, expected);
        seen.store(number, Ordering::Relaxed);
        if number.is_multiple_of(7) {
            feed.send(&context, "seven").expect("it is connected");
        }
    }
    assert_eq!(feed.connections(), 5);
    feed.close();
    drop(feed);
    server.stop();
}

#[test]
fn reconnecting_ends_with_its_context() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = closed.local_addr().expect("a bound address");
    drop(closed);
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let feed = Reconnecting::new(format!("ws://{address}/"), Options::default(), backoff);
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(50));
    assert!(matches!(
        feed.recv(&context),
        Err(WebSocketError::Refused(_))
    ));
    assert_eq!(feed.connections(), 0);
    // And where a connection is there but nothing comes.
    let server = start(Options::default(), echo);
    let feed = Reconnecting::new(url(&server), Options::default(), backoff);
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(50));
    assert!(matches!(
        feed.recv(&context),
        Err(WebSocketError::Refused(_))
    ));
    drop(feed);
    server.stop();
}

#[test]
fn a_hundred_sockets_at_once_hear_what_one_says() {
    const COUNT: usize = 100;
    let all: Arc<Mutex<Vec<WebSocket>>> = Arc::default();
    let all_in = Arc::new(Barrier::new(COUNT + 1));
    let room = Arc::clone(&all);
    let door = Arc::clone(&all_in);
    let server = start(Options::default(), move |socket| {
        room.lock().expect("no panic").push(socket.clone());
        door.wait();
        while let Ok(message) = socket.recv() {
            let others = room.lock().expect("no panic").clone();
            for other in others {
                other.send(message.clone()).expect("all are there");
            }
        }
    });
    let sockets: Vec<_> = (0..COUNT).map(|_| connect(&server)).collect();
    all_in.wait();
    sockets[0].send("hear").expect("the server reads");
    for socket in &sockets {
        assert_eq!(socket.recv().expect("a message").as_text(), Some("hear"));
    }
    drop(sockets);
    all.lock().expect("no panic").clear();
    server.stop();
}

#[test]
fn axum_routes_a_websocket_beside_other_requests() {
    async fn upgrade(request: axum::extract::Request) -> axum::response::Response {
        websocket::accept(&request, Options::default(), echo).map(axum::body::Body::from)
    }
    let router = axum::Router::new()
        .route("/ws", axum::routing::get(upgrade))
        .route("/", axum::routing::get(async || "plain"));
    let server = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, router)
    });
    assert_eq!(server.connect().get("/").body, "plain");
    let url = format!("ws://{}/ws", server.address);
    let socket = WebSocket::connect(&url, Options::default()).expect("the server greets");
    socket.send("through axum").expect("the server reads");
    assert_eq!(
        socket.recv().expect("an echo").as_text(),
        Some("through axum")
    );
    drop(socket);
    server.stop();
}
