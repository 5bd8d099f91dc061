//! The connections that are open, by origin: so many at most, and those that nobody uses.

use crate::client::Outgoing;
use crate::client::connect::{Dialer, Driver, Made, Origin};
use crate::client::error::ClientError;
use crate::client::proxy::Proxy;
use futures_channel::oneshot;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

type Key = (Origin, Option<Proxy>);

/// A connection without a request.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// hyper's two halves.
struct Connection {
    sender: SendRequest<Outgoing>,
    /// `None`: it has ended. It is dropped at once: hyper tells a request that came too late of the end by that
    /// alone.
    driver: Option<Driver>,
}

/// A connection of HTTP/2, which requests share.
#[cfg(feature = "http2")]
struct Shared {
    sender: crate::client::http2::Sender,
    /// When the last request on it ended.
    since: Instant,
}

/// What a request is sent on.
enum Link {
    /// A connection of its own.
    One(Connection),
    /// A stream of a connection that others use as well.
    #[cfg(feature = "http2")]
    Stream(crate::client::http2::Sender),
}

#[derive(Default)]
struct Host {
    /// Connections in use, idle, or being made; and streams (L1).
    open: usize,
    /// How many of those are streams.
    streams: usize,
    #[cfg(feature = "http2")]
    shared: Option<Shared>,
    /// Who waits while somebody makes a connection that may turn out to be for all (L4).
    #[cfg(feature = "http2")]
    dialing: Option<Vec<oneshot::Sender<()>>>,
    /// A connection that could have been for all was for one.
    #[cfg(feature = "http2")]
    is_http1: bool,
    /// The one used last is the last.
    idle: Vec<Idle>,
    /// Who waits for one to become free, the first first.
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Host {
    /// Tells the first who waits that there may be something for it.
    fn call_next(&mut self) {
        // Who has given up waiting does not take the turn.
        while let Some(call) = self.waiting.pop_front() {
            if call.send(()).is_ok() {
                break;
            }
        }
    }
}

/// A wait for a connection to become free. Who gives up at the moment in which it is called calls the next, as
/// nobody else would.
struct Turn<'a> {
    pool: &'a Pool,
    key: &'a Key,
    turn: oneshot::Receiver<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // From here on who calls learns that nobody is here.
        self.turn.close();
        if let Ok(Some(())) = self.turn.try_recv()
            && let Some(host) = self.pool.hosts().get_mut(self.key)
        {
            host.call_next();
        }
    }
}

pub(crate) struct Pool {
    pub(crate) dialer: Dialer,
    hosts: Mutex<HashMap<Key, Host>>,
    connections_max: usize,
    idle_max: usize,
    idle_time: Duration,
}

/// Polls a driver until it ends, and drops it then.
fn poll_driver(driver: &mut Option<Driver>, context: &mut Context<'_>) {
    let is_over = |driver: &mut Driver| driver.as_mut().poll(context).is_ready();
    if driver.as_mut().is_some_and(is_over) {
        *driver = None;
    }
}

impl Connection {
    /// Moves bytes; what goes wrong is told by what is awaited.
    fn poll_driver(&mut self, context: &mut Context<'_>) {
        poll_driver(&mut self.driver, context);
    }

