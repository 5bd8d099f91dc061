//! The futures that hyper starts beside a connection of HTTP/2: polled where the connection is.

use futures_util::stream::{FuturesUnordered, Stream};
use hyper::rt::Executor;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Where hyper puts them.
#[derive(Clone, Default)]
pub(crate) struct Beside(Rc<RefCell<Vec<Task>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Beside {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(future));
    }
}

/// Those that run.
#[derive(Default)]
pub(crate) struct Tasks(FuturesUnordered<Task>);

impl Tasks {
    /// Takes over what has been started, and polls what wants to be polled; `ended` is called for each that
    /// has ended. Whether one is new: it may have begun to send, so that the connection is to be polled again.
    pub(crate) fn poll(
        &mut self,
        beside: &Beside,
        context: &mut Context<'_>,
        mut ended: impl FnMut(),
    ) -> bool {
        let started = beside.0.take();
        let is_new = !started.is_empty();
        self.0.extend(started);
        while let Poll::Ready(Some(())) = Pin::new(&mut self.0).poll_next(context) {
            ended();
        }
        is_new
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
