//! An HTTP client with a pool of connections, limits for each host, deadlines, proxies and a resolver of
//! the program's own.
//!
//! ```
//! use bytes::Bytes;
//! use gaggle::context::{self, Context};
//! use gaggle_http::Server;
//! use gaggle_http::client::Client;
//! use http::{Request, Response};
//! use std::net::TcpListener;
//!
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let url = format!("http://{}/", listener.local_addr()?);
//! # let (server_context, stop) = context::background().with_cancel();
//! # let server = gaggle::go(move || {
//! #     let hello = |_: &Context, _: Request<Bytes>| Response::new(Bytes::from_static(b"hello"));
//! #     Server::default().serve(listener, &server_context, hello)
//! # });
//! let client = Client::new();
//! let response = client.get(&context::background(), &url)?;
//! assert_eq!(response.into_body().text(1024)?, "hello");
//! # stop.cancel();
//! # server.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! A request over HTTP/1.1 runs on the goroutine that makes it: that one polls hyper and the socket, and
//! nothing else is started. With the feature `http2`, servers that choose HTTP/2 in TLS (ALPN), and those
//! that are known to speak it ([`ClientBuilder::http2_prior_knowledge`]), are asked over one connection for all
//! requests, which has a goroutine of its own until it is closed. Redirects are answers like others, cookies headers like others, and bodies come as they were
//! sent.
//!
//! - L1: for each host at most so many connections are open, or over HTTP/2 so many requests under way; who finds
//!   no place waits for one, in turn.
//! - L2: a connection goes back to the pool only when its response has been read to the end and hyper is
//!   ready for the next request.
//! - L3: a request is sent again only if it was never sent: on a pooled connection that turned out to be
//!   closed, hyper hands it back. Over HTTP/2 one without a body that may be acted on twice (`GET`, `PUT`, ...) is
//!   sent again as well when the server says goodbye to a connection that served others.
//! - L4: while a connection is being made that may be of HTTP/2, and so for all, nobody else makes one to the same
//!   host.

mod body;
mod connect;
mod error;
#[cfg(feature = "http2")]
mod http2;
mod pool;
mod proxy;
mod wait;

pub use body::ResponseBody;
pub use connect::Resolve;
pub use error::ClientError;
pub use proxy::Proxies;

use crate::client::connect::{Dialer, Origin};
use crate::client::pool::Pool;
use crate::client::wait::Wait;
use bytes::Bytes;
use gaggle::context::Context;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// A request's body, whatever the program gave.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// See [the module](crate::client). A clone is the same client, with the same pool.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    timeout: Option<Duration>,
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

/// A [`Client`]'s settings.
#[derive(Debug)]
pub struct ClientBuilder {
    dialer: Dialer,
    connections_max: usize,
    idle_max: usize,
    idle_time: Duration,
    timeout: Option<Duration>,
}

impl ClientBuilder {
    /// How many connections may be open to one host, or over HTTP/2 requests be under way; further requests
    /// wait. 100 unless set.
    ///
    /// # Panics
    /// When `count` is zero.
    #[must_use]
    pub fn connections_per_host(mut self, count: usize) -> Self {
        assert!(count > 0, "without connections nothing could be asked");
        self.connections_max = count;
        self
    }

    /// How many connections to one host are kept while nobody uses them. 16 unless set.
    #[must_use]
    pub fn idle_per_host(mut self, count: usize) -> Self {
        self.idle_max = count;
        self
    }

