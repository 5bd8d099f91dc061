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
#[cfg(unix)]
use crate::connections::Handle;
use crate::framing::Framing;
use crate::listener::is_late;
use crate::transport::Transport;
use crate::upgrade::Handover;
use bytes::Bytes;
use gaggle::context::{Cancel, Context};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
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
pub(crate) struct Wire {
    connection: Arc<Connection>,
    transport: Transport,
    timeouts: Timeouts,
    /// The service may wait for something else while it reads a body.
    is_mixed: bool,
    #[cfg(unix)]
    readiness: RefCell<Option<gaggle::net::Readiness<Handle>>>,
    upgrade: RefCell<Option<Handover>>,
    /// A context that no request has any more.
    spare: Cell<Option<(Context, Cancel)>>,
    phase: Cell<Phase>,
    staged: RefCell<Staged>,
    framing: RefCell<Framing>,
    /// A request was refused before hyper saw all of it.
    malformed: Cell<bool>,
    wanted: Cell<bool>,
    timed_out: Cell<bool>,
    refused: Cell<bool>,
}

impl Wire {
    /// Prepares a socket that was just accepted.
    ///
    /// # Errors
    /// When the operating system refuses a socket option, as for a peer that has already gone.
    pub(crate) fn new(
        connection: Arc<Connection>,
        transport: Transport,
        timeouts: Timeouts,
        is_mixed: bool,
    ) -> io::Result<Rc<Wire>> {
        connection.stream().set_nodelay()?;
        connection
            .stream()
            .set_write_timeout(Some(timeouts.write))?;
        Ok(Rc::new(Wire {
            connection,
            transport,
            timeouts,
            is_mixed,
            #[cfg(unix)]
            readiness: RefCell::new(None),
            upgrade: RefCell::new(None),
            spare: Cell::new(None),
            phase: Cell::new(Phase::First),
            staged: RefCell::new(Staged {
                bytes: vec![0; HEAD_BYTES],
                start: 0,
                end: 0,
                ended: false,
                failure: None,
            }),
            framing: RefCell::new(Framing::new()),
            malformed: Cell::new(false),
            wanted: Cell::new(false),
            timed_out: Cell::new(false),
            refused: Cell::new(false),
        }))
    }

    /// A head was whole: what is read from here on is its body. Answers what [`Wire::end_response`] was given.
    pub(crate) fn begin_body(&self) -> Option<(Context, Cancel)> {
        self.phase.set(Phase::Body(None));
        self.spare.take()
    }

