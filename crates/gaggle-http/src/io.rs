//! A socket by calls that do not block, as hyper's futures read and write it, through TLS where there is any.
//!
//! For connections on which reading and writing go on at the same time: HTTP/2, and clients. What waits is
//! the future, by [`Readiness`]; whoever polls it parks.
//!
//! Each call says itself that it does not wait ([`AtOnce`]), so that nobody has to ask whether the socket does.

use crate::listener::Stream;
use bytes::{Buf, Bytes};
use gaggle::net::{Readiness, try_recv, try_send};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many bytes one read takes at most.
const READ_BYTES: usize = 16 * 1024;

/// The owner of a stream.
pub(crate) trait Owner: AsFd + Unpin {
    fn stream(&self) -> &Stream;
}

impl Owner for Stream {
    fn stream(&self) -> &Stream {
        self
    }
}

#[cfg(feature = "http2")]
impl Owner for crate::connections::Handle {
    fn stream(&self) -> &Stream {
        self.0.stream()
    }
}

/// A socket by calls that answer [`ErrorKind::WouldBlock`] where they would have to wait.
struct AtOnce<'a>(BorrowedFd<'a>);

impl io::Read for AtOnce<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        try_recv(&self.0, bytes)
    }
}

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        try_send(&self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a call on a socket waits for.
#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Io<S> {
    socket: Readiness<S>,
    /// What was read before.
    first: Bytes,
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::Connection>>,
}

impl<S: Owner> Io<S> {
    /// A socket without TLS, of which `first` has been read.
    pub(crate) fn new(socket: S, first: Bytes) -> Io<S> {
        Io {
            socket: Readiness::new(socket),
            first,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same with TLS, before or after its handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(mut self, tls: impl Into<rustls::Connection>) -> Self {
        self.tls = Some(Box::new(tls.into()));
        self
    }

    /// Ends when TLS's handshake has.
    ///
    /// # Errors
    /// When it fails.
    #[cfg(all(feature = "client", feature = "tls"))]
    pub(crate) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush_tls(context))?;
            if !self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_advance(context))? == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Whether TLS has chosen HTTP/2 (ALPN).
    #[cfg(all(feature = "client", feature = "http2", feature = "tls"))]
    pub(crate) fn has_chosen_http2(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.alpn_protocol() == Some(b"h2"))
    }

    /// Calls until there is anything but to wait, or to go on.
    fn poll_socket<R>(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        mut call: impl FnMut(AtOnce<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            match call(AtOnce(self.socket.get_ref().as_fd())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
            ready!(match side {
                Side::Read => self.socket.poll_readable(context),
                Side::Write => self.socket.poll_writable(context),
            })?;
        }
    }

    /// Plain bytes that TLS has made, into `cursor`.
    #[cfg(feature = "tls")]
    fn poll_read_tls(
        &mut self,
        context: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        use std::io::BufRead as _;
        while let Some(tls) = &mut self.tls {
            let mut reader = tls.reader();
            match reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    let count = cursor.remaining().min(bytes.len());
                    cursor.put_slice(&bytes[..count]);
                    reader.consume(count);
                    break;
                }
            }
            // What TLS has to say of its own; that it cannot be said now keeps nothing from being read.
            if let Poll::Ready(Err(error)) = self.poll_flush_tls(context) {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_advance(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket once, and has TLS make of it what it can; how many bytes came.
    #[cfg(feature = "tls")]
    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(mut tls) = self.tls.take() else {
            return Poll::Ready(Ok(0));
        };
        let advanced =
            self.poll_socket(context, Side::Read, |mut socket| tls.read_tls(&mut socket));
        let processed = match advanced {
            Poll::Ready(Ok(_)) => tls.process_new_packets().map(drop),
            _ => Ok(()),
        };
        self.tls = Some(tls);
        let Err(error) = processed else {
            return advanced;
        };
        // The alert, as far as it can be said now.
        let _ = self.poll_flush_tls(context);
        Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)))
    }

    /// Sends what TLS has made.
    fn poll_flush_tls(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        while self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            let Some(mut tls) = self.tls.take() else {
                break;
            };
            let written = self.poll_socket(context, Side::Write, |mut socket| {
                tls.write_tls(&mut socket)
            });
            self.tls = Some(tls);
            ready!(written)?;
        }
        let _ = context;
        Poll::Ready(Ok(()))
    }
}

impl<S: Owner> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let count = cursor.remaining().min(self.first.remaining());
            cursor.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.poll_read_tls(context, &mut cursor);
        }
        let mut room = [0; READ_BYTES];
        let length = cursor.remaining().min(READ_BYTES);
        self.poll_socket(context, Side::Read, |mut socket| {
            let count = io::Read::read(&mut socket, &mut room[..length])?;
            cursor.put_slice(&room[..count]);
            Ok(())
        })
    }
}

impl<S: Owner> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // So that TLS never holds more than what it was last given.
        ready!(self.poll_flush_tls(context))?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let count = io::Write::write(&mut tls.writer(), bytes)?;
            // What cannot be sent now is sent by the next write or flush.
            if let Poll::Ready(Err(error)) = self.poll_flush_tls(context) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(count));
        }
        self.poll_socket(context, Side::Write, |mut socket| {
            io::Write::write(&mut socket, bytes)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_tls(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            // Saying it again does nothing.
            tls.send_close_notify();
        }
        ready!(self.poll_flush_tls(context))?;
        match self.socket.get_ref().stream().shutdown(Shutdown::Write) {
            // The peer has gone, which is where this leads.
            Err(error) if error.kind() == ErrorKind::NotConnected => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}
