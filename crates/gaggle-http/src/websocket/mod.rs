//! WebSockets by [tungstenite](https://docs.rs/tungstenite), with heartbeats.
//!
//! A [`WebSocket`] is one connection; its clones are the same. Any number of goroutines may send, each
//! message whole and in the order in which the sends began; one at a time receives, and while it does,
//! heartbeats are sent and answered.
//!
//! ```
//! use bytes::Bytes;
//! use gaggle::context::{self, Context};
//! use gaggle_http::websocket::{self, Options, WebSocket};
//! use gaggle_http::Server;
//! use http::Request;
//! use std::net::TcpListener;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("ws://{}/", listener.local_addr()?);
//! let (context, stop) = context::background().with_cancel();
//! let server = gaggle::go(move || {
//!     let echo = |_: &Context, request: Request<Bytes>| {
//!         websocket::accept(&request, Options::default(), |socket| {
//!             while let Ok(message) = socket.recv() {
//!                 if socket.send(message).is_err() {
//!                     break;
//!                 }
//!             }
//!         })
//!     };
//!     Server::default().serve(listener, &context, echo)
//! });
//!
//! let socket = WebSocket::connect(&url, Options::default())?;
//! socket.send("hello")?;
//! assert_eq!(socket.recv()?.as_text(), Some("hello"));
//! socket.close(1000, "done")?;
//!
//! stop.cancel();
//! server.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # How it works
//! - S1: the protocol's state is under a lock that is never held while anybody waits: tungstenite reads and
//!   writes buffers. Reading the socket happens outside it, and so does writing.
//! - S2: who sends holds the sending lock from taking the bytes out of the state until they are written, so
//!   they leave in order.
//! - S3: who receives holds the receiving lock, so bytes are fed in order.

mod client;
mod machine;
mod message;
mod reconnect;
mod server;
mod socket;

pub use message::{Message, WebSocketError};
pub use reconnect::{Backoff, Reconnecting};
pub use server::accept;
pub use socket::WebSocket;

use std::time::Duration;

/// What a connection is limited to.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) message_bytes_max: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) protocol: Option<String>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            message_bytes_max: 1024 * 1024,
            heartbeat: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            protocol: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Options {
    /// How many bytes a message from the other side may have; a longer one ends the connection. 1 MiB unless
    /// set.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// After so much silence the other side is asked whether it is there (a ping), and after as much again
    /// the connection is lost. 20 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn heartbeat(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "a heart needs some time to beat");
        self.heartbeat = time;
        self
    }

    /// How long one write may wait for a peer that does not read. 30 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "a write needs some time");
        self.write_timeout = time;
        self
    }

    /// How long a client may take to connect, and then to greet. 10 seconds each unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "connecting needs some time");
        self.connect_timeout = time;
        self
    }

    /// The subprotocol that is spoken: what a client asks for, and what a server chooses where a client offers
    /// it. None unless set.
    #[must_use]
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocol = Some(name.into());
        self
    }

    /// Whom a client of `wss` trusts. Nobody unless set, so that `wss` is refused.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }
}
