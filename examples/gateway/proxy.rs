//! The gateway itself: where a request goes, what is done when that server does not answer, and what of a
//! message is for one connection only.

use bytes::Bytes;
use gaggle::context::Context;
use gaggle::sync::{Permit, Semaphore};
use gaggle_http::client::{Client, ClientError, Proxies, ResponseBody};
use gaggle_http::{Peer, Route, ServerBuilder, Stopped};
use http::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, RETRY_AFTER, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty, Full};
use hyper::body::{Body, Incoming};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How many requests a server is sent at the same time; others wait, but not longer than this.
const IN_FLIGHT_MAX: usize = 2_000;
const QUEUE_TIME: Duration = Duration::from_secs(5);
/// How long a body may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a server is asked how it is.
const HEALTH_PERIOD: Duration = Duration::from_millis(20);
/// What concerns one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

type Answer = Response<Either<Full<Bytes>, ResponseBody>>;

/// One server behind the gateway.
pub struct Backend {
    authority: Authority,
    is_healthy: AtomicBool,
    /// One for each request, until the head of its response has come.
    places: Semaphore,
    answered: AtomicUsize,
}

impl Backend {
    pub fn new(address: SocketAddr) -> Arc<Backend> {
        let authority = address.to_string().parse();
        Arc::new(Backend {
            authority: authority.expect("an address is an authority"),
            is_healthy: AtomicBool::new(true),
            places: Semaphore::new(IN_FLIGHT_MAX),
            answered: AtomicUsize::new(0),
        })
    }

    /// How many requests it has answered.
    pub fn answered(&self) -> usize {
        // Relaxed: a count.
        self.answered.load(Ordering::Relaxed)
    }

    fn is_healthy(&self) -> bool {
        // Relaxed: a hint.
        self.is_healthy.load(Ordering::Relaxed)
    }

    fn set_healthy(&self, is_healthy: bool) {
        // Relaxed: see `is_healthy`.
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }
}

/// The servers of one part of the address space.
pub struct Pool {
    prefix: &'static str,
    backends: Vec<Arc<Backend>>,
    next: AtomicUsize,
}

impl Pool {
    pub fn new(prefix: &'static str, backends: Vec<Arc<Backend>>) -> Pool {
        Pool {
            prefix,
            backends,
            next: AtomicUsize::new(0),
        }
    }

    /// A server that is not known to be down and has a place, the first of them from `first` on; where all
    /// are busy it waits for one of them.
    fn place(&self, first: usize, context: &Context) -> Option<(&Backend, Permit)> {
        let count = self.backends.len();
        let in_turn = (0..count).map(|step| &*self.backends[(first + step) % count]);
        let mut healthy = in_turn.filter(|backend| backend.is_healthy());
        let free = |backend: &&Backend| backend.places.try_acquire(1);
        let found = healthy
            .clone()
            .find_map(|backend| Some((backend, free(&backend)?)));
        found.or_else(|| {
            let backend = healthy.next()?;
            let (context, _cancel) = context.with_timeout(QUEUE_TIME);
            let place = backend.places.acquire_context(&context, 1);
            Some((backend, place.ok()?))
        })
    }
}

#[derive(Clone)]
pub struct Gateway {
    pools: Arc<[Pool]>,
    client: Client,
    retries: Arc<AtomicUsize>,
}

impl Gateway {
    /// A gateway to these servers; the first pool whose prefix a path has is the one that is asked.
    pub fn new(pools: impl Into<Arc<[Pool]>>) -> Gateway {
        let client = Client::builder()
            .proxies(Proxies::none())
            .connections_per_host(2 * IN_FLIGHT_MAX)
            .idle_per_host(500)
            .no_timeout();
        Gateway {
            pools: pools.into(),
            client: client.build(),
            retries: Arc::default(),
        }
    }

    /// How many requests were sent again.
    pub fn repeated(&self) -> usize {
        // Relaxed: a count.
        self.retries.load(Ordering::Relaxed)
    }

