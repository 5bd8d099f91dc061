//! Where clients come from: TCP and Unix sockets, by one name each for listeners and streams.

use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// How many clients may wait to be accepted; the system caps it by its own limit, as Go does.
const BACKLOG: i32 = 65_535;

/// What a [`Server`](crate::Server) accepts from: a `std` listener of either kind, made by `into()`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file is the program's to remove.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Listener::Tcp(listener)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Listener::Unix(listener)
    }
}

impl Listener {
    /// Lets more clients wait than std does: 128, beyond which they wait a second or more before they try
    /// again. An error would mean that it does not listen, which accept reports better.
    pub(crate) fn widen(&self) {
        let _ = match self {
            Listener::Tcp(listener) => SockRef::from(listener).listen(BACKLOG),
            #[cfg(unix)]
            Listener::Unix(listener) => SockRef::from(listener).listen(BACKLOG),
        };
    }

    pub(crate) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => listener
                .accept()
                .map(|(stream, address)| (Stream::Tcp(stream), Peer::Tcp(address))),
            #[cfg(unix)]
            Listener::Unix(listener) => listener
                .accept()
                .map(|(stream, _)| (Stream::Unix(stream), Peer::Unix)),
        }
    }

    /// Makes an accept that blocks return.
    pub(crate) fn wake_accept(&self) {
        match self {
            Listener::Tcp(listener) => {
                if SockRef::from(listener).shutdown(Shutdown::Read).is_ok() {
                    return;
                }
                // Where a listening socket cannot be shut down, one connection to it does the same.
                if let Ok(address) = listener.local_addr() {
                    let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
                }
            }
            #[cfg(unix)]
            Listener::Unix(listener) => {
                // An accept that waits on a Unix socket is ended by this on Linux; elsewhere by a client.
                let _ = SockRef::from(listener).shutdown(Shutdown::Read);
                if let Ok(address) = listener.local_addr() {
                    let _ = UnixStream::connect_addr(&address);
                }
            }
        }
    }
}

/// Who is at the other end of a connection: a value of each request's
/// [`Context`](gaggle::context::Context).
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use gaggle::context::Context;
/// use gaggle_http::Peer;
/// use http::{Request, Response};
///
/// fn handler(context: &Context, _: Request<Bytes>) -> Response<Bytes> {
///     let peer = context.value::<Peer>().expect("every request has one");
///     Response::new(format!("you are {peer:?}").into())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// The client's address.
    Tcp(SocketAddr),
    /// A process of this machine.
    Unix,
}

/// A connection of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Calls a method that both kinds have.
macro_rules! on_stream {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            #[cfg(unix)]
            Stream::Unix($stream) => $call,
        }
    };
}

impl Stream {
    /// Reads what is there, blocking this goroutine until something is, for `time` at most (`None`: for ever).
    ///
    /// # Errors
    /// The operating system's; one that [`is_late`] knows when the time is up.
    pub(crate) fn read_within(
        &self,
        time: Option<Duration>,
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        #[cfg(unix)]
        loop {
            let attempt = || gaggle::net::try_recv(self, bytes);
            match gaggle::net::until_readable(self, time, attempt) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => break,
                other => return other,
            }
        }
        self.set_read_timeout(time)?;
        let mut stream = self;
        loop {
            match stream.read(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        on_stream!(self, stream => stream.set_read_timeout(time))
    }

    pub(crate) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        on_stream!(self, stream => stream.set_write_timeout(time))
    }

    pub(crate) fn shutdown(&self, side: Shutdown) -> io::Result<()> {
        on_stream!(self, stream => stream.shutdown(side))
    }

    /// Has small writes leave at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            #[cfg(unix)]
            Stream::Unix(_) => Ok(()),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        on_stream!(self, stream => { let mut stream = stream; stream.read(bytes) })
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on_stream!(self, stream => { let mut stream = stream; stream.write(bytes) })
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        on_stream!(self, stream => { let mut stream = stream; stream.write_vectored(slices) })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_stream!(self, stream => stream.as_fd())
    }
}

/// Whether its time ended a call.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
