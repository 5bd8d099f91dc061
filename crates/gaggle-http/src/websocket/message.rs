//! What is sent and received, and what may happen instead.

use bytes::Bytes;
use std::error::Error;
use std::fmt;
use std::io;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, which the protocol checks to be UTF-8.
    Text(String),
    /// Anything else.
    Binary(Bytes),
}

impl Message {
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    pub(crate) fn into_wire(self) -> tungstenite::Message {
        match self {
            Message::Text(text) => tungstenite::Message::Text(text.into()),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::Text(text.to_owned())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Message::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Message::Binary(bytes.into())
    }
}

/// Why a message was not sent or received.
#[derive(Debug)]
#[non_exhaustive]
pub enum WebSocketError {
    /// One of the two sides has closed the connection, as the protocol has it.
    Closed {
        /// Why, by the protocol's numbers; 1005: nobody said.
        code: u16,
        /// Why, in words.
        reason: String,
    },
    /// The connection is gone, or the other side is silent, or the wait was ended by a context.
    Lost(io::Error),
    /// The other side does not keep to the protocol, or to this side's limits.
    Protocol(Box<dyn Error + Send + Sync>),
    /// There is no connection: the address, the greeting or its answer is wrong.
    Refused(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebSocketError::Closed { code, reason } => write!(f, "closed: {code} {reason}"),
            WebSocketError::Lost(error) => write!(f, "the connection is lost: {error}"),
            WebSocketError::Protocol(error) => write!(f, "not as the protocol has it: {error}"),
            WebSocketError::Refused(error) => write!(f, "no connection: {error}"),
        }
    }
}

impl Error for WebSocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            WebSocketError::Closed { .. } => None,
            WebSocketError::Lost(error) => Some(error),
            WebSocketError::Protocol(error) | WebSocketError::Refused(error) => Some(&**error),
        }
    }
}

impl From<io::Error> for WebSocketError {
    fn from(error: io::Error) -> Self {
        WebSocketError::Lost(error)
    }
}
