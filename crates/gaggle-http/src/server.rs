//! The server: how it is run, and the way it ends.

use crate::accept::accept_all;
use crate::connection::{self, Application, Blocking, Tower};
use crate::connections::{Connections, Seat};
use crate::listener::Listener;
use crate::request::Exchange;
use crate::settings::ServerBuilder;
use bytes::Bytes;
use gaggle::context::Context;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// How long aborted connections have to notice that their socket is gone.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// An HTTP server on a `std` listener: a goroutine per connection, and over HTTP/2 one per request.
///
/// Limits and timeouts are on from the start; [`Server::builder`] changes them.
#[derive(Clone, Debug)]
pub struct Server {
    settings: Arc<ServerBuilder>,
}

impl Default for Server {
    fn default() -> Self {
        Server::builder().build()
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still in flight when the drain timeout ran out, and were cut off.
    pub aborted_connections: usize,
}

impl Server {
    /// The settings to start from.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(crate) fn new(settings: ServerBuilder) -> Server {
        Server {
            settings: Arc::new(settings),
        }
    }

    /// Serves `listener` by a handler that blocks as it likes, until `context` is done.
    ///
    /// The handler is called with the whole body in memory, on the connection's goroutine, or over HTTP/2 on
    /// one of the request's own, and may use any blocking code. A handler that panics answers 500. Its
    /// context holds `context`'s values and the [`Peer`](crate::Peer). It ends when the client goes away
    /// (also one that only shuts its writing side), at the request's time-out, or when the response has been
    /// sent; not with `context`, but when the drain timeout runs out, so that a request in flight can finish.
    /// What runs in [`Context::run`] ends with it.
    ///
    /// Blocks this goroutine until the server has stopped: once `context` is done nothing more is
    /// accepted, connections that wait for a request are closed, and the requests in flight get their
    /// responses (with `Connection: close`), for as long as the drain timeout.
    ///
    /// # Errors
    /// When the listener fails for good; what is in flight is drained first. An accept that fails for
    /// want of descriptors or memory is tried again, after a pause.
    pub fn serve<H>(
        &self,
        listener: impl Into<Listener>,
        context: &Context,
        handler: H,
    ) -> io::Result<Stopped>
    where
        H: Fn(&Context, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let application = move || Blocking(Arc::clone(&handler));
        self.run(listener.into(), context, application)
    }

    /// Serves `listener` by a `tower` service, until `context` is done. An `axum::Router` is one.
    ///
    /// Each connection has its own clone of `service`, and over HTTP/2 each request. It runs on the
    /// connection's goroutine, or the request's: its futures may block, and need not be `Send`. A service
    /// that panics or fails answers 500. The request's extensions hold its [`Context`] (see
    /// [`Server::serve`]). A service whose future blocks while the client sends its body over HTTP/1.1 keeps
    /// that body waiting; one that awaits it does not.
    ///
    /// Blocks this goroutine, and ends, as [`Server::serve`].
    ///
    /// # Errors
    /// As [`Server::serve`].
    ///
    /// # Examples
    /// ```
    /// use bytes::Bytes;
    /// use gaggle_http::Server;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use hyper::body::Incoming;
    /// # use gaggle::context;
    /// # use std::net::TcpListener;
    ///
    /// async fn shout(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    ///     let bytes = request.into_body().collect().await?.to_bytes();
    ///     Ok(Response::new(bytes.to_ascii_uppercase().into()))
    /// }
    ///
    /// # let (context, stop) = context::background().with_cancel();
    /// # stop.cancel();
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// Server::default().serve_service(listener, &context, tower::service_fn(shout))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve_service<S, B>(
        &self,
        listener: impl Into<Listener>,
        context: &Context,
        service: S,
    ) -> io::Result<Stopped>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let application = move || Tower(RefCell::new(service.clone()));
        self.run(listener.into(), context, application)
    }

    /// Accepts and starts connections until `context` is done, then drains them.
    fn run<A: Application>(
        &self,
        listener: Listener,
        context: &Context,
        application: impl Fn() -> A,
    ) -> io::Result<Stopped> {
        let (requests, cancel) = context.without_cancel().with_cancel();
        let connect = move |seat: Seat| {
            let application = application();
            let peer = seat.connection().peer();
            let exchange = Exchange {
                settings: Arc::clone(&self.settings),
                context: requests.with_value(peer),
                connection: Arc::clone(seat.connection()),
            };
            move || {
                connection::serve(exchange, application);
                drop(seat);
            }
        };
        let connections = Arc::new(Connections::default());
        listener.widen();
        let listener = Arc::new(listener);
        let stop = context.after_func({
            let (connections, listener) = (Arc::clone(&connections), Arc::clone(&listener));
            move || {
                connections.begin_drain();
                listener.wake_accept();
            }
        });
        let accepted = accept_all(
            &listener,
            &connections,
            self.settings.connections_max,
            connect,
        );
        stop.stop();
        drop(listener);
        connections.begin_drain();
        let aborted_connections = connections.wait_until_empty(self.settings.drain_timeout);
        cancel.cancel();
        if aborted_connections > 0 {
            connections.abort();
            connections.wait_until_empty(ABORT_GRACE);
        }
        accepted.map(|()| Stopped {
            aborted_connections,
        })
    }
}
