//! What is between a connection's socket and its plain bytes: nothing, or TLS. All calls here block.

use crate::listener::Stream;
#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::io::{self, IoSlice, Write};
#[cfg(feature = "tls")]
use std::io::{ErrorKind, Read};
use std::time::Duration;

/// One connection's.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Box<RefCell<rustls::ServerConnection>>),
}

impl Transport {
    /// Whether plain bytes are there already, so that a read does not wait.
    pub(crate) fn holds_bytes(&self) -> bool {
        match self {
            Transport::Plain => false,
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => tls
                .borrow_mut()
                .process_new_packets()
                .is_ok_and(|state| state.plaintext_bytes_to_read() > 0),
        }
    }

    /// Reads what is there, or else from the socket once, waiting for `time` at most: so many plain bytes, of
    /// which none is the end. `None`: something came that makes no plain byte yet.
    pub(crate) fn read(
        &self,
        stream: &Stream,
        time: Option<Duration>,
        room: &mut [u8],
    ) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain => stream.read_within(time, room).map(Some),
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => {
                let mut tls = tls.borrow_mut();
                match tls.reader().read(room) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => return other.map(Some),
                }
                advance(&mut tls, stream, time)?;
                match tls.reader().read(room) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                    other => other.map(Some),
                }
            }
        }
    }

    pub(crate) fn write(&self, stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain => {
                let mut stream = stream;
                retry(|| stream.write(bytes))
            }
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => {
                let mut tls = tls.borrow_mut();
                let count = tls.writer().write(bytes)?;
                flush(&mut tls, stream)?;
                Ok(count)
            }
        }
    }

    pub(crate) fn write_vectored(
        &self,
        stream: &Stream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match self {
            Transport::Plain => {
                let mut stream = stream;
                retry(|| stream.write_vectored(slices))
            }
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => {
                let mut tls = tls.borrow_mut();
                let count = tls.writer().write_vectored(slices)?;
                flush(&mut tls, stream)?;
                Ok(count)
            }
        }
    }

    /// Says that nothing more will be written, where the protocol has a word for it.
    pub(crate) fn close_notify(&self, stream: &Stream) {
        match self {
            Transport::Plain => {
                let _ = stream;
            }
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => {
                let mut tls = tls.borrow_mut();
                tls.send_close_notify();
                // An error means that the peer has gone.
                let _ = flush(&mut tls, stream);
            }
        }
    }
}

/// A socket whose reads wait for as long at most.
#[cfg(feature = "tls")]
struct Limited<'a>(&'a Stream, Option<Duration>);

#[cfg(feature = "tls")]
impl Read for Limited<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read_within(self.1, bytes)
    }
}

/// Reads from the socket once, waiting for `time` at most, and has TLS make of it what it can; how many bytes
/// came.
#[cfg(feature = "tls")]
pub(crate) fn advance(
    tls: &mut rustls::ServerConnection,
    stream: &Stream,
    time: Option<Duration>,
) -> io::Result<usize> {
    flush(tls, stream)?;
    let count = tls.read_tls(&mut Limited(stream, time))?;
    let outcome = tls.process_new_packets();
    // An alert, if it failed, or a message of the handshake.
    let flushed = flush(tls, stream);
    outcome.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    flushed.map(|()| count)
}

#[cfg(feature = "tls")]
fn flush(tls: &mut rustls::ServerConnection, stream: &Stream) -> io::Result<()> {
    let mut socket = stream;
    while tls.wants_write() {
        retry(|| tls.write_tls(&mut socket))?;
    }
    Ok(())
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
