//! From an origin to a connection that hyper speaks on: name, address, proxy, TLS, and which HTTP.

use crate::client::Outgoing;
use crate::client::error::ClientError;
use crate::client::proxy::{Proxies, Proxy};
use crate::io::Io;
use crate::listener::Stream;
use bytes::Bytes;
use http::Uri;
use hyper::client::conn::http1::{self, SendRequest};
#[cfg(feature = "tls")]
use std::error::Error;
use std::fmt;
#[cfg(feature = "tls")]
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a proxy's answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Says which addresses a host has; a function of host and port is one. May block its goroutine.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, with `port`, the preferred first.
    ///
    /// # Errors
    /// When there are none, or none that may be used.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<F> Resolve for F
where
    F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
{
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self(host, port)
    }
}

fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// What connections are made to and kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) is_secure: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn of(uri: &Uri) -> Result<Origin, ClientError> {
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(ClientError::request(
                    "the URL is neither of http nor of https",
                ));
            }
        };
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(ClientError::request(
                "the URL holds a password, which is not sent",
            ));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| ClientError::request("the URL names no host"))?;
        Ok(Origin {
            is_secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(default_port(is_secure)),
        })
    }

    /// As in a `Host` header.
    pub(crate) fn host_header(&self) -> String {
        let host = self.bracketed();
        match self.port == default_port(self.is_secure) {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    fn bracketed(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        }
    }
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

/// hyper's half that moves the bytes; whoever awaits a response polls it.
pub(crate) type Driver = Pin<Box<http1::Connection<Io<Stream>, Outgoing>>>;

/// A connection that was made.
pub(crate) enum Made {
    /// For one request at a time.
    Http1(SendRequest<Outgoing>, Driver),
    /// For many.
    #[cfg(feature = "http2")]
    Http2(crate::client::http2::Sender),
}

/// Makes connections.
pub(crate) struct Dialer {
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) proxies: Proxies,
    pub(crate) connect_time: Duration,
    /// Whether servers are asked for HTTP/2 by TLS.
    #[cfg(feature = "http2")]
    pub(crate) http2: bool,
    /// Whether servers without TLS are known to speak HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) prior_knowledge: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("proxies", &self.proxies)
            .field("connect_time", &self.connect_time)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new() -> Dialer {
        Dialer {
            resolver: Arc::new(system),
            proxies: Proxies::from_environment(),
            connect_time: Duration::from_secs(10),
            #[cfg(feature = "http2")]
            http2: true,
            #[cfg(feature = "http2")]
            prior_knowledge: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Makes a connection, blocking this goroutine, but for TLS's greeting, which is awaited.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        proxy: Option<&Proxy>,
    ) -> Result<Made, ClientError> {
        self.check_tls(origin)?;
        let stream = self.dial(origin, proxy).map_err(ClientError::Connect)?;
        let io = Io::new(Stream::Tcp(stream), Bytes::new());
        let io = self.greet(origin, io).await?;
        #[cfg(feature = "http2")]
        if self.is_http2(origin, proxy, &io) {
            return Ok(Made::Http2(crate::client::http2::start(io).await?));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(ClientError::exchange)?;
        Ok(Made::Http1(sender, Box::pin(connection)))
    }

    /// Whether a connection to `origin` may turn out to be one of HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn may_be_http2(&self, origin: &Origin, proxy: Option<&Proxy>) -> bool {
        #[cfg(feature = "tls")]
        if origin.is_secure {
            let config = self.tls.as_ref();
            return config.is_some_and(|config| config.alpn_protocols.iter().any(|it| it == b"h2"));
        }
        // A proxy is asked by HTTP/1.1.
        self.prior_knowledge && !origin.is_secure && proxy.is_none()
    }

    #[cfg(feature = "http2")]
    fn is_http2(&self, origin: &Origin, proxy: Option<&Proxy>, io: &Io<Stream>) -> bool {
        #[cfg(feature = "tls")]
        if origin.is_secure {
            return io.has_chosen_http2();
        }
        let _ = io;
        self.may_be_http2(origin, proxy)
    }

    fn dial(&self, origin: &Origin, proxy: Option<&Proxy>) -> io::Result<TcpStream> {
        let (host, port) = match proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&origin.host, origin.port),
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in self.resolver.resolve(host, port)? {
            match TcpStream::connect_timeout(&address, self.connect_time) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    if let Some(proxy) = proxy.filter(|_| origin.is_secure) {
                        self.pass_through(&stream, proxy, origin)?;
                    }
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Has a proxy pass on what follows (RFC 9110, 9.3.6).
    fn pass_through(
        &self,
        mut stream: &TcpStream,
        proxy: &Proxy,
        origin: &Origin,
    ) -> io::Result<()> {
        let target = format!("{}:{}", origin.bracketed(), origin.port);
        let authorization = match &proxy.authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        stream.set_read_timeout(Some(self.connect_time))?;
        stream.write_all(
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
                .as_bytes(),
        )?;
        let mut answer = Vec::new();
        // Byte by byte: what comes after it is not the proxy's.
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "the proxy says too much",
                ));
            }
        }
        let line = answer
            .split(|&byte| byte == b'\r')
            .next()
            .unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        match line.split(' ').nth(1) {
            Some(status) if status.starts_with('2') && line.starts_with("HTTP/1.") => Ok(()),
            _ => Err(io::Error::new(
                ErrorKind::ConnectionRefused,
                format!("the proxy answers: {line}"),
            )),
        }
    }

    #[cfg(feature = "tls")]
    fn check_tls(&self, origin: &Origin) -> Result<(), ClientError> {
        if origin.is_secure && self.tls.is_none() {
            return Err(ClientError::request(
                "https needs to know whom to trust: `ClientBuilder::tls`",
            ));
        }
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn check_tls(&self, origin: &Origin) -> Result<(), ClientError> {
        match origin.is_secure {
            true => Err(ClientError::request("https needs the feature `tls`")),
            false => Ok(()),
        }
    }

    #[cfg(feature = "tls")]
    async fn greet(&self, origin: &Origin, io: Io<Stream>) -> Result<Io<Stream>, ClientError> {
        let Some(config) = self.tls.clone().filter(|_| origin.is_secure) else {
            return Ok(io);
        };
        let failed = |error: Box<dyn Error + Send + Sync>| {
            ClientError::Connect(io::Error::new(ErrorKind::InvalidData, error))
        };
        let name = rustls::pki_types::ServerName::try_from(origin.host.clone());
        let name = name.map_err(|error| failed(error.into()))?;
        let tls = rustls::ClientConnection::new(config, name);
        let mut io = io.with_tls(tls.map_err(|error| failed(error.into()))?);
        let greeted = poll_fn(|context| io.poll_handshake(context));
        let clock = crate::timer::Clock;
        let late = hyper::rt::Timer::sleep(&clock, self.connect_time);
        match futures_util::future::select(greeted, late).await {
            futures_util::future::Either::Left((outcome, _)) => {
                outcome.map_err(ClientError::Connect)?;
            }
            futures_util::future::Either::Right(_) => {
                return Err(ClientError::Connect(ErrorKind::TimedOut.into()));
            }
        }
        Ok(io)
    }

    #[cfg(not(feature = "tls"))]
    async fn greet(&self, _: &Origin, io: Io<Stream>) -> Result<Io<Stream>, ClientError> {
        Ok(io)
    }
}
