//! Runs tokio-postgres's futures on one goroutine.
//!
//! - D1: the future and the connection are polled again for as long as a waker rang, or the connection had
//!   something to say.
//! - D2: only then, and only if the connection wants bytes, is a blocking read made.
//!
//! Source: `gaggle-http`'s driver of hyper, which does the same.

use super::Wired;
use super::wire::Wire;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Notes that somebody rang.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with the Acquire in `drive`, so that the next poll sees what was done before.
        self.0.store(true, Ordering::Release);
    }
}

/// What came of a future.
pub(super) enum Driven<T> {
    Done(T),
    /// It waits for nothing that can come.
    Stuck,
}

/// Blocks this goroutine (never its OS thread) until `work` is done. A connection that has ended is taken
/// out; `work` then learns of it.
pub(super) fn drive<F: Future>(
    wire: &Wire,
    wired: &mut Option<Wired>,
    work: F,
) -> Driven<F::Output> {
    let mut work = pin!(work);
    let bell = Arc::new(Bell(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return Driven::Done(output);
        }
        if let Some(connection) = wired {
            match connection.poll_message(&mut context) {
                // A notice, or a notification that nobody asked for.
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(_)) | None) => {
                    *wired = None;
                    continue;
                }
                Poll::Pending => {}
            }
        }
        // Acquire: pairs with the Release in `wake_by_ref`.
        if bell.0.swap(false, Ordering::Acquire) {
            continue;
        }
        if !wire.take_wanted() {
            return Driven::Stuck;
        }
        wire.stage();
    }
}

/// Lets the connection do what it can without waiting.
pub(super) fn poll_once(connection: &mut Wired) {
    let mut context = Context::from_waker(Waker::noop());
    // It is going to be dropped, whatever comes of it.
    let _ = Pin::new(connection).poll(&mut context);
}
