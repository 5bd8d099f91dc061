//! Where requests end, as the server's own look beside hyper has it: the same however the bytes are cut, and
//! the same as httparse, which reads hyper's heads, and a strict reading of bodies have it.

#![no_main]

#[path = "../../crates/gaggle-http/src/framing.rs"]
mod framing;

use framing::Framing;
use gaggle_fuzz::strict::{self, Length};
use libfuzzer_sys::fuzz_target;

/// The ends of what is handed on when nothing is cut, up to the end or a refusal.
fn whole(bytes: &[u8]) -> (Vec<usize>, bool) {
    let mut framing = Framing::new();
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match framing.admit(&bytes[at..]) {
            Err(_) => return (ends, false),
            Ok(count) => {
                assert!(count > 0 && at + count <= bytes.len());
                at += count;
                ends.push(at);
            }
        }
    }
    (ends, true)
}

/// Whether the bytes are admitted when at most `step` come at a time; all ends of `whole` must be ends then.
fn in_steps(bytes: &[u8], step: usize, ends: &[usize]) -> bool {
    let mut framing = Framing::new();
    let (mut at, mut next) = (0, ends.iter().copied().peekable());
    while at < bytes.len() {
        let piece = &bytes[at..bytes.len().min(at + step)];
        let Ok(count) = framing.admit(piece) else {
            return false;
        };
        assert!(count > 0 && count <= piece.len());
        at += count;
        if let Some(end) = next.peek().copied() {
            assert!(at <= end, "a piece goes over the end of a head or a body");
            if at == end {
                next.next();
            }
        }
    }
    true
}

/// What is handed on as a head is what httparse takes for one, and what is handed on as a body is one.
fn compare(bytes: &[u8], ends: &[usize]) {
    let (mut at, mut ends) = (0, ends.iter().copied());
    while let Some(end) = ends.next() {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(count)) => assert_eq!(at + count, end, "the head's end"),
            // hyper waits for more, or reads no further.
            Ok(httparse::Status::Partial) | Err(_) => return,
        }
        let strict = strict::head(&bytes[at..]);
        let (_, length, rest) = strict.expect("what is admitted is strictly right");
        at = end;
        let behind = match length {
            Length::Known(0) => continue,
            Length::Known(count) => rest.get(count..),
            Length::Chunked => strict::chunks(rest).map(|(_, behind)| behind),
        };
        let Some(end) = ends.next() else { return };
        // hyper reads no further behind chunks that are none.
        let Some(behind) = behind else { return };
        assert_eq!(end, bytes.len() - behind.len(), "the body's end");
        at = end;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (ends, admitted) = whole(bytes);
    for step in [1, 2, 3, 7] {
        assert_eq!(in_steps(bytes, step, &ends), admitted);
    }
    compare(bytes, &ends);
});
