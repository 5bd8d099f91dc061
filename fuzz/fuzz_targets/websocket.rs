//! A WebSocket's server on a socket: whatever follows the greeting, it ends the connection, and what it sends
//! are whole frames of its own (RFC 6455, 5.2), except for the last, which a reset may cut off.

#![no_main]

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_fuzz::{cut, exchange, listener};
use gaggle_http::Server;
use gaggle_http::websocket::{self, Options};
use http::Request;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

const GREETING: &[u8] =
    b"GET / HTTP/1.1\r\nHost: fuzz\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MESSAGE_BYTES_MAX: usize = 4096;

static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let (listener, path) = listener("websocket");
    let echo = |_: &Context, request: Request<Bytes>| {
        let options = Options::default().message_bytes_max(MESSAGE_BYTES_MAX);
        websocket::accept(&request, options, |socket| {
            while let Ok(message) = socket.recv() {
                if socket.send(message).is_err() {
                    break;
                }
            }
        })
    };
    gaggle::go(move || Server::default().serve(listener, &context::background(), echo));
    path
});

fn check_frames(mut said: &[u8]) {
    while let [first, second, rest @ ..] = said {
        assert_eq!(first & 0x70, 0, "a reserved bit");
        let code = first & 0x0f;
        assert!(matches!(code, 0..=2 | 8..=10), "an unknown code");
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let (length, rest) = match second & 0x7f {
            126 if rest.len() >= 2 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            126 | 127 => {
                assert_eq!(second & 0x7f, 126, "longer than any message may be");
                return;
            }
            length => (usize::from(length), rest),
        };
        assert!(length <= MESSAGE_BYTES_MAX);
        said = rest.get(length..).unwrap_or_default();
    }
}

fuzz_target!(|input: &[u8]| {
    let (first, second) = cut(input);
    let said = exchange(&SERVER, &[GREETING, first, second]);
    assert!(said.starts_with(b"HTTP/1.1 101 "), "the greeting is right");
    let head = said.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    check_frames(&said[head.expect("a whole head") + 4..]);
});
