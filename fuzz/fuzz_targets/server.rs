//! The server of HTTP/1.1 as a whole, on a socket: whatever comes, it ends the connection, what it answers is
//! HTTP, and what its handler is called with is what a strict reading finds in the bytes.

#![no_main]

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_fuzz::strict::{self, Seen};
use gaggle_fuzz::{cut, exchange, listener};
use gaggle_http::Server;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

/// What the handler was called with.
static CALLS: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let (listener, path) = listener("server");
    let handler = |_: &Context, request: Request<Bytes>| {
        let seen = Seen {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            body: request.body().to_vec(),
        };
        CALLS.lock().expect("no panic").push(seen);
        Response::new(Bytes::new())
    };
    gaggle::go(move || Server::default().serve(listener, &context::background(), handler));
    path
});

/// How many answers with success there are.
fn successes(mut said: &[u8]) -> usize {
    let mut count = 0;
    while !said.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(said).expect("an answer is HTTP");
        let httparse::Status::Complete(end) = parsed else {
            // The connection was reset when it had not all been sent.
            break;
        };
        let length = response.headers.iter().find_map(|header| {
            let is_it = header.name.eq_ignore_ascii_case("content-length");
            is_it.then(|| std::str::from_utf8(header.value).ok()?.parse().ok())?
        });
        let length: usize = length.unwrap_or(0);
        count += usize::from(response.code.is_some_and(|code| (200..300).contains(&code)));
        said = said.get(end + length..).unwrap_or_default();
    }
    count
}

fuzz_target!(|input: &[u8]| {
    let (first, second) = cut(input);
    CALLS.lock().expect("no panic").clear();
    let said = exchange(&SERVER, &[first, second]);
    let answered = successes(&said);
    let calls = std::mem::take(&mut *CALLS.lock().expect("no panic"));
    assert!(answered <= calls.len(), "nobody answered that");
    let known = strict::requests(&[first, second].concat());
    for (number, call) in calls.iter().enumerate() {
        let known = known.get(number).expect("there is no such request");
        assert_eq!((&call.method, &call.body), (&known.method, &known.body));
        // A whole address is written in another way, and a fragment is not for the server.
        if known.target.starts_with('/') && !known.target.contains('#') {
            assert_eq!(call.target, known.target);
        }
    }
});