    /// The response has been handed over in full: what is read from here on is the next head. `spare` is for
    /// the next request.
    pub(crate) fn end_response(&self, spare: Option<(Context, Cancel)>) {
        self.phase.set(Phase::Idle);
        self.spare.set(spare);
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

    /// Completes TLS's handshake, blocking this goroutine as long as a head may take.
    ///
    /// # Errors
    /// When it fails, takes too long, or the server is being stopped.
    #[cfg(feature = "tls")]
    pub(crate) fn handshake(&self) -> io::Result<()> {
        let Transport::Tls(tls) = &self.transport else {
            return Ok(());
        };
        let deadline = Instant::now().checked_add(self.timeouts.header_read);
        while tls.borrow().is_handshaking() {
            let left = deadline.map_or(self.timeouts.header_read, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Err(self.late());
            }
            // A client that is still greeting has asked for nothing that a stop would have to finish.
            self.connection.begin_wait();
            let advanced = crate::transport::advance(
                &mut tls.borrow_mut(),
                self.connection.stream(),
                Some(left),
            );
            self.connection.end_wait();
            if advanced? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Whether the client asks for HTTP/2: by TLS's choice of a protocol, or, without TLS, by its first
    /// bytes, which are staged for whoever serves them. Blocks this goroutine until they say.
    #[cfg(feature = "http2")]
    pub(crate) fn asks_for_http2(&self) -> bool {
        /// RFC 9113, 3.4.
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        #[cfg(feature = "tls")]
        if let Transport::Tls(tls) = &self.transport {
            return tls.borrow().alpn_protocol() == Some(b"h2");
        }
        self.stage();
        loop {
            let mut staged = self.staged.borrow_mut();
            let first = &staged.bytes[staged.start..staged.end];
            let compared = first.len().min(PREFACE.len());
            if first[..compared] != PREFACE[..compared] {
                return false;
            }
            if compared == PREFACE.len() {
                return true;
            }
            if staged.ended || staged.failure.is_some() {
                return false;
            }
            let end = staged.end;
            match self.receive(&mut staged.bytes[end..]) {
                Ok(0) => staged.ended = true,
                Ok(count) => staged.end += count,
                Err(error) => staged.failure = Some(error),
            }
        }
    }

    /// Gives up the connection's TLS and what is staged, for who goes on with it otherwise.
    pub(crate) fn take_apart(self: Rc<Self>) -> Option<(Transport, Bytes)> {
        let wire = Rc::into_inner(self)?;
        let staged = wire.staged.into_inner();
        let bytes = Bytes::copy_from_slice(&staged.bytes[staged.start..staged.end]);
        Some((wire.transport, bytes))
    }

    /// Keeps who goes on with the connection once the response to come has been sent.
    pub(crate) fn set_upgrade(&self, handover: Handover) {
        *self.upgrade.borrow_mut() = Some(handover);
    }

    /// Who goes on with the connection, if a response has said so.
    pub(crate) fn take_upgrade(&self) -> Option<Handover> {
        self.upgrade.borrow_mut().take()
    }

    /// Stages what the socket yields next, as [`Wire::stage`], unless `is_over` says first that something
    /// else is to be done. `context` wakes this goroutine.
    pub(crate) fn stage_unless(&self, context: &mut task::Context<'_>, is_over: impl Fn() -> bool) {
        #[cfg(unix)]
        if self.is_mixed && matches!(self.phase.get(), Phase::Body(_)) {
            while !self.transport.holds_bytes() {
                let mut readiness = self.readiness.borrow_mut();
                let readiness = readiness.get_or_insert_with(|| {
                    gaggle::net::Readiness::new(Handle(Arc::clone(&self.connection)))
                });
                // An error is what the read will meet as well; where this does not work, it just blocks.
                if readiness.poll_readable(context).is_ready() {
                    break;
                }
                let Ok(left) = self.time_left() else { break };
                if is_over() {
                    return;
                }
                std::thread::park_timeout(left);
                if is_over() {
                    return;
                }
            }
        }
        let _ = (context, is_over);
        self.stage();
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

    /// Blocking reads in the current phase until there are plain bytes; none mean that no more will come.
    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let waiting = matches!(self.phase.get(), Phase::First | Phase::Idle);
            let left = self.time_left()?;
            if waiting {
                self.connection.begin_wait();
            }
            let received = self
                .transport
                .read(self.connection.stream(), Some(left), room);
            if waiting {
                self.connection.end_wait();
            }
            match received {
                Ok(received) => {
                    if waiting && received != Some(0) {
                        self.phase.set(Phase::Head(None));
                    }
                    if let Some(count) = received {
                        return Ok(count);
                    }
                }
                Err(error) if is_late(&error) => {
                    // A client that asks for nothing is no error: the connection just ends.
                    return if waiting { Ok(0) } else { Err(self.late()) };
                }
                Err(error) => return Err(error),
            }
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
        let stream = self.connection.stream();
        // Nothing else of ours is under way: no request has been read, and none was refused before.
        if !matches!(self.phase.get(), Phase::Body(_)) && !self.refused.get() {
            let status = match (self.timed_out.get(), self.malformed.get()) {
                (_, true) => Some("400 Bad Request"),
                // RFC 9110, 15.5.9.
                (true, _) if matches!(self.phase.get(), Phase::Head(_)) => {
                    Some("408 Request Timeout")
                }
                _ => None,
            };
            if let Some(status) = status {
                let answer =
                    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                let _ = self.transport.write(stream, answer.as_bytes());
            }
        }
        // Here and below an error means that the peer has gone, which is where this leads anyway.
        self.transport.close_notify(stream);
        let _ = stream.shutdown(Shutdown::Write);
        let mut staged = self.staged.borrow_mut();
        let is_over = staged.failure.is_some() && !self.malformed.get();
        if staged.ended || is_over || (cleanly && !self.refused.get()) {
            return;
        }
        let deadline = Instant::now() + LINGER_TIME;
        let mut discarded = 0;
        while discarded < LINGER_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match stream.read_within(Some(left), &mut staged.bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => discarded += count,
            }
        }
    }
}

/// hyper's end of a [`Wire`].
pub(crate) struct Socket(pub(crate) Rc<Wire>);

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut staged = self.0.staged.borrow_mut();
        if staged.start < staged.end {
            let count = room.remaining().min(staged.end - staged.start);
            let bytes = &staged.bytes[staged.start..staged.start + count];
            let Ok(count) = self.0.framing.borrow_mut().admit(bytes) else {
                // Of a body that is wrong the service learns by this error, and answers.
                let in_body = matches!(self.0.phase.get(), Phase::Body(_));
                self.0.malformed.set(!in_body);
                staged.failure = Some(ErrorKind::InvalidData.into());
                staged.start = staged.end;
                return Poll::Ready(Err(ErrorKind::InvalidData.into()));
            };
            room.put_slice(&bytes[..count]);
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
        _: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        Poll::Ready(wire.transport.write(wire.connection.stream(), bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        Poll::Ready(
            wire.transport
                .write_vectored(wire.connection.stream(), slices),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        // `Wire::finish` shuts the socket, once it knows what there is left to say.
        Poll::Ready(Ok(()))
    }
}
