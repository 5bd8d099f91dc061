//! One socket, as hyper reads and writes it.
//!
//! Writes block in place. Reads do not: hyper asks for bytes at moments when it still holds some that
//! it has to send (the `100 Continue` before a body, a response before the next head), and a read that
//! blocked there would wait for a peer that waits for us. So a read that finds nothing staged says so
//! and returns; [`crate::drive`] lets hyper do all else it can, and only then stages the next bytes by
//! one blocking read, outside hyper.
//!
//! - W1: a blocking read is made only when hyper wants bytes and has nothing else to do.
//! - W2: each blocking read has a time limit, that of the phase the exchange is in.
//! - W3: no byte is staged while staged bytes are left.

use crate::connections::Connection;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Bytes staged by one read of a head: most fit whole, and an idle connection holds no more than this.
const HEAD_BYTES: usize = 2 * 1024;
/// Bytes staged by one read of a body.
const BODY_BYTES: usize = 16 * 1024;
/// How long, and for how many bytes, a connection that refused a request listens on, so that the
/// response is not lost to the reset that unread bytes cause.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// How long each phase may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) header_read: Duration,
    pub(crate) body_read: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// Where the exchange is, as far as reading goes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing has come yet; the client has as long for its first byte as for its whole head.
    First,
    /// A response has been sent and no byte of the next request has come.
    Idle,
    /// A head has begun; its deadline is set by the first further read, as few need one.
    Head(Option<Instant>),
    /// A head was whole and its request has not been answered in full.
    Body(Option<Instant>),
}

/// The bytes on their way from the socket to hyper.
#[derive(Debug)]
struct Staged {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    failure: Option<io::Error>,
}

/// The state that hyper's socket, the driver and the service of one connection share; all three run
/// on its goroutine.
#[derive(Debug)]
pub(crate) struct Wire {
    connection: Arc<Connection>,
    timeouts: Timeouts,
    timeout_set: Cell<Option<Duration>>,
    phase: Cell<Phase>,
    staged: RefCell<Staged>,
    wanted: Cell<bool>,
    timed_out: Cell<bool>,
    refused: Cell<bool>,
}

impl Wire {
    /// Prepares a socket that was just accepted.
    ///
    /// # Errors
    /// When the operating system refuses a socket option, as for a peer that has already gone.
    pub(crate) fn new(connection: Arc<Connection>, timeouts: Timeouts) -> io::Result<Rc<Wire>> {
        connection.stream().set_nodelay(true)?;
        connection
            .stream()
            .set_write_timeout(Some(timeouts.write))?;
        Ok(Rc::new(Wire {
            connection,
            timeouts,
            timeout_set: Cell::new(None),
            phase: Cell::new(Phase::First),
            staged: RefCell::new(Staged {
                bytes: vec![0; HEAD_BYTES],
                start: 0,
                end: 0,
                ended: false,
                failure: None,
            }),
            wanted: Cell::new(false),
            timed_out: Cell::new(false),
            refused: Cell::new(false),
        }))
    }

    /// A head was whole: what is read from here on is its body.
    pub(crate) fn begin_body(&self) {
        self.phase.set(Phase::Body(None));
    }

    /// The response has been handed over in full: what is read from here on is the next head.
    pub(crate) fn end_response(&self) {
        self.phase.set(Phase::Idle);
    }

    /// The request's body will not be read to its end.
    pub(crate) fn refuse(&self) {
        self.refused.set(true);
    }

    /// Whether a read was given up because its phase took too long.
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// Whether the server is being stopped.
    pub(crate) fn is_draining(&self) -> bool {
        self.connection.is_draining()
    }

