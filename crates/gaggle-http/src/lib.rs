//! HTTP on goroutines: servers whose handlers simply block.
//!
//! Each connection is a goroutine of its own on a plain `std` socket, TCP or Unix, and over HTTP/2 each
//! request is one more. The protocol is [hyper](https://hyper.rs)'s; this crate reads and writes the socket
//! for it, and adds what a server that faces the world needs: limits, timeouts, backpressure on accept, a
//! context for each request that ends when its client goes away, and a shutdown that drops nothing in
//! flight. No async runtime is underneath.
//!
//! A handler is either a plain function from request to response, called with the whole body in
//! memory ([`Server::serve`]), or a `tower` service that streams ([`Server::serve_service`]).
//!
//! # Features
//! None is on by default: a server of HTTP/1.1 needs none.
//! - `http2`: HTTP/2 for the server, and for the client where that is on, by ALPN and by prior knowledge.
//! - `tls`: TLS by rustls with ring, which needs a C compiler and nothing else.
//! - `client`: a client of HTTP/1.1 with a pool: the module `client`.
//! - `websocket`: WebSockets, for the server and as a client, with heartbeats: the module `websocket`.
//!
//! ```
//! use bytes::Bytes;
//! use gaggle::context::{self, Context};
//! use gaggle_http::Server;
//! use http::{Request, Response};
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let (context, stop) = context::background().with_cancel();
//! let server = gaggle::go(move || {
//!     let hello = |_: &Context, _: Request<Bytes>| Response::new(Bytes::from_static(b"hello"));
//!     Server::builder().build().serve(listener, &context, hello)
//! });
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.ends_with("hello"));
//!
//! stop.cancel();
//! server.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod accept;
#[cfg(feature = "http2")]
mod beside;
#[cfg(feature = "client")]
pub mod client;
mod connection;
mod connections;
mod drive;
mod framing;
#[cfg(feature = "http2")]
mod http2;
#[cfg(any(feature = "client", feature = "http2"))]
mod io;
mod listener;
mod metrics;
mod request;
mod server;
mod service;
mod settings;
#[cfg(feature = "http2")]
mod stream;
#[cfg(any(feature = "client", feature = "http2"))]
mod timer;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod upgrade;
#[cfg(feature = "websocket")]
pub mod websocket;
mod wire;

pub use listener::{Listener, Peer};
pub use metrics::{Metrics, Route, RouteMetrics, named};
pub use server::{Server, Stopped};
pub use settings::ServerBuilder;
pub use upgrade::{Upgraded, on_upgrade};
