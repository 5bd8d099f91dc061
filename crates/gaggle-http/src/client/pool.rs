//! The connections that are open, by origin: so many at most, and those that nobody uses.

use crate::client::Outgoing;
use crate::client::connect::{Dialer, Driver, Origin};
use crate::client::error::ClientError;
use crate::client::proxy::Proxy;
use futures_channel::oneshot;
use http::{Request, Response};
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
    driver: Driver,
    /// The driver has ended, and is not to be polled again.
    is_over: bool,
}

#[derive(Default)]
struct Host {
    /// Connections in use, idle, or being made (L1).
    open: usize,
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

impl Connection {
    /// Moves bytes; what goes wrong is told by what is awaited.
    fn poll_driver(&mut self, context: &mut Context<'_>) {
        if !self.is_over {
            self.is_over = self.driver.as_mut().poll(context).is_ready();
        }
    }

    /// Whether another request may be sent on it, as far as can be seen.
    fn is_usable(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.poll_driver(&mut context);
        !self.is_over && self.sender.is_ready()
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
        self.hosts().values().map(|host| host.open).sum()
    }

    /// A connection to `origin`, one that is idle or a new one (L1).
    pub(crate) async fn lease(
        self: &Arc<Self>,
        origin: &Origin,
        proxy: Option<&Proxy>,
    ) -> Result<Lease, ClientError> {
        let key = (origin.clone(), proxy.cloned());
        let mut place = self.place(key).await;
        if place.connection.is_none() {
            let (sender, driver) = self.dialer.connect(origin, proxy).await?;
            place.connection = Some(Connection {
                sender,
                driver,
                is_over: false,
            });
        }
        Ok(place)
    }

    /// A place among the origin's connections, with an idle connection if there is one.
    async fn place(self: &Arc<Self>, key: Key) -> Lease {
        loop {
            let turn = {
                let mut hosts = self.hosts();
                let host = hosts.entry(key.clone()).or_default();
                if let Some(idle) = host.idle.pop() {
                    drop(hosts);
                    let mut lease = Lease {
                        pool: Arc::clone(self),
                        key: key.clone(),
                        connection: Some(idle.connection),
                        is_reused: true,
                        is_recycled: false,
                    };
                    let is_fresh = idle.since.elapsed() < self.idle_time;
                    if is_fresh && lease.connection.as_mut().is_some_and(Connection::is_usable) {
                        return lease;
                    }
                    // Its place goes to this request.
                    lease.connection = None;
                    lease.is_reused = false;
                    return lease;
                }
                if host.open < self.connections_max {
                    host.open += 1;
                    return Lease {
                        pool: Arc::clone(self),
                        key,
                        connection: None,
                        is_reused: false,
                        is_recycled: false,
                    };
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

    /// Takes a connection back, or its place alone.
    fn give_back(&self, key: &Key, connection: Option<Connection>) {
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
        // The oldest are the first.
        let is_old = |idle: &Idle| idle.since.elapsed() >= self.idle_time;
        while host.idle.len() > self.idle_max || host.idle.first().is_some_and(is_old) {
            gone.push(host.idle.remove(0));
            host.open -= 1;
        }
        host.call_next();
        if host.open == 0 && host.waiting.is_empty() {
            hosts.remove(key);
        }
        drop(hosts);
        drop(gone);
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

/// A connection in use, or the place for one; dropping it closes the connection and gives up the place.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    key: Key,
    connection: Option<Connection>,
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

    /// Sends a request and awaits the head of its response, moving the connection's bytes meanwhile.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let connection = self
            .connection
            .as_mut()
            .expect("a lease is of a connection");
        let mut response = pin!(connection.sender.try_send_request(request));
        let (driver, is_over) = (&mut connection.driver, &mut connection.is_over);
        let outcome = poll_fn(|context| {
            if !*is_over {
                *is_over = driver.as_mut().poll(context).is_ready();
            }
            response.as_mut().poll(context)
        });
        outcome.await.map_err(|mut failure| {
            let unsent = failure.take_message().map(Box::new);
            (failure.into_error(), unsent)
        })
    }

    /// Moves the connection's bytes.
    pub(crate) fn poll_driver(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.poll_driver(context);
        }
    }

    /// Gives the connection to the next request, if it is good for one (L2).
    pub(crate) fn recycle(mut self) {
        self.is_recycled = self.connection.as_mut().is_some_and(Connection::is_usable);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| self.is_recycled);
        self.pool.give_back(&self.key, connection);
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
    use std::future::Future;
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
}
