//! Connections that go on in another protocol after a response of 101.

use crate::connections::Connection;
use crate::listener::is_late;
use crate::transport::Transport;
use bytes::{Buf, Bytes};
use gaggle::context::Context;
use http::Response;
use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Who goes on with a connection.
pub(crate) struct Handover(Box<dyn FnOnce(Upgraded) + Send>);

impl Handover {
    /// Blocks this goroutine as long as it does.
    pub(crate) fn run(self, connection: Upgraded) {
        (self.0)(connection);
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

/// A response's word that somebody does.
#[derive(Clone)]
struct OnUpgrade(Arc<Mutex<Option<Handover>>>);

/// Has `f` called with the connection once `response`, whose status is 101, has been sent.
///
/// `f` runs on the connection's goroutine and may block as it likes; the connection ends when it returns.
/// The request must have asked for the protocol (`Connection: upgrade`), and be HTTP/1.1: over HTTP/2 `f` is
/// dropped.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use gaggle::context::Context;
/// use http::{Request, Response, StatusCode, header};
/// use std::io::{Read, Write};
///
/// fn handler(_: &Context, _: Request<Bytes>) -> Response<Bytes> {
///     let mut response = Response::new(Bytes::new());
///     *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
///     let headers = response.headers_mut();
///     headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
///     headers.insert(header::UPGRADE, "shout".parse().unwrap());
///     gaggle_http::on_upgrade(&mut response, |mut connection| {
///         let mut bytes = [0; 100];
///         while let Ok(count @ 1..) = connection.read(&mut bytes) {
///             bytes[..count].make_ascii_uppercase();
///             if connection.write_all(&bytes[..count]).is_err() {
///                 break;
///             }
///         }
///     });
///     response
/// }
/// ```
pub fn on_upgrade<B>(response: &mut Response<B>, f: impl FnOnce(Upgraded) + Send + 'static) {
    let handover = Handover(Box::new(f));
    let word = OnUpgrade(Arc::new(Mutex::new(Some(handover))));
    response.extensions_mut().insert(word);
}

/// What `response` says of an upgrade, taken out of it.
pub(crate) fn take(extensions: &mut http::Extensions) -> Option<Handover> {
    let OnUpgrade(place) = extensions.remove()?;
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A connection that has left HTTP: blocking reads and writes, through TLS where the server has it.
pub struct Upgraded {
    connection: Arc<Connection>,
    transport: Transport,
    /// What came together with the request.
    pending: Bytes,
    context: Context,
    read_timeout: Cell<Option<Duration>>,
}

impl Upgraded {
    pub(crate) fn new(
        connection: Arc<Connection>,
        transport: Transport,
        pending: Bytes,
        context: Context,
    ) -> Upgraded {
        Upgraded {
            connection,
            transport,
            pending,
            context,
            read_timeout: Cell::new(None),
        }
    }

    /// Ends when the client goes away, or when a server that is being stopped is out of time.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How long one read may wait; `None`: for ever, which is how it begins. A read that is late answers
    /// [`WouldBlock`](ErrorKind::WouldBlock) and has lost nothing.
    ///
    /// # Panics
    /// When `time` is zero.
    pub fn set_read_timeout(&self, time: Option<Duration>) {
        assert!(time != Some(Duration::ZERO), "a read needs some time");
        self.read_timeout.set(time);
    }

    /// Whether the server is being stopped: what waits for the client reads the end from now on.
    pub fn is_draining(&self) -> bool {
        self.connection.is_draining()
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn into_parts(self) -> (Arc<Connection>, Transport, Bytes, Context) {
        (self.connection, self.transport, self.pending, self.context)
    }
}

impl Read for Upgraded {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.pending.has_remaining() {
            let count = room.len().min(self.pending.remaining());
            self.pending.copy_to_slice(&mut room[..count]);
            return Ok(count);
        }
        loop {
            // While it waits it is idle: a stop need not wait for what may never come.
            self.connection.begin_wait();
            let time = self.read_timeout.get();
            let received = self.transport.read(self.connection.stream(), time, room);
            self.connection.end_wait();
            match received {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(error) if is_late(&error) => return Err(ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transport.write(self.connection.stream(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("peer", &self.connection.peer())
            .finish_non_exhaustive()
    }
}
