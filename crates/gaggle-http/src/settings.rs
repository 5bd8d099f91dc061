//! A server's settings: what is limited, and how long things may take.

use crate::metrics::Metrics;
use crate::server::Server;
use crate::wire::Timeouts;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

/// The settings of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    pub(crate) timeouts: Timeouts,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    pub(crate) connections_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) head_bytes_max: usize,
    pub(crate) metrics: Option<Metrics>,
    #[cfg(feature = "http2")]
    pub(crate) http2: bool,
    #[cfg(feature = "http2")]
    pub(crate) streams_max: u32,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        ServerBuilder {
            timeouts: Timeouts {
                header_read: Duration::from_secs(10),
                body_read: Duration::from_secs(60),
                idle: Duration::from_secs(90),
                write: Duration::from_secs(30),
            },
            request_timeout: None,
            drain_timeout: Duration::from_secs(25),
            connections_max: 100_000,
            body_bytes_max: 1024 * 1024,
            head_bytes_max: 32 * 1024,
            metrics: None,
            #[cfg(feature = "http2")]
            http2: true,
            #[cfg(feature = "http2")]
            streams_max: 250,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ServerBuilder {
    /// How long a client may take from connecting, or from the first byte of a later request, to the
    /// end of the request's head. 10 seconds unless set. A head that is late is answered by 408.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn header_read_timeout(mut self, time: Duration) -> Self {
        assert_some(time);
        self.timeouts.header_read = time;
        self
    }

    /// How long the whole body of a request may take to arrive after its head, counted from the first
    /// wait for it. 60 seconds unless set. A blocking handler's client gets 408; a service that streams
    /// gets the error from the body.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn body_read_timeout(mut self, time: Duration) -> Self {
        assert_some(time);
        self.timeouts.body_read = time;
        self
    }

    /// How long a kept-alive connection may wait for its next request. 90 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        assert_some(time);
        self.timeouts.idle = time;
        self
    }

    /// How long one write may wait for a client that does not read. 30 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        assert_some(time);
        self.timeouts.write = time;
        self
    }

    /// How long the requests in flight may go on once the server is told to stop. 25 seconds unless
    /// set; zero cuts them off at once.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain_timeout = time;
        self
    }

    /// How many connections may be open at once; further clients wait in the listener's backlog until
    /// one ends. 100,000 unless set.
    ///
    /// # Panics
    /// When `count` is zero.
    #[must_use]
    pub fn connections_max(mut self, count: usize) -> Self {
        assert!(count > 0, "a server of no connections would never answer");
        self.connections_max = count;
        self
    }

    /// How many bytes a request's body may have; a longer one is answered by 413. 1 MiB unless set.
    ///
    /// For a `tower` service this looks at the declared length only: one that reads bodies of unknown
    /// length limits them itself, as axum does.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// How many bytes a request's line and headers may have together; more are answered by 431.
    /// 32 KiB unless set. There may be a hundred headers.
    #[must_use]
    pub fn head_bytes_max(mut self, bytes: usize) -> Self {
        self.head_bytes_max = bytes;
        self
    }

    /// How long a request may be worked on: its context ends then, and with it whatever minds the context
    /// ([`Context::run`](gaggle::context::Context::run)). The handler is not interrupted otherwise. No limit
    /// unless set, as downloads and streams of events take their time.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn request_timeout(mut self, time: Duration) -> Self {
        assert!(!time.is_zero(), "no request could be answered in no time");
        self.request_timeout = Some(time);
        self
    }

    /// Counts and times the requests in `metrics`. Nothing is measured unless set.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Whether HTTP/2 is served too: by TLS's choice of a protocol (ALPN), and without TLS to clients that
    /// begin with it (prior knowledge). It is unless set.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self, serve: bool) -> Self {
        self.http2 = serve;
        self
    }

    /// How many requests may be in flight on one HTTP/2 connection; further ones wait at the client. 250
    /// unless set.
    ///
    /// # Panics
    /// When `count` is zero.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_streams_max(mut self, count: u32) -> Self {
        assert!(count > 0, "a connection of no streams would never answer");
        self.streams_max = count;
        self
    }

    /// Has every connection begin with TLS ([`crate::tls`] makes the configuration from PEM files). Without
    /// protocols of its own (`alpn_protocols`) it offers those that this server serves. The handshake may
    /// take as long as a request's head.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The server with these settings.
    #[must_use]
    #[allow(unused_mut, reason = "only TLS changes anything")]
    pub fn build(mut self) -> Server {
        #[cfg(feature = "tls")]
        if let Some(config) = self
            .tls
            .as_mut()
            .filter(|config| config.alpn_protocols.is_empty())
        {
            let config = Arc::make_mut(config);
            #[cfg(feature = "http2")]
            if self.http2 {
                config.alpn_protocols.push(b"h2".to_vec());
            }
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Server::new(self)
    }
}

fn assert_some(time: Duration) {
    assert!(
        !time.is_zero(),
        "a timeout of zero would end every connection"
    );
}
