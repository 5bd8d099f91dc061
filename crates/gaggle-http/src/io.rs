//! A socket that does not block, as hyper's futures read and write it, through TLS where there is any.
//!
//! For connections on which reading and writing go on at the same time: HTTP/2, and clients. What waits is
//! the future, by [`Readiness`]; whoever polls it parks.

use crate::listener::Stream;
use bytes::{Buf, Bytes};
use gaggle::net::Readiness;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd;
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
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn new(socket: S, first: Bytes) -> io::Result<Io<S>> {
        socket.stream().set_nonblocking(true)?;
        Ok(Io {
            socket: Readiness::new(socket),
            first,
            #[cfg(feature = "tls")]
            tls: None,
        })
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

    fn poll_read_socket(
        &mut self,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut stream = self.socket.get_ref().stream();
            match stream.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
            ready!(self.socket.poll_readable(context))?;
        }
    }

    fn poll_write_socket(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&mut &Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut stream = self.socket.get_ref().stream();
            match write(&mut stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
            ready!(self.socket.poll_writable(context))?;
        }
    }

    /// Plain bytes, into `room`.
    fn poll_read_bytes(
        &mut self,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(feature = "tls")]
        while let Some(tls) = &mut self.tls {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
            // What TLS has to say of its own; that it cannot be said now keeps nothing from being read.
            if let Poll::Ready(Err(error)) = self.poll_flush_tls(context) {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_advance(context))?;
        }
        self.poll_read_socket(context, room)
    }

    /// Reads from the socket once, and has TLS make of it what it can; how many bytes came.
    #[cfg(feature = "tls")]
    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let Some(tls) = &mut self.tls else {
                return Poll::Ready(Ok(0));
            };
            let mut stream = self.socket.get_ref().stream();
            match tls.read_tls(&mut stream) {
                Ok(count) => {
                    if let Err(error) = tls.process_new_packets() {
                        // The alert, as far as it can be said now.
                        let _ = self.poll_flush_tls(context);
                        let error = io::Error::new(ErrorKind::InvalidData, error);
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.socket.poll_readable(context))?;
        }
    }

    /// Sends what TLS has made.
    fn poll_flush_tls(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        while self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            let Some(mut tls) = self.tls.take() else {
                break;
            };
            let written = self.poll_write_socket(context, |stream| tls.write_tls(stream));
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
        let mut room = [0; READ_BYTES];
        let length = cursor.remaining().min(READ_BYTES);
        let count = ready!(self.poll_read_bytes(context, &mut room[..length]))?;
        cursor.put_slice(&room[..count]);
        Poll::Ready(Ok(()))
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
            let count = tls.writer().write(bytes)?;
            // What cannot be sent now is sent by the next write or flush.
            if let Poll::Ready(Err(error)) = self.poll_flush_tls(context) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(count));
        }
        self.poll_write_socket(context, |stream| stream.write(bytes))
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
