//! What stands between hyper and the user's handler: the body's limit, panics, the last response.

use crate::request::{Exchange, Scope};
use crate::upgrade;
use crate::wire::Wire;
use bytes::Bytes;
use gaggle::context::Context;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{self, Poll};
use tower_service::Service;

/// Ends the response's part of the exchange when hyper drops the body, and then the request.
struct Turn {
    wire: Rc<Wire>,
    scope: Option<Scope>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let spare = self.scope.take().and_then(Scope::end);
        self.wire.end_response(spare);
    }
}

pin_project! {
    /// A response's body, or none where an error took its place.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: Option<B>,
        turn: Turn,
    }
}

impl<B: Body> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Makes of a handler's response, or of its failure, what hyper sends.
fn outgoing<B>(
    wire: Rc<Wire>,
    mut scope: Scope,
    outcome: Result<Response<B>, StatusCode>,
) -> Response<Outgoing<B>> {
    let failed = outcome.is_err();
    let (mut head, body) = match outcome {
        Ok(response) => {
            let (head, body) = response.into_parts();
            (head, Some(body))
        }
        Err(status) => {
            let (mut head, ()) = Response::new(()).into_parts();
            head.status = status;
            (head, None)
        }
    };
    scope.answered(head.status, &mut head.extensions);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(handover) = upgrade::take(&mut head.extensions) {
            wire.set_upgrade(handover);
        }
    } else if failed || wire.is_draining() {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(
        head,
        Outgoing {
            body,
            turn: Turn {
                wire,
                scope: Some(scope),
            },
        },
    )
}

/// Answers one request by a blocking handler.
pub(crate) async fn answer_blocking<H>(
    wire: Rc<Wire>,
    handler: &H,
    exchange: &Exchange,
    request: Request<Incoming>,
) -> Response<Outgoing<Full<Bytes>>>
where
    H: Fn(&Context, Request<Bytes>) -> Response<Bytes>,
{
    let scope = exchange.begin_with(wire.begin_body());
    let (head, body) = request.into_parts();
    let outcome = match collect(&wire, body, exchange.settings.body_bytes_max).await {
        Err(status) => Err(status),
        Ok(bytes) => call(handler, &scope, Request::from_parts(head, bytes)),
    };
    response_of(wire, scope, outcome)
}

/// Answers one request without a body by a blocking handler.
pub(crate) fn answer_at_once<H>(
    wire: Rc<Wire>,
    handler: &H,
    exchange: &Exchange,
    request: Request<Incoming>,
) -> Response<Outgoing<Full<Bytes>>>
where
    H: Fn(&Context, Request<Bytes>) -> Response<Bytes>,
{
    let scope = exchange.begin_with(wire.begin_body());
    let outcome = call(handler, &scope, request.map(|_| Bytes::new()));
    response_of(wire, scope, outcome)
}

/// Calls a blocking handler.
fn call<H>(
    handler: &H,
    scope: &Scope,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, StatusCode>
where
    H: Fn(&Context, Request<Bytes>) -> Response<Bytes>,
{
    // A handler that panicked has been dropped with all it held; what it shares with others it must keep
    // whole itself, as in any thread.
    catch_unwind(AssertUnwindSafe(|| handler(&scope.context, request)))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// What hyper sends of a blocking handler's response, or in its place.
fn response_of(
    wire: Rc<Wire>,
    scope: Scope,
    outcome: Result<Response<Bytes>, StatusCode>,
) -> Response<Outgoing<Full<Bytes>>> {
    // Unlike a service's, this body's type lets an error say what it is.
    let outcome = outcome
        .map(|response| response.map(Full::new))
        .or_else(|status| {
            let text = status.canonical_reason().unwrap_or_default();
            let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            Ok(response)
        });
    outgoing(wire, scope, outcome)
}

/// The whole body, or the status that says why there is none.
async fn collect(wire: &Wire, body: Incoming, bytes_max: usize) -> Result<Bytes, StatusCode> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if is_over(&body, bytes_max) {
        wire.refuse();
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => {
            wire.refuse();
            Err(if error.is::<LengthLimitError>() {
                StatusCode::PAYLOAD_TOO_LARGE
            } else if wire.timed_out() {
                StatusCode::REQUEST_TIMEOUT
            } else {
                StatusCode::BAD_REQUEST
            })
        }
    }
}

pub(crate) fn is_over(body: &Incoming, bytes_max: usize) -> bool {
    body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX)
}

/// Answers one request by a `tower` service.
///
/// The service is borrowed for the moments of `poll_ready` and `call` only: the requests of a
/// connection come one after the other.
pub(crate) async fn answer_service<S, B>(
    wire: Rc<Wire>,
    service: &RefCell<S>,
    exchange: &Exchange,
    mut request: Request<Incoming>,
) -> Response<Outgoing<B>>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    let scope = exchange.begin_with(wire.begin_body());
    if is_over(request.body(), exchange.settings.body_bytes_max) {
        wire.refuse();
        return outgoing(wire, scope, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
    request.extensions_mut().insert(scope.context.clone());
    let answer = pin!(async {
        poll_fn(|context| service.borrow_mut().poll_ready(context)).await?;
        let answer = service.borrow_mut().call(request);
        answer.await
    });
    let outcome = match unwinding(answer).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(_)) | None => {
            // Part of the body may be unread; if none is, this costs an idle client one second.
            wire.refuse();
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    outgoing(wire, scope, outcome)
}

/// Awaits `future`; `None`: it panicked.
pub(crate) async fn unwinding<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        // A future that panicked is never polled again, only dropped.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