    /// Whether another request may be sent on it, as far as can be seen.
    fn is_usable(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.poll_driver(&mut context);
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl Pool {
    pub(crate) fn new(
        dialer: Dialer,
        connections_max: usize,
        idle_max: usize,
        idle_time: Duration,
    ) -> Pool {
        Pool {
            dialer,
            hosts: Mutex::default(),
            connections_max,
            idle_max,
            idle_time,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Key, Host>> {
        // Nothing of the program's runs under it, so it is whole.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connections(&self) -> usize {
        let hosts = self.hosts();
        let counts = hosts
            .values()
            .map(|host| host.open - host.streams + host.shared_count());
        counts.sum()
    }

    /// A connection to `origin`, or a stream on one: one that is there, or a new one (L1).
    pub(crate) async fn lease(
        self: &Arc<Self>,
        origin: &Origin,
        proxy: Option<&Proxy>,
    ) -> Result<Lease, ClientError> {
        let key = (origin.clone(), proxy.cloned());
        let mut place = self.place(key).await;
        if place.link.is_some() {
            return Ok(place);
        }
        #[cfg(feature = "http2")]
        let _dialing = match self.dialer.may_be_http2(origin, proxy) {
            true => match self.turn_to_dial(&mut place).await {
                Dial::Found => return Ok(place),
                Dial::Own(dialing) => dialing,
            },
            false => None,
        };
        match self.dialer.connect(origin, proxy).await? {
            Made::Http1(sender, driver) => {
                #[cfg(feature = "http2")]
                if let Some(host) = self.hosts().get_mut(&place.key) {
                    host.is_http1 = true;
                }
                place.link = Some(Link::One(Connection {
                    sender,
                    driver: Some(driver),
                }));
            }
            #[cfg(feature = "http2")]
            Made::Http2(sender) => {
                if let Some(host) = self.hosts().get_mut(&place.key) {
                    host.streams += 1;
                    host.is_http1 = false;
                    host.shared = Some(Shared {
                        sender: sender.clone(),
                        since: Instant::now(),
                    });
                }
                place.link = Some(Link::Stream(sender));
            }
        }
        Ok(place)
    }

    /// Waits while another makes a connection that may be for all (L4).
    #[cfg(feature = "http2")]
    async fn turn_to_dial<'a>(self: &'a Arc<Self>, place: &mut Lease) -> Dial<'a> {
        loop {
            let turn = {
                let mut hosts = self.hosts();
                let Some(host) = hosts.get_mut(&place.key) else {
                    return Dial::Own(None);
                };
                if let Some(sender) = host.stream(self.idle_time) {
                    host.streams += 1;
                    place.link = Some(Link::Stream(sender));
                    place.is_reused = true;
                    return Dial::Found;
                }
                if host.is_http1 {
                    return Dial::Own(None);
                }
                match &mut host.dialing {
                    Some(waiting) => {
                        let (call, turn) = oneshot::channel();
                        waiting.push(call);
                        turn
                    }
                    none => {
                        *none = Some(Vec::new());
                        let key = place.key.clone();
                        return Dial::Own(Some(Dialing { pool: self, key }));
                    }
                }
            };
            // It is dropped, or rings: both mean that it is over.
            let _ = turn.await;
        }
    }

    /// A place among the origin's connections, with an idle connection or a stream if there is one.
    async fn place(self: &Arc<Self>, key: Key) -> Lease {
        let lease = |link: Option<Link>| Lease {
            pool: Arc::clone(self),
            key: key.clone(),
            is_reused: link.is_some(),
            link,
            is_recycled: false,
        };
        loop {
            let turn = {
                let mut hosts = self.hosts();
                let host = hosts.entry(key.clone()).or_default();
                if let Some(idle) = host.idle.pop() {
                    drop(hosts);
                    let mut connection = idle.connection;
                    let is_fresh = idle.since.elapsed() < self.idle_time;
                    // If it is good for nothing, its place goes to this request.
                    let is_usable = is_fresh && connection.is_usable();
                    return lease(is_usable.then_some(Link::One(connection)));
                }
                if host.open < self.connections_max {
                    host.open += 1;
                    #[cfg(feature = "http2")]
                    if let Some(sender) = host.stream(self.idle_time) {
                        host.streams += 1;
                        return lease(Some(Link::Stream(sender)));
                    }
                    return lease(None);
                }
                let (call, turn) = oneshot::channel();
                host.waiting.push_back(call);
                turn
            };
            let mut turn = Turn {
                pool: self,
                key: &key,
                turn,
            };
            // An error would mean that the pool is gone, which this holds.
            let _ = (&mut turn.turn).await;
        }
    }

    /// Takes a connection back, or its place alone, which may have been one for a stream.
    fn give_back(&self, key: &Key, connection: Option<Connection>, is_stream: bool) {
        let mut gone = Vec::new();
        let mut hosts = self.hosts();
        let Some(host) = hosts.get_mut(key) else {
            return;
        };
        match connection {
            Some(connection) => host.idle.push(Idle {
                connection,
                since: Instant::now(),
            }),
            None => host.open -= 1,
        }
        #[cfg(feature = "http2")]
        let unused = host.end_stream(is_stream, self.idle_max);
        #[cfg(not(feature = "http2"))]
        let _ = is_stream;
        // The oldest are the first.
        let is_old = |idle: &Idle| idle.since.elapsed() >= self.idle_time;
        while host.idle.len() > self.idle_max || host.idle.first().is_some_and(is_old) {
            gone.push(host.idle.remove(0));
            host.open -= 1;
        }
        host.call_next();
        if host.open == 0 && host.waiting.is_empty() && host.shared_count() == 0 {
            hosts.remove(key);
        }
        drop(hosts);
        drop(gone);
        #[cfg(feature = "http2")]
        drop(unused);
    }
}

impl Host {
    /// How many connections are shared.
    fn shared_count(&self) -> usize {
        #[cfg(feature = "http2")]
        return usize::from(
            self.shared
                .as_ref()
                .is_some_and(|shared| !shared.sender.is_closed()),
        );
        #[cfg(not(feature = "http2"))]
        0
    }

    /// A stream on the shared connection, if there is one that is good for another request.
    #[cfg(feature = "http2")]
    fn stream(&mut self, idle_time: Duration) -> Option<crate::client::http2::Sender> {
        let shared = self.shared.as_ref()?;
        let is_old = self.streams == 0 && shared.since.elapsed() >= idle_time;
        if is_old || shared.sender.is_closed() {
            self.shared = None;
            return None;
        }
        Some(shared.sender.clone())
    }

    /// Counts a stream that has ended; answers the connection that is not kept.
    #[cfg(feature = "http2")]
    fn end_stream(&mut self, is_stream: bool, idle_max: usize) -> Option<Shared> {
        if !is_stream {
            return None;
        }
        self.streams -= 1;
        let shared = self.shared.as_mut()?;
        shared.since = Instant::now();
        let is_kept = !shared.sender.is_closed() && (idle_max > 0 || self.streams > 0);
        if is_kept { None } else { self.shared.take() }
    }
}

/// What came of waiting for the one that makes a connection.
#[cfg(feature = "http2")]
enum Dial<'a> {
    /// There is one for all now.
    Found,
    /// One's own is to be made; the others wait if it may be for all.
    Own(Option<Dialing<'a>>),
}

/// Lets the others go on when it is dropped.
#[cfg(feature = "http2")]
struct Dialing<'a> {
    pool: &'a Pool,
    key: Key,
}

#[cfg(feature = "http2")]
impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        let waiting = self
            .pool
            .hosts()
            .get_mut(&self.key)
            .and_then(|host| host.dialing.take());
        for call in waiting.into_iter().flatten() {
            // Who has given up waiting does not hear it.
            let _ = call.send(());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("dialer", &self.dialer)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// A connection in use, a stream of one, or the place for either; dropping it closes the connection or ends
/// the stream, and gives up the place.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    key: Key,
    link: Option<Link>,
    is_reused: bool,
    is_recycled: bool,
}

/// Why there is no response, and the request, if it was never sent.
type Unanswered = (hyper::Error, Option<Box<Request<Outgoing>>>);

impl Lease {
    /// Whether the connection has served other requests.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Gives a request for `uri` the form that it has on this connection.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn shape(
        &self,
        request: &mut Request<Outgoing>,
        uri: &Uri,
    ) -> Result<(), ClientError> {
        let (origin, proxy) = &self.key;
        let headers = request.headers_mut();
        #[cfg(feature = "http2")]
        if matches!(self.link, Some(Link::Stream(_))) {
            // The whole address is in the fields that begin with a colon.
            headers.remove(HOST);
            *request.uri_mut() = uri.clone();
            return Ok(());
        }
        if !headers.contains_key(HOST) {
            let host =
                HeaderValue::from_str(&origin.host_header()).map_err(ClientError::request)?;
            headers.insert(HOST, host);
        }
        // A proxy is asked for the whole address, unless it only passes bytes on.
        *request.uri_mut() = match proxy.is_some() && !origin.is_secure {
            true => uri.clone(),
            false => {
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                path.parse().map_err(ClientError::request)?
            }
        };
        Ok(())
    }

