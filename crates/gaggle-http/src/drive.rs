//! Runs hyper's connection on one goroutine.
//!
//! - D1: the connection is polled again for as long as a waker rang during the last poll.
//! - D2: only when none rang, and hyper wants bytes, is a blocking read made (W1 of [`crate::wire`]); while a
//!   service is reading a body, it is made when there are bytes, and until then a waker may ring.
//! - D3: only when none rang, and hyper wants no bytes, does the goroutine park until one rings: then
//!   the service itself waits for something.

use crate::wire::Wire;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The waker of a connection's goroutine.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    goroutine: Thread,
}

impl Bell {
    /// The calling goroutine's.
    pub(crate) fn new() -> Arc<Bell> {
        Arc::new(Bell {
            rung: AtomicBool::new(false),
            goroutine: thread::current(),
        })
    }

    /// Whether it has rung and not been taken notice of.
    fn is_rung(&self) -> bool {
        // Relaxed: only whether to go on; `take` is what acquires.
        self.rung.load(Ordering::Relaxed)
    }

    /// Whether it rang since the last call.
    pub(crate) fn take(&self) -> bool {
        // AcqRel: Acquire pairs with the Release in `wake_by_ref`, so that the next poll sees what
        // was done before the ring.
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: Release pairs with the Acquire in `take`.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.goroutine.unpark();
        }
    }
}

/// Blocks this goroutine until `connection` has ended.
pub(crate) fn drive<F: Future + Unpin>(wire: &Wire, connection: &mut F) -> F::Output {
    let mut connection = Pin::new(connection);
    let bell = Bell::new();
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = connection.as_mut().poll(&mut context) {
            return output;
        }
        let wanted = wire.take_wanted();
        if bell.take() {
            continue;
        }
        if wanted {
            wire.stage_unless(&mut context, || bell.is_rung());
        } else {
            while !bell.take() {
                thread::park();
            }
        }
    }
}