    /// How long a connection that nobody uses is good for another request. 60 seconds unless set: less than
    /// most servers keep theirs.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_time = time;
        self
    }

    /// How long connecting may take for each address of a host, TLS and a proxy's greeting included. 10
    /// seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "connecting needs some time");
        self.dialer.connect_time = time;
        self
    }

    /// How long a request may take from its beginning to the end of its response's body. 60 seconds unless
    /// set; a context with a deadline may end it before.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "a request needs some time");
        self.timeout = Some(time);
        self
    }

    /// No limit but the contexts'.
    #[must_use]
    pub fn no_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Which proxies are used. Those of the environment unless set ([`Proxies::from_environment`]).
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.dialer.proxies = proxies;
        self
    }

    /// Who says which addresses a host has. The operating system unless set.
    ///
    /// # Examples
    /// One that lets nobody ask this machine:
    /// ```
    /// use gaggle_http::client::Client;
    /// use std::io::{self, ErrorKind};
    /// use std::net::{SocketAddr, ToSocketAddrs};
    ///
    /// let client = Client::builder().resolver(|host: &str, port: u16| {
    ///     let found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    ///     if found.iter().any(|address| address.ip().is_loopback()) {
    ///         return Err(io::Error::new(ErrorKind::PermissionDenied, "not this machine"));
    ///     }
    ///     Ok(found)
    /// });
    /// # let _ = client.build();
    /// ```
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.dialer.resolver = Arc::new(resolver);
        self
    }

    /// Whether servers are asked for HTTP/2 in TLS, where the configuration names no protocols of its own
    /// (`alpn_protocols`). They are unless set.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self, ask: bool) -> Self {
        self.dialer.http2 = ask;
        self
    }

    /// Whether servers without TLS are known to speak HTTP/2 (RFC 9113, 3.3): then they are asked by nothing
    /// else, unless through a proxy. They are not unless set.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_prior_knowledge(mut self, known: bool) -> Self {
        self.dialer.prior_knowledge = known;
        self
    }

    /// Whom requests to `https` trust. Nobody unless set, so that `https` is refused.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.dialer.tls = Some(config);
        self
    }

    /// The client with these settings.
    #[must_use]
    #[allow(unused_mut, reason = "only TLS with HTTP/2 changes anything")]
    pub fn build(mut self) -> Client {
        #[cfg(all(feature = "http2", feature = "tls"))]
        if let Some(config) = self
            .dialer
            .tls
            .as_mut()
            .filter(|config| self.dialer.http2 && config.alpn_protocols.is_empty())
        {
            Arc::make_mut(config).alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Client {
            pool: Arc::new(Pool::new(
                self.dialer,
                self.connections_max,
                self.idle_max,
                self.idle_time,
            )),
            timeout: self.timeout,
        }
    }
}

impl Client {
    /// A client with the usual settings.
    #[must_use]
    pub fn new() -> Client {
        Client::builder().build()
    }

    /// The settings to start from.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            dialer: Dialer::new(),
            connections_max: 100,
            idle_max: 16,
            idle_time: Duration::from_secs(60),
            timeout: Some(Duration::from_secs(60)),
        }
    }

    /// Asks for `url`, blocking this goroutine until the head of the response has come.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn get(&self, context: &Context, url: &str) -> Result<Response<ResponseBody>, ClientError> {
        let uri: Uri = url.parse().map_err(ClientError::request)?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        self.request(context, request)
    }

    /// Sends `request`, whose URI is whole (`http://host/path`), and blocks this goroutine until the head of
    /// the response has come. Any status is an answer. The body is read from the response, under the same
    /// deadline and context: there is no need for [`Context::run`], inside which a wait that its context ends
    /// would panic, as [`gaggle::block_on`] does there.
    ///
    /// # Errors
    /// When the request is none that can be sent, nobody answers, the time is up or `context` ends.
    pub fn request<B>(
        &self,
        context: &Context,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, ClientError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        gaggle::block_on(self.send(context, request))
    }

    /// As [`Client::request`], to be awaited: for a service that sends its own request's body on while that
    /// still comes. Looking up a host's name and connecting block in place.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn send<B>(
        &self,
        context: &Context,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, ClientError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let uri = head.uri.clone();
        let origin = Origin::of(&uri)?;
        let proxy = self.pool.dialer.proxies.for_origin(&origin);
        let body: Outgoing = body.map_err(Into::into).boxed_unsync();
        let mut request = Request::from_parts(head, body);
        let mut wait = Wait::new(context, self.timeout);
        loop {
            let mut lease = wait
                .until(self.pool.lease(&origin, proxy.as_ref()))
                .await??;
            lease.shape(&mut request, &uri)?;
            #[cfg(feature = "http2")]
            let spare = lease.spare(&request);
            match wait.until(lease.send(request)).await? {
                Ok(response) => return Ok(ResponseBody::of(response, lease, wait)),
                // L3
                Err((_, Some(unsent))) if lease.is_reused() => request = *unsent,
                #[cfg(feature = "http2")]
                Err((error, _)) if lease.is_goodbye(&error) => match spare {
                    Some(spare) => request = spare,
                    None => return Err(ClientError::exchange(error)),
                },
                Err((error, _)) => return Err(ClientError::exchange(error)),
            }
        }
    }

    /// How many connections there are, in use or idle.
    pub fn connections(&self) -> usize {
        self.pool.connections()
    }
}
