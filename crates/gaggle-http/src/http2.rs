//! HTTP/2 on goroutines: one for the connection, which polls hyper and the socket, and one for each request
//! ([`crate::stream`]).
//!
//! - P1: everything of hyper's is polled on the connection's goroutine, which parks when nothing is to be
//!   polled; sockets, requests and timers ring its bell.
//! - P2: a connection without requests ends after the idle time, and each is told to send no more before.
//! - P3: once the server drains, the connection is told once; its requests are finished, and it ends.

use crate::connection::Application;
use crate::connections::Handle;
use crate::drive::Bell;
use crate::io::Io;
use crate::request::Exchange;
use crate::stream::Job;
use crate::timer::Clock;
use crate::transport::Transport;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How often a client that says nothing is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle client that was told to send no more has to notice.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Where hyper puts the futures of its streams: they are polled beside the connection (P1).
#[derive(Clone, Default)]
struct Beside(Rc<RefCell<Vec<Task>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Beside {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(future));
    }
}

/// Serves a connection whose `first` bytes have been read, to its end.
pub(crate) fn serve<A: Application>(
    exchange: &Exchange,
    transport: Transport,
    first: Bytes,
    application: &A,
) {
    let handle = Handle(Arc::clone(&exchange.connection));
    let Ok(io) = Io::new(handle, first) else {
        return;
    };
    let io = match transport {
        Transport::Plain => io,
        #[cfg(feature = "tls")]
        Transport::Tls(tls) => io.with_tls(tls.into_inner()),
    };
    let service = service_fn(|request| {
        let (job, answer) = Job::new(exchange, request);
        let work = application.job(job);
        // Where a goroutine is refused, the job is dropped, and the answer says so.
        drop(gaggle::Builder::new().spawn(work));
        answer
    });
    let settings = &exchange.settings;
    let beside = Beside::default();
    let head_bytes_max = u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(beside.clone())
        .timer(Clock)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(head_bytes_max)
        .serve_connection(io, service);
    let mut run = Run {
        connection: pin!(connection),
        beside,
        streams: FuturesUnordered::new(),
        told: None,
        busy_until: Instant::now(),
    };
    let bell = Bell::new();
    let waker = Waker::from(Arc::clone(&bell));
    exchange.connection.wake_on_drain(&waker);
    while let Some(wait) = run.step(&waker, exchange, |pinned| pinned.graceful_shutdown()) {
        if !bell.take() {
            std::thread::park_timeout(wait);
        }
    }
    // Streams that are left have lost their connection: their requests' contexts end.
    drop(run);
    // An error means that the peer has gone.
    let _ = exchange.connection.stream().shutdown(Shutdown::Both);
}

/// A connection that is being polled.
struct Run<'a, C> {
    connection: Pin<&'a mut C>,
    beside: Beside,
    streams: FuturesUnordered<Task>,
    /// When the client was told to send no more.
    told: Option<Instant>,
    /// When the last request ended.
    busy_until: Instant,
}

impl<C: Future> Run<'_, C> {
    /// Polls all that wants to be polled. `None`: the connection has ended; else how long to wait at most for
    /// the bell.
    fn step(
        &mut self,
        waker: &Waker,
        exchange: &Exchange,
        tell: impl Fn(Pin<&mut C>),
    ) -> Option<Duration> {
        let mut context = Context::from_waker(waker);
        loop {
            if self.connection.as_mut().poll(&mut context).is_ready() {
                return None;
            }
            let started = self.beside.0.take();
            let is_new = !started.is_empty();
            self.streams.extend(started);
            while let Poll::Ready(Some(())) = Pin::new(&mut self.streams).poll_next(&mut context) {
                self.busy_until = Instant::now();
            }
            if exchange.connection.is_draining() && self.told.is_none() {
                // P3
                self.told = Some(Instant::now());
                tell(self.connection.as_mut());
                continue;
            }
            if is_new {
                // They may have begun to send.
                continue;
            }
            if !self.streams.is_empty() {
                return Some(Duration::MAX);
            }
            // P2
            let idle = exchange.settings.timeouts.idle;
            let (since, limit) = match self.told {
                Some(told) => (told.max(self.busy_until), GOODBYE_TIME),
                None => (self.busy_until, idle),
            };
            let left = limit.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Some(left);
            }
            if self.told.is_some() {
                return None;
            }
            self.told = Some(Instant::now());
            tell(self.connection.as_mut());
        }
    }
}
