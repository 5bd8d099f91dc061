//! Bodies that are larger than the memory they may take. One test alone, as it looks at its process's memory.

mod common;

use bytes::Bytes;
use common::{PATIENCE, Running, under_load};
use gaggle::context;
use gaggle_http::Server;
use gaggle_http::client::{Client, Proxies};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

const PIECE: usize = 64 * 1024;

/// So many bytes, which exist one piece at a time.
struct Large {
    piece: Bytes,
    left: u64,
}

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left * PIECE as u64)
    }
}

/// The most memory this process has had, in bytes; none where the system does not say.
fn memory_at_most() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[test]
fn body_larger_than_its_memory_passes_both_ways() {
    let mebibytes = if under_load() { 1024 } else { 256 };
    let pieces = (mebibytes << 20) / PIECE as u64;
    let server = Running::start(|listener, context| {
        let echo = tower::service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let server = Server::builder()
            .body_bytes_max(usize::MAX)
            .body_read_timeout(PATIENCE * 10)
            .build();
        server.serve_service(listener, context, echo)
    });
    let client = Client::builder()
        .proxies(Proxies::none())
        .no_timeout()
        .build();
    let body = Large {
        piece: Bytes::from(vec![7; PIECE]),
        left: pieces,
    };
    let request = Request::post(format!("http://{}/", server.address))
        .body(body)
        .expect("a plain request");
    let before = memory_at_most();
    let response = client
        .request(&context::background(), request)
        .expect("an answer");
    let mut body = response.into_body();
    let mut received = 0;
    let mut bytes = vec![0; PIECE];
    loop {
        let count = body.read(&mut bytes).expect("it goes on");
        if count == 0 {
            break;
        }
        assert!(bytes[..count].iter().all(|&byte| byte == 7));
        received += count as u64;
    }
    assert_eq!(received, pieces * PIECE as u64);
    if let (Some(before), Some(after)) = (before, memory_at_most()) {
        let grown = after - before;
        assert!(grown < 32 << 20, "{grown} bytes more than before");
    }
    drop(body);
    drop(client);
    server.stop();
}
