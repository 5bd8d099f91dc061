//! HTTP on goroutines: a server whose handlers simply block.
//!
//! Each connection is a goroutine of its own on a plain `std::net::TcpStream`. The protocol is
//! [hyper](https://hyper.rs)'s; this crate reads and writes the socket for it, one blocking call at a
//! time, and adds what a server that faces the world needs: limits, timeouts, backpressure on accept
//! and a shutdown that drops nothing in flight.
//!
//! A handler is either a plain function from request to response, called with the whole body in
//! memory ([`Server::serve`]), or a `tower` service that streams ([`Server::serve_service`]).
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

mod connections;
mod drive;
mod server;
mod service;
mod wire;

pub use server::{Server, ServerBuilder, Stopped};
