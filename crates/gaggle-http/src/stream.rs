//! One request over HTTP/2, answered on a goroutine of its own.
//!
//! The connection's goroutine owns all that is hyper's; the request's runs what is the user's: the handler or
//! the service, and the response's body. Between them are a channel for the response's head and one for the
//! frames of its body. When the client resets the stream, hyper drops its ends of both: that ends the
//! request's context, and whatever waits to send.

use crate::request::{Exchange, Scope};
use crate::service::{is_over, unwinding};
use crate::timer::Clock;
use bytes::{Buf, Bytes};
use futures_channel::{mpsc, oneshot};
use futures_util::future::{Either, select};
use gaggle::context::Context;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::rt::Timer;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{self, Poll, ready};
use std::time::Duration;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

/// A request, and where its response goes.
pub(crate) struct Job {
    request: Request<Incoming>,
    context: Context,
    body_bytes_max: usize,
    body_time: Duration,
    reply: oneshot::Sender<Response<Streamed>>,
}

/// The connection's end of a [`Job`].
pub(crate) struct Answer {
    response: oneshot::Receiver<Response<Streamed>>,
    scope: Option<Scope>,
}

impl Job {
    /// A job, and what hyper awaits.
    pub(crate) fn new(exchange: &Exchange, mut request: Request<Incoming>) -> (Job, Answer) {
        let scope = exchange.begin();
        let (reply, response) = oneshot::channel();
        request.extensions_mut().insert(scope.context.clone());
        let job = Job {
            request,
            context: scope.context.clone(),
            body_bytes_max: exchange.settings.body_bytes_max,
            body_time: exchange.settings.timeouts.body_read,
            reply,
        };
        let answer = Answer {
            response,
            scope: Some(scope),
        };
        (job, answer)
    }

    /// Whether nobody waits for its response any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.reply.is_canceled()
    }

    /// Answers by a handler that blocks.
    pub(crate) fn run_blocking<H>(self, handler: &H)
    where
        H: Fn(&Context, Request<Bytes>) -> Response<Bytes>,
    {
        let (head, body) = self.request.into_parts();
        let collected = collect(body, self.body_bytes_max, self.body_time);
        let outcome = gaggle::block_on(collected).and_then(|bytes| {
            let request = Request::from_parts(head, bytes);
            // A handler that panicked has been dropped with all it held.
            catch_unwind(AssertUnwindSafe(|| handler(&self.context, request)))
                .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
        });
        let response = outcome.unwrap_or_else(refusal);
        // An error means that the client does not wait any more.
        let _ = self.reply.send(response.map(Streamed::whole));
    }

    /// Answers by a `tower` service, and sends the body that it makes.
    pub(crate) fn run_service<S, B>(self, mut service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        B: Body<Error: Into<BoxError>>,
    {
        if is_over(self.request.body(), self.body_bytes_max) {
            let response = refusal(StatusCode::PAYLOAD_TOO_LARGE);
            let _ = self.reply.send(response.map(Streamed::whole));
            return;
        }
        let answer = pin!(async {
            poll_fn(|context| service.poll_ready(context)).await?;
            let answer = catch_unwind(AssertUnwindSafe(|| service.call(self.request)));
            match answer {
                Ok(answer) => answer.await.map(Some),
                Err(_) => Ok(None),
            }
        });
        let outcome: Option<Result<_, S::Error>> = gaggle::block_on(unwinding(answer));
        let Some(Ok(Some(response))) = outcome else {
            let response = refusal(StatusCode::INTERNAL_SERVER_ERROR);
            let _ = self.reply.send(response.map(Streamed::whole));
            return;
        };
        let (head, body) = response.into_parts();
        if body.is_end_stream() {
            let response = Response::from_parts(head, Streamed::whole(Bytes::new()));
            let _ = self.reply.send(response);
            return;
        }
        let (frames, receiver) = mpsc::channel(0);
        let (leaver, left) = oneshot::channel();
        let streamed = Streamed::new(Content::Frames {
            frames: receiver,
            size: body.size_hint(),
            _left: left,
        });
        if self
            .reply
            .send(Response::from_parts(head, streamed))
            .is_ok()
        {
            send_frames(body, frames, leaver);
        }
    }
}

/// Sends the frames of `body` until it ends or nobody wants them, blocking this goroutine.
fn send_frames<B>(
    body: B,
    mut frames: mpsc::Sender<Result<Frame<Bytes>, BoxError>>,
    mut leaver: oneshot::Sender<Infallible>,
) where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let sent = catch_unwind(AssertUnwindSafe(|| {
        gaggle::block_on(poll_fn(|context| {
            loop {
                if leaver.poll_canceled(context).is_ready() {
                    return Poll::Ready(());
                }
                if ready!(frames.poll_ready(context)).is_err() {
                    return Poll::Ready(());
                }
                let frame = match ready!(body.as_mut().poll_frame(context)) {
                    None => return Poll::Ready(()),
                    Some(frame) => frame,
                };
                let frame = frame
                    .map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    .map_err(Into::into);
                let failed = frame.is_err();
                if frames.start_send(frame).is_err() || failed {
                    return Poll::Ready(());
                }
            }
        }));
    }));
    if sent.is_err() {
        // The client must not take a part for the whole. There is room: the last thing asked was for it.
        let _ = frames.start_send(Err("the response's body panicked".into()));
    }
}

/// The whole body, or the status that says why there is none.
async fn collect(body: Incoming, bytes_max: usize, time: Duration) -> Result<Bytes, StatusCode> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if is_over(&body, bytes_max) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let collected = pin!(Limited::new(body, bytes_max).collect());
    match select(collected, Clock.sleep(time)).await {
        Either::Left((Ok(collected), _)) => Ok(collected.to_bytes()),
        Either::Left((Err(error), _)) if error.is::<LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Either::Left((Err(_), _)) => Err(StatusCode::BAD_REQUEST),
        Either::Right(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// What is answered where there is no response.
fn refusal(status: StatusCode) -> Response<Bytes> {
    let text = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

impl Future for Answer {
    type Output = Result<Response<Streamed>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.response).poll(context));
        // The goroutine was refused, or ended without a word.
        let mut response = response
            .unwrap_or_else(|_| refusal(StatusCode::SERVICE_UNAVAILABLE).map(Streamed::whole));
        let mut scope = self.scope.take();
        if let Some(scope) = &mut scope {
            let status = response.status();
            scope.answered(status, response.extensions_mut());
        }
        response.body_mut().scope = scope;
        Poll::Ready(Ok(response))
    }
}

/// A response's body as the connection sends it; the request ends with it.
pub(crate) struct Streamed {
    content: Content,
    scope: Option<Scope>,
}

enum Content {
    Whole(Bytes),
    Frames {
        frames: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>,
        size: SizeHint,
        /// Dropped with the rest, which tells the sender.
        _left: oneshot::Receiver<Infallible>,
    },
}

impl Streamed {
    fn new(content: Content) -> Streamed {
        Streamed {
            content,
            scope: None,
        }
    }

    fn whole(bytes: Bytes) -> Streamed {
        Streamed::new(Content::Whole(bytes))
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Frames { frames, .. } => {
                futures_util::Stream::poll_next(Pin::new(frames), context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Frames { size, .. } => *size,
        }
    }
}
