//! The state of the protocol, without a socket: bytes of the wire go in and out.

use crate::websocket::Options;
use crate::websocket::message::{Message, WebSocketError};
use bytes::{Buf, BytesMut};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;
use tungstenite::error::Error as ProtocolError;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// Bytes that tungstenite's buffers begin with: most connections are quiet.
const BUFFER_BYTES: usize = 4 * 1024;
/// What the protocol says where nobody gave a reason.
const NO_STATUS: u16 = 1005;

/// Plain bytes on their way in and out.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    inbox: BytesMut,
    outbox: Vec<u8>,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.inbox.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(self.inbox.len());
        self.inbox.copy_to_slice(&mut room[..count]);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// TLS between the pipe and the wire, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Coat {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Box<rustls::Connection>>,
}

impl Coat {
    /// Takes in bytes of the wire; none: its end.
    pub(crate) fn feed(&mut self, bytes: &[u8], pipe: &mut Pipe) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let mut rest = bytes;
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                let state = tls
                    .process_new_packets()
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                let mut plain = vec![0; state.plaintext_bytes_to_read()];
                tls.reader().read_exact(&mut plain)?;
                pipe.inbox.extend_from_slice(&plain);
                pipe.ended |= state.peer_has_closed();
            }
            pipe.ended |= bytes.is_empty();
            return Ok(());
        }
        pipe.inbox.extend_from_slice(bytes);
        pipe.ended |= bytes.is_empty();
        Ok(())
    }

    /// What is to be written to the wire.
    pub(crate) fn take_out(&mut self, pipe: &mut Pipe) -> io::Result<Vec<u8>> {
        let plain = std::mem::take(&mut pipe.outbox);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let mut wire = Vec::new();
            let mut rest = plain.as_slice();
            loop {
                rest = &rest[tls.writer().write(rest)?..];
                while tls.wants_write() {
                    tls.write_tls(&mut wire)?;
                }
                if rest.is_empty() || tls.is_handshaking() {
                    break;
                }
            }
            // What TLS does not take before its handshake has ended waits.
            pipe.outbox.extend_from_slice(rest);
            return Ok(wire);
        }
        Ok(plain)
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Machine {
    socket: tungstenite::WebSocket<Pipe>,
    coat: Coat,
    /// When the other side was last heard of.
    heard: Instant,
    /// Whether it has been asked since whether it is there.
    asked: bool,
    /// How the connection was closed, by either side.
    closed: Option<(u16, String)>,
}

/// What the machine has for who receives.
pub(crate) enum Step {
    Message(Message),
    /// It needs bytes of the wire.
    Wants,
}

pub(crate) fn config(options: &Options) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(options.message_bytes_max))
        .max_frame_size(Some(options.message_bytes_max))
}

impl Machine {
    /// A server's, of whose connection `first` has come along with the greeting.
    pub(crate) fn of_server(coat: Coat, first: &[u8], options: &Options) -> Machine {
        let config = Some(config(options));
        let socket = tungstenite::WebSocket::from_partially_read(
            Pipe::default(),
            first.to_vec(),
            Role::Server,
            config,
        );
        Machine::new(socket, coat)
    }

    pub(crate) fn new(socket: tungstenite::WebSocket<Pipe>, coat: Coat) -> Machine {
        Machine {
            socket,
            coat,
            heard: Instant::now(),
            asked: false,
            closed: None,
        }
    }

    /// Takes in bytes of the wire; none: its end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.heard = Instant::now();
        self.asked = false;
        self.coat.feed(bytes, self.socket.get_mut())
    }

    /// What is to be written to the wire.
    pub(crate) fn take_out(&mut self) -> io::Result<Vec<u8>> {
        self.coat.take_out(self.socket.get_mut())
    }

    pub(crate) fn has_output(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.coat.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            return true;
        }
        !self.socket.get_ref().outbox.is_empty()
    }

    /// When the other side was last heard of, and whether it has been asked since.
    pub(crate) fn heard(&self) -> (Instant, bool) {
        (self.heard, self.asked)
    }

    /// The next message, if it has come whole.
    pub(crate) fn step(&mut self) -> Result<Step, WebSocketError> {
        loop {
            match self.socket.read() {
                Ok(tungstenite::Message::Text(text)) => {
                    return Ok(Step::Message(Message::Text(text.as_str().to_owned())));
                }
                Ok(tungstenite::Message::Binary(bytes)) => {
                    return Ok(Step::Message(Message::Binary(bytes)));
                }
                Ok(tungstenite::Message::Close(frame)) => {
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    self.closed
                        .get_or_insert(frame.unwrap_or((NO_STATUS, String::new())));
                }
                // Pings are answered by tungstenite, and pongs have been heard.
                Ok(_) => {}
                Err(ProtocolError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Step::Wants);
                }
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    /// Puts a message where [`Machine::take_out`] finds it.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), WebSocketError> {
        self.put(message.into_wire())
    }

    /// Asks the other side whether it is there.
    pub(crate) fn ping(&mut self) -> Result<(), WebSocketError> {
        self.asked = true;
        self.put(tungstenite::Message::Ping(bytes::Bytes::new()))
    }

    fn put(&mut self, message: tungstenite::Message) -> Result<(), WebSocketError> {
        let sent = self
            .socket
            .write(message)
            .and_then(|()| self.socket.flush());
        sent.map_err(|error| self.failure(error))
    }

    /// Says goodbye, unless that has been done.
    pub(crate) fn close(&mut self, code: u16, reason: &str) -> Result<(), WebSocketError> {
        if self.closed.is_some() {
            return Ok(());
        }
        self.closed = Some((code, reason.to_owned()));
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        let closed = self
            .socket
            .close(Some(frame))
            .and_then(|()| self.socket.flush());
        match closed {
            Ok(()) | Err(ProtocolError::ConnectionClosed | ProtocolError::AlreadyClosed) => Ok(()),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// What an error of tungstenite's means.
    fn failure(&mut self, error: ProtocolError) -> WebSocketError {
        match error {
            ProtocolError::ConnectionClosed
            | ProtocolError::AlreadyClosed
            | ProtocolError::Protocol(
                tungstenite::error::ProtocolError::SendAfterClosing
                | tungstenite::error::ProtocolError::ReceivedAfterClosing,
            ) => {
                let (code, reason) = self.closed.clone().unwrap_or((NO_STATUS, String::new()));
                WebSocketError::Closed { code, reason }
            }
            ProtocolError::Io(error) => WebSocketError::Lost(error),
            ProtocolError::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => match self.closed.clone() {
                // One side has said goodbye, and the other did not wait for more.
                Some((code, reason)) => WebSocketError::Closed { code, reason },
                None => WebSocketError::Lost(ErrorKind::UnexpectedEof.into()),
            },
            other => WebSocketError::Protocol(Box::new(other)),
        }
    }
}
