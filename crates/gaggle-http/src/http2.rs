//! HTTP/2 on goroutines: one for the connection, which polls hyper and the socket, and one for each request
//! ([`crate::stream`]).
//!
//! - P1: everything of hyper's is polled on the connection's goroutine, which parks when nothing is to be
//!   polled; sockets, requests and timers ring its bell.
//! - P2: a connection without requests ends after the idle time, and each is told to send no more before.
//! - P3: once the server drains, the connection is told once; its requests are finished, and it ends.
//! - P4: a connection has at most as many goroutines as it may have streams, also when the client resets its
//!   streams as fast as it opens them: a reset ends a context, not a handler that does not mind it, and until
//!   one of them ends the next request waits.

use crate::beside::{Beside, Tasks};
use crate::connection::Application;
use crate::connections::Handle;
use crate::drive::Bell;
use crate::io::Io;
use crate::request::Exchange;
use crate::stream::Job;
use crate::timer::Clock;
use crate::transport::Transport;
use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How often a client that says nothing is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle client that was told to send no more has to notice.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// Serves a connection whose `first` bytes have been read, to its end.
pub(crate) fn serve<A: Application>(
    exchange: &Exchange,
    transport: Transport,
    first: Bytes,
    application: &A,
) {
    let handle = Handle(Arc::clone(&exchange.connection));
    let io = Io::new(handle, first);
    let io = match transport {
        Transport::Plain => io,
        #[cfg(feature = "tls")]
        Transport::Tls(tls) => io.with_tls(tls.into_inner()),
    };
    let settings = &exchange.settings;
    let bell = Bell::new();
    let waker = Waker::from(Arc::clone(&bell));
    let jobs = Jobs {
        waiting: RefCell::default(),
        running: Arc::default(),
        running_max: settings.streams_max as usize,
        waker: waker.clone(),
    };
    let service = service_fn(|request| {
        let (job, answer) = Job::new(exchange, request);
        jobs.add(job);
        jobs.start(application);
        answer
    });
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
        streams: Tasks::default(),
        told: None,
        busy_until: Instant::now(),
    };
    exchange.connection.wake_on_drain(&waker);
    while let Some(wait) = run.step(&waker, exchange, |pinned| pinned.graceful_shutdown()) {
        if !bell.take() {
            std::thread::park_timeout(wait);
        }
        jobs.start(application);
    }
    // Streams that are left have lost their connection: their requests' contexts end.
    drop(run);
    // An error means that the peer has gone.
    let _ = exchange.connection.stream().shutdown(Shutdown::Both);
}

/// The requests of one connection that run, and those that wait to (P4).
struct Jobs {
    waiting: RefCell<VecDeque<Job>>,
    running: Arc<AtomicUsize>,
    running_max: usize,
    waker: Waker,
}

impl Jobs {
    fn add(&self, job: Job) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= self.running_max {
            // The others are no more than the open streams.
            waiting.retain(|job| !job.is_given_up());
        }
        waiting.push_back(job);
    }

    /// Starts as many as there is room for.
    fn start<A: Application>(&self, application: &A) {
        // Acquire: pairs with the Release in `Place::drop`; it may be less by now, and then the bell rings.
        while self.running.load(Ordering::Acquire) < self.running_max {
            let Some(job) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            if job.is_given_up() {
                continue;
            }
            // Relaxed: only this goroutine adds.
            self.running.fetch_add(1, Ordering::Relaxed);
            let place = Place {
                running: Arc::clone(&self.running),
                waker: self.waker.clone(),
            };
            let work = application.job(job);
            let work = move || {
                let _place = place;
                work();
            };
            // Where a goroutine is refused, the job is dropped, and the answer says so.
            drop(gaggle::Builder::new().spawn(work));
        }
    }
}

/// One of the goroutines that a connection may have.
struct Place {
    running: Arc<AtomicUsize>,
    waker: Waker,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Jobs::start`.
        self.running.fetch_sub(1, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

/// A connection that is being polled.
struct Run<'a, C> {
    connection: Pin<&'a mut C>,
    beside: Beside,
    streams: Tasks,
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
            let ended = || self.busy_until = Instant::now();
            let is_new = self.streams.poll(&self.beside, &mut context, ended);
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