    /// Whether hyper found nothing staged since the last call.
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    /// Stages what the socket yields next, blocking this goroutine until there is something (W1, W2).
    pub(crate) fn stage(&self) {
        let mut staged = self.staged.borrow_mut();
        debug_assert!(staged.start == staged.end, "W3");
        let room = if matches!(self.phase.get(), Phase::Body(_)) {
            BODY_BYTES
        } else {
            HEAD_BYTES
        };
        if staged.bytes.len() != room {
            staged.bytes = vec![0; room];
        }
        staged.start = 0;
        staged.end = 0;
        match self.receive(&mut staged.bytes) {
            Ok(0) => staged.ended = true,
            Ok(count) => staged.end = count,
            Err(error) => staged.failure = Some(error),
        }
    }

    /// One blocking read in the current phase; no bytes mean that no more will come.
    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let waiting = matches!(self.phase.get(), Phase::First | Phase::Idle);
        let time = self.time_left()?;
        if self.timeout_set.get() != Some(time) {
            self.connection.stream().set_read_timeout(Some(time))?;
            self.timeout_set.set(Some(time));
        }
        if waiting {
            self.connection.begin_wait();
        }
        let received = loop {
            match self.connection.stream().read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        if waiting {
            self.connection.end_wait();
        }
        match received {
            Ok(count) if waiting && count > 0 => {
                self.phase.set(Phase::Head(None));
                Ok(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // A client that asks for nothing is no error: the connection just ends.
                if waiting { Ok(0) } else { Err(self.late()) }
            }
            other => other,
        }
    }

    /// How long the current phase may still block.
    fn time_left(&self) -> io::Result<Duration> {
        let (deadline, limit) = match self.phase.get() {
            Phase::First => return Ok(self.timeouts.header_read),
            Phase::Idle => return Ok(self.timeouts.idle),
            Phase::Head(deadline) => (deadline, self.timeouts.header_read),
            Phase::Body(deadline) => (deadline, self.timeouts.body_read),
        };
        let now = Instant::now();
        let Some(deadline) = deadline.or_else(|| now.checked_add(limit)) else {
            return Ok(limit);
        };
        match self.phase.get() {
            Phase::Head(_) => self.phase.set(Phase::Head(Some(deadline))),
            _ => self.phase.set(Phase::Body(Some(deadline))),
        }
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            Err(self.late())
        } else {
            Ok(left)
        }
    }

    fn late(&self) -> io::Error {
        self.timed_out.set(true);
        ErrorKind::TimedOut.into()
    }

    /// Ends the socket after hyper has ended with the connection, `cleanly` or with an error.
    pub(crate) fn finish(&self, cleanly: bool) {
        let mut stream = self.connection.stream();
        if self.timed_out.get() && matches!(self.phase.get(), Phase::Head(_)) {
            // RFC 9110, 15.5.9. Nothing else of ours is under way: no request has been read.
            let _ = stream.write_all(
                b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
        }
        // Here and below an error means that the peer has gone, which is where this leads anyway.
        let _ = stream.shutdown(Shutdown::Write);
        let mut staged = self.staged.borrow_mut();
        if staged.ended || staged.failure.is_some() || (cleanly && !self.refused.get()) {
            return;
        }
        let deadline = Instant::now() + LINGER_TIME;
        let mut discarded = 0;
        while discarded < LINGER_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match stream.read(&mut staged.bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => discarded += count,
            }
        }
    }
}

/// hyper's end of a [`Wire`].
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) Rc<Wire>);

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut staged = self.0.staged.borrow_mut();
        if staged.start < staged.end {
            let count = room.remaining().min(staged.end - staged.start);
            room.put_slice(&staged.bytes[staged.start..staged.start + count]);
            staged.start += count;
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &staged.failure {
            return Poll::Ready(Err(error.kind().into()));
        }
        if staged.ended {
            return Poll::Ready(Ok(()));
        }
        // The driver polls again after staging, so there is no waker to keep.
        self.0.wanted.set(true);
        Poll::Pending
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(retry(|| self.0.connection.stream().write(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(retry(|| self.0.connection.stream().write_vectored(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `Wire::finish` shuts the socket, once it knows what there is left to say.
        Poll::Ready(Ok(()))
    }
}

/// Repeats a write that a signal interrupted.
fn retry(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
