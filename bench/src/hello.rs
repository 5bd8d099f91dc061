//! An HTTP server that says hello and does nothing else: what a program that links Gaggle takes at least.
//! It prints `READY ip:port` on the standard error and runs until killed.

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_http::Server;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use std::net::TcpListener;

fn main() {
    gaggle::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        eprintln!("READY {}", listener.local_addr().expect("it is bound"));
        let hello = |_: &Context, _: Request<Bytes>| {
            let mut response = Response::new(Bytes::from_static(b"Hello, World!"));
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            response
        };
        let served = Server::default().serve(listener, &context::background(), hello);
        panic!("the server ended: {served:?}");
    })
}
