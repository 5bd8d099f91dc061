//! A response's body: read by blocking, or frame by frame; either way the reader moves the bytes.

use crate::client::error::ClientError;
use crate::client::pool::Lease;
use crate::client::wait::Wait;
use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a response, which comes as it is read. Dropped before its end, it closes the connection.
///
/// It is a [`Body`], so that a service can answer with it, and a [`Read`].
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    wait: Wait,
    /// What has come and was not read.
    rest: Bytes,
}

impl ResponseBody {
    pub(crate) fn of(response: Response<Incoming>, lease: Lease, wait: Wait) -> Response<Self> {
        response.map(|incoming| {
            let mut body = ResponseBody {
                incoming,
                lease: Some(lease),
                wait,
                rest: Bytes::new(),
            };
            if body.incoming.is_end_stream() {
                body.end();
            }
            body
        })
    }

    /// The end has come: the connection is for the next request.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.recycle();
        }
    }

    /// All of it, blocking this goroutine.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`] when there are more than `bytes_max`; else as [`super::Client::request`].
    pub fn bytes(mut self, bytes_max: usize) -> Result<Bytes, ClientError> {
        let mut all = Vec::new();
        while let Some(data) = self.data()? {
            if data.len() > bytes_max - all.len() {
                return Err(ClientError::TooLarge);
            }
            all.extend_from_slice(&data);
        }
        Ok(all.into())
    }

    /// All of it as text, blocking this goroutine.
    ///
    /// # Errors
    /// As [`ResponseBody::bytes`], and [`ClientError::Exchange`] when it is no UTF-8.
    pub fn text(self, bytes_max: usize) -> Result<String, ClientError> {
        let bytes = self.bytes(bytes_max)?;
        String::from_utf8(bytes.into()).map_err(ClientError::exchange)
    }

    /// The next piece; `None`: the end.
    fn data(&mut self) -> Result<Option<Bytes>, ClientError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            let frame =
                gaggle::block_on(poll_fn(|context| Pin::new(&mut *self).poll_frame(context)));
            match frame.transpose()? {
                None => return Ok(None),
                // Trailers are passed over.
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        if let Some(lease) = &mut self.lease {
            lease.poll_driver(context);
        }
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(ClientError::exchange(error))))
            }
            Poll::Pending => match self.wait.poll(context) {
                Ok(()) => Poll::Pending,
                Err(error) => {
                    self.lease = None;
                    Poll::Ready(Some(Err(error)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Read for ResponseBody {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() {
            return Ok(0);
        }
        while self.rest.is_empty() {
            match self.data().map_err(io::Error::other)? {
                Some(data) => self.rest = data,
                None => return Ok(0),
            }
        }
        let count = room.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut room[..count]);
        Ok(count)
    }
}
