//! A gateway: a reverse proxy to several servers, which loses no request while one of them is killed and
//! started again.
//!
//! `cargo run --release -p gaggle-examples --bin gateway [REQUESTS]`
//!
//! Routing by path; for each server a limit of requests at the same time and a look at its health; a request
//! that may be repeated is, on another server; bodies stream both ways as they come.

mod support;

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_http::client::{Client, ClientError, Proxies, ResponseBody};
use gaggle_http::{Metrics, Peer, Route, Server};
use http::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::body::{Body, Incoming};
use std::convert::Infallible;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;
use support::{Watch, argument};

/// How many requests a server is sent at the same time.
const IN_FLIGHT_MAX: usize = 2_000;
/// How often a server is asked how it is.
const HEALTH_PERIOD: Duration = Duration::from_millis(20);
/// What concerns one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 4] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TRANSFER_ENCODING,
    UPGRADE,
];

type Failure = Box<dyn Error + Send + Sync>;
type Answer = Response<Either<Full<Bytes>, ResponseBody>>;

/// One server behind the gateway.
struct Backend {
    address: SocketAddr,
    is_healthy: AtomicBool,
    in_flight: AtomicUsize,
    answered: AtomicUsize,
}

/// A request's place at a server, until the head of its response has come.
struct Place(Arc<Backend>);

impl Drop for Place {
    fn drop(&mut self) {
        // Relaxed: a count.
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backend {
    fn new(address: SocketAddr) -> Arc<Backend> {
        Arc::new(Backend {
            address,
            is_healthy: AtomicBool::new(true),
            in_flight: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        })
    }

    /// A place, unless the server is down or has enough to do.
    fn place(self: &Arc<Self>) -> Option<Place> {
        // Relaxed, for all: hints and counts.
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (self.is_healthy.load(Ordering::Relaxed) && before < IN_FLIGHT_MAX).then_some(place)
    }

    fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }
}

/// The servers of one part of the address space.
struct Pool {
    prefix: &'static str,
    backends: Vec<Arc<Backend>>,
    next: AtomicUsize,
}

#[derive(Clone)]
struct Gateway {
    pools: Arc<[Pool]>,
    client: Client,
    retries: Arc<AtomicUsize>,
}

impl Gateway {
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
        let context = request.extensions().get::<Context>().cloned();
        let context = context.expect("the server gives every request one");
        let (head, body) = request.into_parts();
        // What has no body and changes nothing may be asked again.
        let may_repeat = body.is_end_stream()
            && matches!(
                head.method,
                Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE
            );
        let mut body = Some(body);
        // Relaxed: a number to begin with.
        let first = pool.next.fetch_add(1, Ordering::Relaxed);
        let mut failed = None;
        for step in 0..pool.backends.len() * 2 {
            let backend = &pool.backends[(first + step) % pool.backends.len()];
            let Some(place) = backend.place() else {
                continue;
            };
            let body = match may_repeat {
                true => Either::Left(Empty::new()),
                false => match body.take() {
                    Some(body) => Either::Right(body),
                    None => break,
                },
            };
            let mut outgoing = Request::new(body);
            *outgoing.method_mut() = head.method.clone();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let Ok(uri) = format!("http://{}{path}", backend.address).parse() else {
                return refusal(StatusCode::BAD_REQUEST);
            };
            *outgoing.uri_mut() = uri;
            *outgoing.headers_mut() = forwarded(head.headers.clone(), &context);
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
                    .get(context, &format!("http://{}/health", backend.address));
                backend.set_healthy(asked.is_ok_and(|response| response.status().is_success()));
            }
            context.run(|| gaggle::time::sleep(HEALTH_PERIOD));
        }
    }
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
    for name in &HOP_BY_HOP {
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

/// A server that runs until it is killed.
struct Running {
    address: SocketAddr,
    kill: context::Cancel,
    server: gaggle::JoinHandle<std::io::Result<gaggle_http::Stopped>>,
}

impl Running {
    /// Starts one at `address`; each answer takes some milliseconds.
    fn start(address: SocketAddr, name: &'static str) -> std::io::Result<Running> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let (context, kill) = context::background().with_cancel();
        let server = Server::builder().drain_timeout(Duration::ZERO).build();
        let service = tower::service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(match request.uri().path() {
                // As it comes.
                "/echo" => Response::new(Either::Left(request.into_body())),
                "/health" => Response::new(Either::Right(Full::new(Bytes::from_static(b"fine")))),
                _ => {
                    // Blocking its goroutine, as a query would.
                    sleep(Duration::from_millis(5));
                    Response::new(Either::Right(Full::new(Bytes::from_static(
                        name.as_bytes(),
                    ))))
                }
            })
        });
        Ok(Running {
            address,
            kill,
            server: gaggle::go(move || server.serve_service(listener, &context, service)),
        })
    }

    /// Cuts off what is in flight and ends.
    fn kill(self) -> Result<(), Failure> {
        self.kill.cancel();
        self.server.join().expect("the server does not panic")?;
        Ok(())
    }
}

