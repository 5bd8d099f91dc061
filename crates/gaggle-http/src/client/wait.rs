//! How long a request and its response may take together.

use crate::client::error::ClientError;
use crate::timer::Clock;
use futures_channel::oneshot;
use gaggle::context::{AfterFunc, Context, ContextError};
use hyper::rt::{Sleep, Timer};
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{self, Poll};
use std::time::Duration;

/// The end of a request's time, by its clock or its context.
pub(crate) struct Wait {
    sleep: Option<Pin<Box<dyn Sleep>>>,
    context: Context,
    ended: oneshot::Receiver<()>,
    stop: AfterFunc,
}

impl Wait {
    pub(crate) fn new(context: &Context, time: Option<Duration>) -> Wait {
        let (end, ended) = oneshot::channel();
        Wait {
            sleep: time.map(|time| Clock.sleep(time)),
            context: context.clone(),
            ended,
            stop: context.after_func(move || {
                // An error means that the request has ended.
                let _ = end.send(());
            }),
        }
    }

    /// Whether the time is up; else the task is woken when it is.
    pub(crate) fn poll(&mut self, context: &mut task::Context<'_>) -> Result<(), ClientError> {
        // First, so that a context which ends after the look at it wakes the task; that it has ended already
        // is seen by that look.
        let _ = Pin::new(&mut self.ended).poll(context);
        if let Some(error) = self.context.err() {
            return Err(match error {
                ContextError::DeadlineExceeded => ClientError::TimedOut,
                error => ClientError::Ended(error),
            });
        }
        let sleep = self.sleep.as_mut();
        if sleep.is_some_and(|sleep| sleep.as_mut().poll(context).is_ready()) {
            return Err(ClientError::TimedOut);
        }
        Ok(())
    }

    /// Awaits `future` unless the time is up before.
    pub(crate) async fn until<F: Future>(&mut self, future: F) -> Result<F::Output, ClientError> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            match self.poll(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