    /// Serves `listener` until `context` ends and what is in flight has been answered, blocking this
    /// goroutine.
    ///
    /// # Errors
    /// The listener's.
    pub fn serve(
        &self,
        listener: TcpListener,
        context: &Context,
        settings: ServerBuilder,
    ) -> std::io::Result<Stopped> {
        let watching = gaggle::go({
            let (context, gateway) = (context.clone(), self.clone());
            move || gateway.watch_health(&context)
        });
        let gateway = self.clone();
        let service = tower::service_fn(move |request| gateway.clone().handle(request));
        // Bodies pass through: they are as long as the servers behind allow, and take their time.
        let settings = settings
            .body_bytes_max(usize::MAX)
            .body_read_timeout(BODY_TIME_MAX);
        let stopped = settings.build().serve_service(listener, context, service);
        watching.join().expect("the watcher does not panic");
        stopped
    }

    async fn handle(self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let path = request.uri().path();
        let pool = self.pools.iter().find(|pool| path.starts_with(pool.prefix));
        let Some(pool) = pool else {
            return Ok(refusal(StatusCode::NOT_FOUND));
        };
        let mut response = self.pass_on(pool, request).await;
        response.extensions_mut().insert(Route::new(pool.prefix));
        Ok(response)
    }

    async fn pass_on(&self, pool: &Pool, request: Request<Incoming>) -> Answer {
        let (mut head, body) = request.into_parts();
        let context = head.extensions.remove::<Context>();
        let context = context.expect("the server gives every request one");
        // What has no body and changes nothing may be asked again.
        let may_repeat = body.is_end_stream()
            && matches!(
                head.method,
                Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE
            );
        let mut body = Some(body);
        head.headers = forwarded(head.headers, &context);
        // Relaxed: a number to begin with.
        let first = pool.next.fetch_add(1, Ordering::Relaxed);
        let mut failed = None;
        for step in 0..pool.backends.len() * 2 {
            let Some((backend, place)) = pool.place(first + step, &context) else {
                break;
            };
            let body = match may_repeat {
                true => Either::Left(Empty::new()),
                false => match body.take() {
                    Some(body) => Either::Right(body),
                    None => break,
                },
            };
            let Ok(outgoing) = outgoing(&head, backend, body) else {
                return refusal(StatusCode::BAD_REQUEST);
            };
            let outcome = self.client.send(&context, outgoing).await;
            drop(place);
            match outcome {
                Ok(mut response) => {
                    backend.answered.fetch_add(1, Ordering::Relaxed);
                    drop_hop_by_hop(response.headers_mut());
                    return response.map(Either::Right);
                }
                // The client of the gateway has gone: nobody waits for an answer.
                Err(error @ ClientError::Ended(_)) => return failure(&error),
                Err(error) => {
                    backend.set_healthy(false);
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => failure(&error),
            None => refusal(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Asks each server how it is, until `context` ends.
    fn watch_health(&self, context: &Context) {
        while context.err().is_none() {
            for backend in self.pools.iter().flat_map(|pool| &pool.backends) {
                let asked = self
                    .client
                    .get(context, &format!("http://{}/health", backend.authority));
                backend.set_healthy(asked.is_ok_and(|response| response.status().is_success()));
            }
            context.run(|| gaggle::time::sleep(HEALTH_PERIOD));
        }
    }
}

/// The request as a server behind the gateway is sent it.
fn outgoing<B>(head: &Parts, backend: &Backend, body: B) -> http::Result<Request<B>> {
    let path = head.uri.path_and_query().cloned();
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(backend.authority.clone())
        .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")))
        .build()?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers.clone();
    Ok(request)
}

/// The headers for the next connection, with what this one knows of the client.
fn forwarded(mut headers: HeaderMap, context: &Context) -> HeaderMap {
    drop_hop_by_hop(&mut headers);
    headers.remove(HOST);
    if let Some(Peer::Tcp(address)) = context.value::<Peer>()
        && let Ok(value) = HeaderValue::from_str(&address.ip().to_string())
    {
        headers.append("x-forwarded-for", value);
    }
    headers
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // The connection's header names what else is of the connection only.
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode) -> Answer {
    let text = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Either::Left(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn failure(error: &ClientError) -> Answer {
    match error {
        ClientError::TimedOut => refusal(StatusCode::GATEWAY_TIMEOUT),
        _ => refusal(StatusCode::BAD_GATEWAY),
    }
}