/// A listener, also at an address that was in use a moment ago.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Streams `count` pieces through the gateway to a server that echoes them, each one back before the next
/// is sent.
fn stream_through(gateway: SocketAddr, count: usize) -> Result<(), Failure> {
    const PIECE: [u8; 1024] = [7; 1024];
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = count * PIECE.len();
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let mut seen = 0;
    let mut bytes = [0; 4096];
    for sent in 1..=count {
        stream.write_all(&PIECE)?;
        while seen < sent * PIECE.len() {
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                return Err("the stream ended early".into());
            }
            // The body alone is of this byte.
            seen += bytes[..read].iter().filter(|&&byte| byte == 7).count();
        }
    }
    Ok(())
}

#[gaggle::main]
fn main() -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let count: usize = argument(1, 3_000)?;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = Running::start(any_port, "first")?;
    let second = Running::start(any_port, "second")?;
    let echoing = Running::start(any_port, "echo")?;
    let backends = vec![Backend::new(first.address), Backend::new(second.address)];
    let direct = Client::builder()
        .proxies(Proxies::none())
        .connections_per_host(4_000);
    let pool = |prefix, backends| Pool {
        prefix,
        backends,
        next: AtomicUsize::new(0),
    };
    let gateway = Gateway {
        pools: [
            pool("/echo", vec![Backend::new(echoing.address)]),
            pool("/", backends.clone()),
        ]
        .into(),
        client: direct.no_timeout().idle_per_host(500).build(),
        retries: Arc::default(),
    };

    let listener = listen(any_port)?;
    let address = listener.local_addr()?;
    let (context, stop) = context::background().with_cancel();
    let metrics = Metrics::new();
    let server = Server::builder()
        .metrics(metrics.clone())
        .body_bytes_max(usize::MAX)
        .build();
    let serving = gaggle::go({
        let (context, gateway) = (context.clone(), gateway.clone());
        let service = tower::service_fn(move |request| gateway.clone().handle(request));
        move || server.serve_service(listener, &context, service)
    });
    let watching = gaggle::go({
        let (context, gateway) = (context.clone(), gateway.clone());
        move || gateway.watch_health(&context)
    });

    let watch = Watch::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..30)
        .map(|_| {
            let asked = Arc::clone(&asked);
            gaggle::go(move || -> Result<(), Failure> {
                let client = Client::builder().proxies(Proxies::none()).build();
                while asked.fetch_add(1, Ordering::Relaxed) < count {
                    let response =
                        client.get(&context::background(), &format!("http://{address}/work"))?;
                    let status = response.status();
                    let text = response.into_body().text(100)?;
                    assert!(
                        status.is_success() && ["first", "second"].contains(&&*text),
                        "{status} {text}"
                    );
                }
                Ok(())
            })
        })
        .collect();

    // Meanwhile one of the two is killed and started again, three times.
    let mut first = first;
    for round in 1..=3 {
        while asked.load(Ordering::Relaxed) < count * round / 4 {
            sleep(Duration::from_millis(1));
        }
        let address = first.address;
        first.kill()?;
        sleep(Duration::from_millis(30));
        first = Running::start(address, "first")?;
    }
    stream_through(address, 200)?;
    for client in clients {
        client.join().expect("no request is lost")?;
    }
    println!("{count} requests: {}", watch.finish());
    let shares: Vec<_> = backends
        .iter()
        .map(|backend| backend.answered.load(Ordering::Relaxed))
        .collect();
    println!(
        "answered by {shares:?}, {} repeated",
        gateway.retries.load(Ordering::Relaxed)
    );
    assert_eq!(shares.iter().sum::<usize>(), count);
    assert!(shares.iter().all(|&share| share > 0), "both take part");

    stop.cancel();
    watching.join().expect("the watcher does not panic");
    drop(gateway);
    let stopped = serving.join().expect("the gateway does not panic")?;
    assert_eq!(stopped.aborted_connections, 0, "nothing was in flight");
    let routes = metrics.routes();
    let counts: Vec<_> = routes
        .iter()
        .map(|route| (route.route.as_str(), route.count()))
        .collect();
    assert_eq!(counts, [("/", count as u64), ("/echo", 1)]);
    println!("half of them within {:?}", routes[0].quantile(0.5));
    for backend in [first, second, echoing] {
        backend.kill()?;
    }
    Ok(())
}
