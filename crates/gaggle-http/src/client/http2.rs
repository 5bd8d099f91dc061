//! A connection of HTTP/2, which many requests share: it has a goroutine of its own, that polls hyper and the
//! socket, and ends with the connection.

use crate::beside::{Beside, Tasks};
use crate::client::Outgoing;
use crate::client::error::ClientError;
use crate::io::Io;
use crate::listener::Stream;
use crate::timer::Clock;
use futures_channel::oneshot;
use http::Request;
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use std::error::Error;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// How often a server that says nothing while requests wait is asked whether it is there, and how long it may
/// take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What sends requests on it; when the last is dropped, and no response is under way, the connection ends.
pub(crate) type Sender = http2::SendRequest<Outgoing>;

/// Whether the error means that the server takes no more requests on the connection, or not this one: a
/// goodbye without an error (RFC 9113, 6.8), or a refusal (8.7).
pub(crate) fn is_goodbye(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|error| error.downcast_ref());
    source.is_some_and(|error: &h2::Error| {
        let is_end = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let is_refusal = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_end || is_refusal)
    })
}

/// The same request again, if it has no body and may be acted on twice (RFC 9110, 9.2.2).
pub(crate) fn spare(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.body().is_end_stream() || !request.method().is_idempotent() {
        return None;
    }
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut spare = Request::new(body);
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.version_mut() = request.version();
    *spare.headers_mut() = request.headers().clone();
    *spare.extensions_mut() = request.extensions().clone();
    Some(spare)
}

type Greeted = Result<Sender, hyper::Error>;

/// Begins one on a socket whose other end speaks it.
pub(crate) async fn start(io: Io<Stream>) -> Result<Sender, ClientError> {
    let (tell, greeted) = oneshot::channel();
    gaggle::Builder::new()
        .name("HTTP/2 connection")
        .spawn(move || run(io, tell))
        .map_err(ClientError::Connect)?;
    // It is dropped untold only if that goroutine panics.
    let greeted = greeted.await.map_err(ClientError::exchange)?;
    greeted.map_err(ClientError::exchange)
}

fn run(io: Io<Stream>, tell: oneshot::Sender<Greeted>) {
    let beside = Beside::default();
    let handshake = http2::Builder::new(beside.clone())
        .timer(Clock)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(io);
    let connection = match gaggle::block_on(handshake) {
        Ok((sender, connection)) => {
            // An error means that who wanted it has given up; then the connection ends at once.
            let _ = tell.send(Ok(sender));
            connection
        }
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    let mut connection = Some(Box::pin(connection));
    let mut tasks = Tasks::default();
    gaggle::block_on(poll_fn(|context| {
        loop {
            // What goes wrong is told to those who wait for responses; to those who come too late by its drop.
            let is_over = connection
                .as_mut()
                .map(|one| one.as_mut().poll(context).is_ready());
            if is_over == Some(true) {
                connection = None;
            }
            if tasks.poll(&beside, context, || ()) {
                continue;
            }
            return match connection.is_none() && tasks.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        }
    }));
}
