//! Why a request was not answered.

use gaggle::context::ContextError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a request was not answered, or its response's body ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// It is none that can be sent: the address, a header.
    Request(Box<dyn Error + Send + Sync>),
    /// There is no connection: the name, the network, TLS or the proxy.
    Connect(io::Error),
    /// The connection was lost, or the server does not keep to the protocol; whether the request was
    /// acted on is unknown.
    Exchange(Box<dyn Error + Send + Sync>),
    /// The time is up.
    TimedOut,
    /// The context has ended.
    Ended(ContextError),
    /// The body is longer than it may be.
    TooLarge,
}

impl ClientError {
    pub(crate) fn request(error: impl Into<Box<dyn Error + Send + Sync>>) -> ClientError {
        ClientError::Request(error.into())
    }

    pub(crate) fn exchange(error: impl Into<Box<dyn Error + Send + Sync>>) -> ClientError {
        ClientError::Exchange(error.into())
    }

    /// Whether the server has certainly not acted on the request, so that even one that changes something may
    /// be made again.
    pub fn is_before_sending(&self) -> bool {
        matches!(self, ClientError::Request(_) | ClientError::Connect(_))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Request(error) => write!(f, "no request: {error}"),
            ClientError::Connect(error) => write!(f, "no connection: {error}"),
            ClientError::Exchange(error) => write!(f, "no answer: {error}"),
            ClientError::TimedOut => f.write_str("the time for the request is up"),
            ClientError::Ended(error) => write!(f, "the request was given up: {error}"),
            ClientError::TooLarge => f.write_str("the response is longer than it may be"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Request(error) | ClientError::Exchange(error) => Some(&**error),
            ClientError::Connect(error) => Some(error),
            ClientError::Ended(error) => Some(error),
            ClientError::TimedOut | ClientError::TooLarge => None,
        }
    }
}
