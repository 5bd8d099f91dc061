//! A client that connects again when the connection is lost, and takes up where it was.

use crate::websocket::Options;
use crate::websocket::message::{Message, WebSocketError};
use crate::websocket::socket::WebSocket;
use gaggle::chan;
use gaggle::context::Context;
use gaggle::select;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long to wait before a connection is tried again: twice as long each time, up to a limit, and of that a
/// random share between half and all, so that many clients do not come back at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Default for Backoff {
    /// From 100 milliseconds to 30 seconds.
    fn default() -> Self {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest }
    }

    /// The pause after so many failures in a row, of which there is at least one.
    fn pause(self, failures: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        // A new state is seeded at random.
        let random = RandomState::new().hash_one(failures);
        let share = 0.5 + 0.5 * (random as f64 / u64::MAX as f64);
        whole.mul_f64(share)
    }
}

/// What is done on each new connection.
type Resume = Box<dyn FnMut(&WebSocket) -> Result<(), WebSocketError> + Send>;

/// A connection that is made again whenever it is lost, until its context ends.
///
/// # Examples
/// A feed whose server is told, on each new connection, what was seen last:
/// ```no_run
/// use gaggle::context::Context;
/// use gaggle_http::websocket::{Backoff, Options, Reconnecting, WebSocketError};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// fn follow(context: &Context) -> Result<(), WebSocketError> {
///     let seen = Arc::new(AtomicU64::new(0));
///     let last = Arc::clone(&seen);
///     let feed = Reconnecting::new("ws://feed.example/", Options::default(), Backoff::default())
///         .on_connect(move |socket| {
///             socket.send(format!("after {}", last.load(Ordering::Relaxed)))
///         });
///     loop {
///         let message = feed.recv(context)?;
///         println!("{message:?}");
///         seen.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// # let _ = follow;
/// ```
pub struct Reconnecting {
    url: String,
    options: Options,
    backoff: Backoff,
    resume: Mutex<Resume>,
    current: Mutex<Option<WebSocket>>,
    /// Held by who makes a connection.
    connecting: Mutex<()>,
    failures: AtomicU32,
    connections: AtomicU32,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reconnecting {
    /// Connects at first use.
    pub fn new(url: impl Into<String>, options: Options, backoff: Backoff) -> Reconnecting {
        Reconnecting {
            url: url.into(),
            options,
            backoff,
            resume: Mutex::new(Box::new(|_| Ok(()))),
            current: Mutex::new(None),
            connecting: Mutex::new(()),
            failures: AtomicU32::new(0),
            connections: AtomicU32::new(0),
        }
    }

    /// Has `resume` called with each new connection before anybody else uses it; its error loses the
    /// connection.
    #[must_use]
    pub fn on_connect<F>(mut self, resume: F) -> Self
    where
        F: FnMut(&WebSocket) -> Result<(), WebSocketError> + Send + 'static,
    {
        self.resume = Mutex::new(Box::new(resume));
        self
    }

    /// How many connections have been made.
    pub fn connections(&self) -> u32 {
        // Relaxed: a figure to report.
        self.connections.load(Ordering::Relaxed)
    }

    /// Receives the next message, of this connection or of one that takes its place; blocks this goroutine
    /// until it has come or `context` ends.
    ///
    /// # Errors
    /// [`WebSocketError::Refused`] once `context` has ended.
    pub fn recv(&self, context: &Context) -> Result<Message, WebSocketError> {
        loop {
            let socket = self.connection(context)?;
            let aborted = socket.clone();
            // On every backend this ends the read that waits.
            let stop = context.after_func(move || aborted.abort());
            let received = socket.recv();
            stop.stop();
            match received {
                Ok(message) => {
                    // Relaxed: a count for pauses.
                    self.failures.store(0, Ordering::Relaxed);
                    return Ok(message);
                }
                Err(_) => self.lose(&socket),
            }
        }
    }

    /// Sends a message on the connection there is, or on one that is made for it; blocks this goroutine. A
    /// message that was sent may still be lost with its connection: only an answer says that it was not.
    ///
    /// # Errors
    /// [`WebSocketError::Refused`] once `context` has ended.
    pub fn send(
        &self,
        context: &Context,
        message: impl Into<Message>,
    ) -> Result<(), WebSocketError> {
        let message = message.into();
        loop {
            let socket = self.connection(context)?;
            match socket.send(message.clone()) {
                Ok(()) => return Ok(()),
                Err(_) => self.lose(&socket),
            }
        }
    }

    /// Closes the connection there is; the next use makes another.
    pub fn close(&self) {
        if let Some(socket) = locked(&self.current).take() {
            // It may be lost, which is as well.
            let _ = socket.close(1000, "");
        }
    }

    /// The connection there is, or a new one.
    fn connection(&self, context: &Context) -> Result<WebSocket, WebSocketError> {
        let _turn = locked(&self.connecting);
        loop {
            if let Some(error) = context.err() {
                return Err(WebSocketError::Refused(Box::new(error)));
            }
            if let Some(socket) = &*locked(&self.current) {
                return Ok(socket.clone());
            }
            // Relaxed: a count for pauses.
            let failures = self.failures.load(Ordering::Relaxed);
            if failures > 0 {
                select! {
                    recv(chan::after(self.backoff.pause(failures))) -> _ => {}
                    done(context) => continue,
                }
            }
            let connected = WebSocket::connect(&self.url, self.options.clone())
                .and_then(|socket| (locked(&self.resume))(&socket).map(|()| socket));
            // Until a message has come the next one may fail as well.
            self.failures.fetch_add(1, Ordering::Relaxed);
            if let Ok(socket) = connected {
                self.connections.fetch_add(1, Ordering::Relaxed);
                *locked(&self.current) = Some(socket);
            }
        }
    }

    /// Forgets `lost`, unless another has taken its place.
    fn lose(&self, lost: &WebSocket) {
        lost.abort();
        let mut current = locked(&self.current);
        if current.as_ref().is_some_and(|socket| socket.is(lost)) {
            *current = None;
        }
    }
}

impl Drop for Reconnecting {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("url", &self.url)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit_and_are_never_less_than_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for (failures, whole) in [(1, 100), (2, 200), (4, 800), (7, 5_000), (90, 5_000)] {
            for _ in 0..50 {
                let pause = backoff.pause(failures);
                let whole = Duration::from_millis(whole);
                assert!(
                    pause <= whole && pause >= whole / 2,
                    "{failures}: {pause:?}"
                );
            }
        }
    }
}
