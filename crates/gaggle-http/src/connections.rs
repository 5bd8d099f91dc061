//! The connections of one server: how many there are, and how they are told to end.
//!
//! - N1: a connection is in the table from its accept until its goroutine has ended, panics included.
//! - N2: once draining has begun, a connection that waits for a next request has its read side shut,
//!   whichever came first, the wait or the drain: each side writes its own word before it reads the
//!   other's, both sequentially consistent, so at least one of them sees the other.
//! - N3: a connection with a request in flight is left alone until the drain's time is up.

use crate::listener::{Peer, Stream};
use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request is being read or answered.
const BUSY: u8 = 0;
/// The connection waits for the first byte of a request.
const WAITING: u8 = 1;
/// The read side has been shut: no further request will come.
const CLOSING: u8 = 2;

/// One connection, as the goroutine that serves it and the one that stops the server share it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    state: AtomicU8,
    /// Who is to be told that draining has begun, where more than one request may be in flight.
    #[cfg(feature = "http2")]
    on_drain: Mutex<Option<std::task::Waker>>,
    table: Arc<Connections>,
    number: u64,
}

impl Connection {
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Has `waker` woken when draining begins; it may have begun already.
    #[cfg(feature = "http2")]
    pub(crate) fn wake_on_drain(&self, waker: &std::task::Waker) {
        *self.on_drain.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    #[cfg(feature = "http2")]
    fn tell_of_drain(&self) {
        let waker = self
            .on_drain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the server is being stopped: this connection's next response is its last.
    pub(crate) fn is_draining(&self) -> bool {
        self.table.is_draining()
    }

    /// The goroutine is about to wait for the first byte of a request.
    pub(crate) fn begin_wait(&self) {
        // SeqCst: before the load of `draining`, as N2 asks; pairs with `begin_drain`.
        self.state.store(WAITING, Ordering::SeqCst);
        if self.table.is_draining() {
            self.close_if_waiting();
        }
    }

    /// The wait is over, whatever ended it.
    pub(crate) fn end_wait(&self) {
        // SeqCst: pairs with the exchange in `close_if_waiting`. A failure means that the read side
        // has been shut: what has arrived is still served, and then the end of the stream is read.
        let _ = self
            .state
            .compare_exchange(WAITING, BUSY, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn close_if_waiting(&self) {
        // SeqCst: pairs with the store in `begin_wait` and the exchange in `end_wait`.
        if self
            .state
            .compare_exchange(WAITING, CLOSING, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            self.shut(Shutdown::Read);
        }
    }

    fn shut(&self, side: Shutdown) {
        // An error means that the peer has already gone, and then there is nothing left to shut.
        let _ = self.stream.shutdown(side);
    }
}

/// A connection as the owner of its descriptor.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Connection>);

#[cfg(unix)]
impl std::os::fd::AsFd for Handle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.stream.as_fd()
    }
}

/// A connection's place in the table; dropping it leaves (N1).
#[derive(Debug)]
pub(crate) struct Seat {
    connection: Arc<Connection>,
}

impl Seat {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let table = &self.connection.table;
        table.lock().remove(&self.connection.number);
        table.changed.notify_all();
    }
}

/// All connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    changed: Condvar,
    draining: AtomicBool,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        // No code that can panic half-way runs under the lock, so a poisoned table is still whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_draining(&self) -> bool {
        // SeqCst: pairs with the store in `begin_drain` (N2).
        self.draining.load(Ordering::SeqCst)
    }

    /// Enters a connection under `number`, which its caller never uses twice.
    pub(crate) fn enter(self: &Arc<Self>, number: u64, stream: Stream, peer: Peer) -> Seat {
        let connection = Arc::new(Connection {
            stream,
            peer,
            #[cfg(feature = "http2")]
            on_drain: Mutex::new(None),
            state: AtomicU8::new(BUSY),
            table: Arc::clone(self),
            number,
        });
        self.lock().insert(number, Arc::clone(&connection));
        Seat { connection }
    }

    /// Blocks this goroutine until there are fewer than `limit` connections. `false`: draining has
    /// begun.
    pub(crate) fn wait_for_room(&self, limit: usize) -> bool {
        let mut open = self.lock();
        while !self.is_draining() && open.len() >= limit {
            open = self
                .changed
                .wait(open)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !self.is_draining()
    }

    /// Blocks this goroutine for `time`, or until draining begins.
    pub(crate) fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut open = self.lock();
        while !self.is_draining() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            open = self
                .changed
                .wait_timeout(open, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// No further requests: closes the connections that wait for one (N2).
    pub(crate) fn begin_drain(&self) {
        let open = self.lock();
        // SeqCst: before the exchange in `close_if_waiting`, as N2 asks; pairs with `is_draining`.
        // Under the lock, so that no waiter of `changed` misses it between its check and its wait.
        self.draining.store(true, Ordering::SeqCst);
        let all: Vec<_> = open.values().cloned().collect();
        drop(open);
        self.changed.notify_all();
        for connection in all {
            connection.close_if_waiting();
            #[cfg(feature = "http2")]
            connection.tell_of_drain();
        }
    }

    /// Blocks this goroutine until no connection is left, or for `time`; answers how many are left.
    pub(crate) fn wait_until_empty(&self, time: Duration) -> usize {
        let deadline = Instant::now().checked_add(time);
        let mut open = self.lock();
        while !open.is_empty() {
            open = match deadline {
                None => self
                    .changed
                    .wait(open)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed
                        .wait_timeout(open, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        open.len()
    }

    /// Ends every connection, in flight or not.
    pub(crate) fn abort(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for connection in all {
            connection.shut(Shutdown::Both);
        }
    }
}
