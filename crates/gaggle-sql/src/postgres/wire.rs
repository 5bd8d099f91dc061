//! One socket, as tokio-postgres reads and writes it.
//!
//! Writes block in place: the server reads what it is sent while it answers, but for results larger than
//! the sockets' buffers, which it only has once it has read the statement. Reads do not: one that finds
//! nothing staged says so, and [`super::drive`] stages the next bytes by one blocking read when there is
//! nothing else to do.

use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const STAGED_BYTES: usize = 8 * 1024;
/// How long one write may wait for a server that does not read.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// A connected socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address of `name` that answers.
    pub(super) fn connect_tcp(name: &str, port: u16, until: Instant) -> io::Result<Socket> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (name, port).to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    SockRef::from(&stream).set_keepalive(true)?;
                    stream.set_write_timeout(Some(WRITE_TIME))?;
                    return Ok(Socket::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn connect_unix(path: &Path) -> io::Result<Socket> {
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(WRITE_TIME))?;
        Ok(Socket::Unix(stream))
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Socket::Tcp(stream) => SockRef::from(stream),
            Socket::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Lets each read take so long at most; zero: for ever.
    pub(super) fn limit_reads(&self, time: Duration) {
        // One that is refused leaves a read without a limit, which the server's end still ends.
        let _ = self
            .socket()
            .set_read_timeout(Some(time).filter(|time| !time.is_zero()));
    }

    /// Ends it: whoever reads or writes gets an end or an error.
    pub(super) fn shut(&self) {
        let _ = self.socket().shutdown(Shutdown::Both);
    }

    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Socket::Tcp(stream) => (&*stream).read(room),
                Socket::Unix(stream) => (&*stream).read(room),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match self {
                Socket::Tcp(stream) => (&*stream).write(bytes),
                Socket::Unix(stream) => (&*stream).write(bytes),
            };
            match written {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// The bytes on their way to tokio-postgres.
#[derive(Default)]
struct Staged {
    bytes: Vec<u8>,
    start: usize,
    has_ended: bool,
    failure: Option<ErrorKind>,
}

/// A socket and what was read from it.
pub(super) struct Wire {
    socket: Socket,
    /// Locked by the one goroutine that has the connection, and for no longer than a copy.
    staged: Mutex<Staged>,
    wanted: AtomicBool,
}

impl Wire {
    pub(super) fn new(socket: Socket) -> Wire {
        Wire {
            socket,
            staged: Mutex::default(),
            wanted: AtomicBool::new(false),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether bytes were wanted and not there since the last call.
    pub(super) fn take_wanted(&self) -> bool {
        // Relaxed: set and taken by the same goroutine.
        self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Stages what the socket yields next, blocking this goroutine until there is something.
    pub(super) fn stage(&self) {
        let mut bytes = std::mem::take(&mut self.staged().bytes);
        bytes.resize(STAGED_BYTES, 0);
        let read = self.socket.read(&mut bytes);
        let mut staged = self.staged();
        match &read {
            Ok(0) => staged.has_ended = true,
            Ok(_) => {}
            Err(error) => staged.failure = Some(error.kind()),
        }
        bytes.truncate(read.unwrap_or(0));
        staged.start = 0;
        staged.bytes = bytes;
    }

    /// Reads until the other side has ended, or the reads' time is over.
    pub(super) fn read_to_end(&self) {
        let mut room = [0; 64];
        while matches!(self.socket.read(&mut room), Ok(count) if count > 0) {}
    }

    /// Whether a connection that rests has got something, or its end: nothing was asked, so it is the
    /// server's goodbye, or a change of its settings. Never blocks.
    pub(super) fn is_disturbed(&self) -> bool {
        let mut room = [MaybeUninit::uninit(); 1];
        let staged = self.staged();
        if staged.has_ended || staged.failure.is_some() || staged.start < staged.bytes.len() {
            return true;
        }
        drop(staged);
        let socket = self.socket.socket();
        let flags = MSG_PEEK | MSG_DONTWAIT;
        let peeked = socket.recv_with_flags(&mut room, flags);
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// As Linux and the BSDs number them.
const MSG_PEEK: i32 = 0x2;
#[cfg(target_os = "linux")]
const MSG_DONTWAIT: i32 = 0x40;
#[cfg(not(target_os = "linux"))]
const MSG_DONTWAIT: i32 = 0x80;

/// tokio-postgres's end of a [`Wire`].
pub(super) struct Link(pub(super) Arc<Wire>);

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut staged = self.0.staged();
        let count = room.remaining().min(staged.bytes.len() - staged.start);
        if count > 0 {
            let start = staged.start;
            room.put_slice(&staged.bytes[start..start + count]);
            staged.start += count;
            return Poll::Ready(Ok(()));
        }
        if let Some(kind) = staged.failure {
            return Poll::Ready(Err(kind.into()));
        }
        if staged.has_ended {
            return Poll::Ready(Ok(()));
        }
        // The driver polls again after staging, so there is no waker to keep. Relaxed: see `take_wanted`.
        self.0.wanted.store(true, Ordering::Relaxed);
        Poll::Pending
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.socket.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.0.socket.socket().shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
