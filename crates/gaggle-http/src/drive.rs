//! Runs hyper's connection on one goroutine.
//!
//! - D1: the connection is polled again for as long as a waker rang during the last poll.
//! - D2: only when none rang, and hyper wants bytes, is a blocking read made (W1 of [`crate::wire`]).
//! - D3: only when none rang, and hyper wants no bytes, does the goroutine park until one rings: then
//!   the service itself waits for something.
//!
//! A ring that comes during the blocking read of D2 is answered after it: a service that reads its
//! body and waits for something else *at the same time* sees the something else with the client's
//! next bytes. One that does one thing after the other, as blocking code does, never notices.

use crate::wire::Wire;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The waker of a connection's goroutine.
#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    goroutine: Thread,
}

impl Bell {
    /// Whether it rang since the last call.
    fn take(&self) -> bool {
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
pub(crate) fn drive<F: Future>(wire: &Wire, connection: F) -> F::Output {
    let mut connection = pin!(connection);
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(false),
        goroutine: thread::current(),
    });
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
            wire.stage();
        } else {
            while !bell.take() {
                thread::park();
            }
        }
    }
}
