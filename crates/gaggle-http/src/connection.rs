//! One connection, from its first byte to its end, and the two kinds of application that may answer it.

use crate::drive::drive;
use crate::request::Exchange;
use crate::service::{Outgoing, answer_at_once, answer_blocking, answer_service};
use crate::transport::Transport;
use crate::upgrade::Upgraded;
use crate::wire::{Socket, Wire};
use bytes::{BufMut, Bytes, BytesMut};
use gaggle::context::Context;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use tower_service::Service;

/// hyper's own minimum of the buffer in which a head must fit.
const HEAD_BUFFER_BYTES_MIN: usize = 8 * 1024;

/// What answers requests.
pub(crate) trait Application: Send + 'static {
    /// The body of its responses over HTTP/1.1.
    type Body: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static;

    /// Whether it may wait for something else while a body comes.
    const IS_MIXED: bool;

    /// Takes and answers one request over HTTP/1.1 without a future, on the connection's goroutine, if it can.
    fn answer_at_once(
        &self,
        wire: &Rc<Wire>,
        exchange: &Exchange,
        request: &mut Option<Request<Incoming>>,
    ) -> Option<Response<Outgoing<Self::Body>>>;

    /// Answers one request over HTTP/1.1, on the connection's goroutine.
    async fn answer(
        &self,
        wire: Rc<Wire>,
        exchange: &Exchange,
        request: Request<Incoming>,
    ) -> Response<Outgoing<Self::Body>>;

    /// What is to be run on a goroutine of its own to answer one request over HTTP/2.
    #[cfg(feature = "http2")]
    fn job(&self, job: crate::stream::Job) -> Box<dyn FnOnce() + Send>;
}

/// A handler that blocks.
pub(crate) struct Blocking<H>(pub(crate) Arc<H>);

impl<H> Application for Blocking<H>
where
    H: Fn(&Context, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
{
    type Body = Full<Bytes>;

    const IS_MIXED: bool = false;

    fn answer_at_once(
        &self,
        wire: &Rc<Wire>,
        exchange: &Exchange,
        request: &mut Option<Request<Incoming>>,
    ) -> Option<Response<Outgoing<Full<Bytes>>>> {
        let request = request.take_if(|request| request.body().is_end_stream())?;
        Some(answer_at_once(Rc::clone(wire), &*self.0, exchange, request))
    }

    async fn answer(
        &self,
        wire: Rc<Wire>,
        exchange: &Exchange,
        request: Request<Incoming>,
    ) -> Response<Outgoing<Full<Bytes>>> {
        answer_blocking(wire, &*self.0, exchange, request).await
    }

    #[cfg(feature = "http2")]
    fn job(&self, job: crate::stream::Job) -> Box<dyn FnOnce() + Send> {
        let handler = Arc::clone(&self.0);
        Box::new(move || job.run_blocking(&*handler))
    }
}

/// A `tower` service.
pub(crate) struct Tower<S>(pub(crate) RefCell<S>);

impl<S, B> Application for Tower<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    type Body = B;

    const IS_MIXED: bool = true;

    fn answer_at_once(
        &self,
        _: &Rc<Wire>,
        _: &Exchange,
        _: &mut Option<Request<Incoming>>,
    ) -> Option<Response<Outgoing<B>>> {
        None
    }

    async fn answer(
        &self,
        wire: Rc<Wire>,
        exchange: &Exchange,
        request: Request<Incoming>,
    ) -> Response<Outgoing<B>> {
        answer_service(wire, &self.0, exchange, request).await
    }

    #[cfg(feature = "http2")]
    fn job(&self, job: crate::stream::Job) -> Box<dyn FnOnce() + Send> {
        let service = self.0.borrow().clone();
        Box::new(move || job.run_service(service))
    }
}