    /// Sends a request and awaits the head of its response, moving the bytes of a connection of its own
    /// meanwhile.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let outcome = match self.link.as_mut().expect("a lease is of a connection") {
            Link::One(connection) => {
                let mut response = pin!(connection.sender.try_send_request(request));
                let driver = &mut connection.driver;
                poll_fn(|context| {
                    poll_driver(driver, context);
                    response.as_mut().poll(context)
                })
                .await
            }
            #[cfg(feature = "http2")]
            Link::Stream(sender) => sender.try_send_request(request).await,
        };
        outcome.map_err(|mut failure| {
            let unsent = failure.take_message().map(Box::new);
            (failure.into_error(), unsent)
        })
    }

    /// A request to be sent instead of `request` if the server says goodbye to it, where that may be done.
    #[cfg(feature = "http2")]
    pub(crate) fn spare(&self, request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
        match &self.link {
            Some(Link::Stream(_)) if self.is_reused => crate::client::http2::spare(request),
            _ => None,
        }
    }

    /// Notes what came of a request; whether the server said goodbye. Nobody else is then given a stream of
    /// that connection.
    #[cfg(feature = "http2")]
    pub(crate) fn is_goodbye(&self, error: &hyper::Error) -> bool {
        let is_goodbye = crate::client::http2::is_goodbye(error);
        if is_goodbye {
            let mut hosts = self.pool.hosts();
            let shared = hosts.get_mut(&self.key).and_then(|host| host.shared.take());
            drop(hosts);
            drop(shared);
        }
        is_goodbye
    }

    /// Moves the bytes of a connection of its own.
    pub(crate) fn poll_driver(&mut self, context: &mut Context<'_>) {
        match &mut self.link {
            Some(Link::One(connection)) => connection.poll_driver(context),
            #[cfg(feature = "http2")]
            Some(Link::Stream(_)) => {}
            None => {}
        }
    }

    /// Gives the connection to the next request, if it is good for one (L2).
    pub(crate) fn recycle(mut self) {
        self.is_recycled = match &mut self.link {
            Some(Link::One(connection)) => connection.is_usable(),
            _ => false,
        };
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (connection, is_stream) = match self.link.take() {
            Some(Link::One(connection)) => (Some(connection), false),
            #[cfg(feature = "http2")]
            Some(Link::Stream(_)) => (None, true),
            None => (None, false),
        };
        let connection = connection.filter(|_| self.is_recycled);
        self.pool.give_back(&self.key, connection, is_stream);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Io;
    use crate::listener::Stream;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http1;
    use std::future::Future;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::pin::Pin;
    use std::task::Poll;

    #[test]
    fn who_gives_up_when_called_calls_the_next() {
        let pool = Arc::new(Pool::new(Dialer::new(), 1, 1, Duration::from_secs(60)));
        let origin = Origin::of(&"http://host/".parse().expect("a URL")).expect("an origin");
        let key: Key = (origin, None);
        let mut context = Context::from_waker(Waker::noop());
        let place = || Box::pin(pool.place(key.clone()));
        let Poll::Ready(first) = place().as_mut().poll(&mut context) else {
            panic!("there is a place");
        };
        let (mut second, mut third) = (place(), place());
        let mut is_waiting = |future: &mut Pin<Box<_>>| {
            let polled: Poll<Lease> = Future::poll(Pin::as_mut(future), &mut context);
            polled.is_pending()
        };
        assert!(is_waiting(&mut second) && is_waiting(&mut third));
        // The second is called, and never learns of it.
        drop(first);
        drop(second);
        assert!(!is_waiting(&mut third));
    }

    #[test]
    fn who_asks_on_a_connection_that_has_just_ended_is_told_and_keeps_its_request() {
        let pool = Arc::new(Pool::new(Dialer::new(), 1, 1, Duration::from_secs(60)));
        let origin = Origin::of(&"http://host/".parse().expect("a URL")).expect("an origin");
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(mut lease) = pin!(pool.place((origin, None))).poll(&mut context) else {
            panic!("there is a place");
        };
        let (here, mut there) = UnixStream::pair().expect("descriptors enough");
        let io = Io::new(Stream::Unix(here), Bytes::new());
        let (sender, driver) = gaggle::block_on(http1::handshake(io)).expect("nothing is sent yet");
        lease.link = Some(Link::One(Connection {
            sender,
            driver: Some(Box::pin(driver)),
        }));
        let request = || {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            Request::new(body)
        };
        // A new connection that ends is an error; one that has served a request just ends.
        let mut first = Box::pin(lease.send(request()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut bytes = [0; 512];
        assert_ne!(there.read(&mut bytes).expect("a request"), 0);
        there
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("room for an answer");
        assert!(first.as_mut().poll(&mut context).is_ready());
        drop(first);
        let Some(Link::One(connection)) = &mut lease.link else {
            panic!("it was put there");
        };
        assert!(connection.is_usable());
        drop(there);
        let Poll::Ready(outcome) = pin!(lease.send(request())).poll(&mut context) else {
            panic!("it would wait for ever");
        };
        let (_, unsent) = outcome.expect_err("nobody answers");
        assert!(unsent.is_some());
    }
}
