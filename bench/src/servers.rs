//! Servers that something outside loads: they print `READY ip:port` and run until killed.

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_http::Server;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use peer_common::{HELLO, Options, Report, echo_back, listen};
use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Answers every request by `Hello, World!`.
pub fn http_hello(options: &Options) -> Option<Report> {
    options.default_only()?;
    serve_http(options, || ())
}

/// The same after five to ten milliseconds, as if a database had been asked.
pub fn http_db(options: &Options) -> Option<Report> {
    options.default_only()?;
    let counter = AtomicU64::new(0);
    serve_http(options, move || {
        // Relaxed: it only spreads the times.
        let number = counter.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(5 + number % 6));
    })
}

fn serve_http(options: &Options, before: impl Fn() + Send + Sync + 'static) -> Option<Report> {
    let listener = listen(options);
    let hello = move |_: &Context, _: Request<Bytes>| {
        before();
        let mut response = Response::new(Bytes::from_static(HELLO.as_bytes()));
        let plain = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    };
    let served = Server::default().serve(listener, &context::background(), hello);
    panic!("the server ended: {served:?}");
}

/// Sends back what comes, on every connection.
pub fn echo(options: &Options) -> Option<Report> {
    options.default_only()?;
    let listener = listen(options);
    loop {
        let (stream, _) = listener.accept().expect("descriptors enough");
        drop(gaggle::go(move || echo_one(stream)));
    }
}

/// N round trips within this process, among pairs of goroutines.
pub fn tcp(options: &Options) -> Option<Report> {
    options.default_only()?;
    Some(peer_common::round_trips(options, |half| {
        drop(gaggle::go(half))
    }))
}

fn echo_one(stream: TcpStream) -> io::Result<Infallible> {
    stream.set_nodelay(true)?;
    echo_back(stream)
}