/// Serves one connection to its end.
pub(crate) fn serve<A: Application>(exchange: Exchange, application: A) {
    let connection = Arc::clone(&exchange.connection);
    let settings = Arc::clone(&exchange.settings);
    #[cfg(feature = "tls")]
    let transport = match &settings.tls {
        None => Transport::Plain,
        Some(config) => match rustls::ServerConnection::new(Arc::clone(config)) {
            Ok(tls) => Transport::Tls(Box::new(RefCell::new(tls))),
            // A configuration that cannot be used; the client sees the connection end.
            Err(_) => return,
        },
    };
    #[cfg(not(feature = "tls"))]
    let transport = Transport::Plain;
    let Ok(wire) = Wire::new(connection, transport, settings.timeouts, A::IS_MIXED) else {
        // The peer has gone already.
        return;
    };
    #[cfg(feature = "tls")]
    if wire.handshake().is_err() {
        return;
    }
    #[cfg(feature = "http2")]
    if settings.http2 && wire.asks_for_http2() {
        if let Some((transport, first)) = wire.take_apart() {
            crate::http2::serve(&exchange, transport, first, &application);
        }
        return;
    }
    serve_http1(exchange, wire, &application);
}

fn serve_http1<A: Application>(mut exchange: Exchange, wire: Rc<Wire>, application: &A) {
    let (context, cancel) = exchange.context.with_cancel_cause();
    exchange.context = context;
    // Where it does not work, the client's end is met by the next read or write.
    #[cfg(unix)]
    let hangup = gaggle::net::on_hangup(exchange.connection.stream(), move || {
        cancel.cancel("the client has gone");
    });
    #[cfg(not(unix))]
    let _cancel_at_the_end = cancel;
    let settings = Arc::clone(&exchange.settings);
    let (exchange_of_service, of_service) = (&exchange, Rc::clone(&wire));
    let service = service_fn(move |request| {
        let mut request = Some(request);
        let known = application.answer_at_once(&of_service, exchange_of_service, &mut request);
        match request {
            None => Answer::Known(known),
            Some(request) => {
                let wire = Rc::clone(&of_service);
                let to_come = application.answer(wire, exchange_of_service, request);
                Answer::ToCome(Box::pin(to_come))
            }
        }
    });
    let mut connection = http1::Builder::new()
        // Without it hyper reads while a request is being answered, to see the client go away.
        .half_close(true)
        // hyper's own timeout needs timers that fire during a read; `Wire` keeps the time instead.
        .header_read_timeout(None)
        .max_header_size(settings.head_bytes_max)
        .max_buf_size(settings.head_bytes_max.max(HEAD_BUFFER_BYTES_MIN))
        .serve_connection(Socket(Rc::clone(&wire)), service);
    let outcome = drive(&wire, &mut connection);
    if let Some(handover) = wire.take_upgrade().filter(|_| outcome.is_ok()) {
        let read_ahead = connection.into_parts().read_buf;
        if let Some((transport, staged)) = wire.take_apart() {
            let pending = joined(read_ahead, staged);
            let (connection, context) =
                (Arc::clone(&exchange.connection), exchange.context.clone());
            handover.run(Upgraded::new(connection, transport, pending, context));
        }
    } else {
        drop(connection);
        wire.finish(outcome.is_ok());
    }
    #[cfg(unix)]
    drop(hangup);
}

/// What hyper awaits as the answer to a request. It has room for one of these on each connection, which every
/// request fills anew: so a future, which is large, is elsewhere.
enum Answer<F, R> {
    Known(Option<R>),
    ToCome(Pin<Box<F>>),
}

// What is known is moved out; nothing here is pinned but behind the box.
impl<F, R> Unpin for Answer<F, R> {}

impl<F: Future<Output = R>, R> Future for Answer<F, R> {
    type Output = Result<R, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::Known(response) => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Answer::ToCome(future) => future.as_mut().poll(context).map(Ok),
        }
    }
}

/// What hyper had read beyond the request, and what was staged for it.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    let mut both = BytesMut::from(first);
    both.put(second);
    both.freeze()
}
