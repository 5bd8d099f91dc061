//! A connection that several goroutines use: one receives, any number send.

use crate::connections::Connection;
use crate::listener::{Stream, is_late};
use crate::websocket::Options;
use crate::websocket::machine::{Machine, Step};
use crate::websocket::message::{Message, WebSocketError};
use gaggle::context::{self, Context};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes taken from the socket by one read.
const READ_BYTES: usize = 4 * 1024;
/// How long a connection that was closed listens for the other side's goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(1);
/// The protocol's code for an endpoint that goes away.
const GOING_AWAY: u16 = 1001;
const NORMAL: u16 = 1000;

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Link {
    /// A server's connection.
    Server(Arc<Connection>),
    /// A client's own.
    Client(Stream),
}

impl Link {
    fn stream(&self) -> &Stream {
        match self {
            Link::Server(connection) => connection.stream(),
            Link::Client(stream) => stream,
        }
    }

    /// Reads once, waiting for `time` at most; a server that is being stopped ends the read.
    fn read(&self, time: Duration, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Server(connection) => {
                connection.begin_wait();
                let count = connection.stream().read_within(Some(time), room);
                connection.end_wait();
                count
            }
            Link::Client(stream) => stream.read_within(Some(time), room),
        }
    }

    fn is_draining(&self) -> bool {
        matches!(self, Link::Server(connection) if connection.is_draining())
    }
}

/// A connection; a clone is the same. See [the module](crate::websocket).
#[derive(Clone)]
pub struct WebSocket(Arc<Shared>);

struct Shared {
    link: Link,
    /// S1
    machine: Mutex<Machine>,
    /// S2
    sending: Mutex<()>,
    /// S3
    receiving: Mutex<Vec<u8>>,
    heartbeat: Duration,
    context: Context,
    /// A write was given up half-way, so nothing more can be sent.
    broken: AtomicBool,
}

/// What a lock guards is whole whatever panicked: tungstenite's state is changed by calls that do not.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WebSocket {
    pub(crate) fn new(
        link: Link,
        machine: Machine,
        context: Context,
        options: &Options,
    ) -> io::Result<WebSocket> {
        link.stream()
            .set_write_timeout(Some(options.write_timeout))?;
        Ok(WebSocket(Arc::new(Shared {
            link,
            machine: Mutex::new(machine),
            sending: Mutex::new(()),
            receiving: Mutex::new(vec![0; READ_BYTES]),
            heartbeat: options.heartbeat,
            context,
            broken: AtomicBool::new(false),
        })))
    }

    /// Opens a connection to a `ws` or `wss` URL, blocking this goroutine until the other side has greeted.
    ///
    /// # Errors
    /// [`WebSocketError::Refused`] with the reason, [`WebSocketError::Lost`] where the network is it.
    pub fn connect(url: &str, options: Options) -> Result<WebSocket, WebSocketError> {
        super::client::connect(url, &options)
    }

    /// On a server's side, ends when the client goes away or a server that is being stopped is out of time;
    /// on a client's side it never ends.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Sends a message, blocking this goroutine until the operating system has taken it.
    ///
    /// # Errors
    /// When the connection is closed or lost; what the peer does not take in time loses it.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        let message = message.into();
        self.with_output(|machine| machine.send(message))
    }

    /// Receives the next message, blocking this goroutine until it has come. Meanwhile heartbeats are sent
    /// and answered, so who wants to know that the other side is there receives.
    ///
    /// # Errors
    /// When the connection is closed or lost, or the peer does not keep to the protocol. An error of a wait
    /// that a context ended ([`Context::run`]) leaves the connection as it was.
    pub fn recv(&self) -> Result<Message, WebSocketError> {
        let mut room = locked(&self.0.receiving);
        loop {
            let (step, has_output) = {
                let mut machine = locked(&self.0.machine);
                let step = machine.step();
                (step, machine.has_output())
            };
            if has_output {
                // Pongs, and the answer to a goodbye; whether they can be sent changes nothing here.
                let _ = self.with_output(|_| Ok(()));
            }
            match step? {
                Step::Message(message) => return Ok(message),
                Step::Wants => self.fill(&mut room)?,
            }
        }
    }

    /// Says goodbye with one of the protocol's codes (1000: done) and a reason of at most 123 bytes. What was
    /// sent before arrives. Receiving goes on until the other side has said goodbye too.
    ///
    /// # Errors
    /// When the connection is lost. Closing it again does nothing.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), WebSocketError> {
        self.with_output(|machine| machine.close(code, reason))
    }

    /// Ends the connection at once, whoever uses it.
    pub fn abort(&self) {
        // An error means that it has ended already.
        let _ = self.0.link.stream().shutdown(Shutdown::Both);
    }

    /// Changes the state by `change`, and writes what is to be written then.
    fn with_output(
        &self,
        change: impl FnOnce(&mut Machine) -> Result<(), WebSocketError>,
    ) -> Result<(), WebSocketError> {
        let _turn = locked(&self.0.sending);
        // Relaxed: written under the lock.
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(WebSocketError::Lost(ErrorKind::BrokenPipe.into()));
        }
        let bytes = {
            let mut machine = locked(&self.0.machine);
            change(&mut machine)?;
            machine.take_out()?
        };
        let mut stream = self.0.link.stream();
        stream.write_all(&bytes).map_err(|error| {
            // Part of a message may have left.
            self.0.broken.store(true, Ordering::Relaxed);
            self.abort();
            WebSocketError::Lost(error)
        })
    }

    /// Waits for bytes and feeds them, or asks whether the other side is there.
    fn fill(&self, room: &mut [u8]) -> Result<(), WebSocketError> {
        let link = &self.0.link;
        let (heard, asked) = locked(&self.0.machine).heard();
        let patience = self.0.heartbeat * if asked { 2 } else { 1 };
        let left = patience.saturating_sub(heard.elapsed());
        if left.is_zero() {
            return self.ask(asked);
        }
        match link.read(left, room) {
            Ok(0) if link.is_draining() => {
                // The server stops, and this connection waited for a message: it is over.
                let reason = "the server is being stopped";
                self.close(GOING_AWAY, reason)?;
                Err(WebSocketError::Closed {
                    code: GOING_AWAY,
                    reason: reason.to_owned(),
                })
            }
            Ok(count) => Ok(locked(&self.0.machine).feed(&room[..count])?),
            // The next turn finds that the time is up.
            Err(error) if is_late(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ask(&self, asked: bool) -> Result<(), WebSocketError> {
        if asked {
            self.abort();
            let silent = io::Error::new(ErrorKind::TimedOut, "the other side is silent");
            return Err(silent.into());
        }
        self.with_output(Machine::ping)
    }

    /// Ends a server's connection after its handler: says goodbye, and listens a moment for the answer, so
    /// that what was sent is not lost to the reset that unread bytes cause.
    pub(crate) fn finish(&self) {
        if self.close(NORMAL, "").is_err() {
            return;
        }
        let stream = self.0.link.stream();
        // Here and below an error means that the peer has gone, which is where this leads.
        let _ = stream.shutdown(Shutdown::Write);
        let deadline = Instant::now() + GOODBYE_TIME;
        let mut room = locked(&self.0.receiving);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || matches!(self.0.link.read(left, &mut room), Ok(0) | Err(_)) {
                return;
            }
        }
    }

    /// Whether `other` is this connection.
    pub(crate) fn is(&self, other: &WebSocket) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The context of a client's side.
    pub(crate) fn no_context() -> Context {
        context::background()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("link", &self.0.link)
            .finish_non_exhaustive()
    }
}
