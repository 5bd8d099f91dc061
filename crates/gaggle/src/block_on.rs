//! Awaiting a future by blocking.

use crate::parker::Parker;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A waker whose wake is a permit.
struct Wakeup(Parker);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this goroutine (never its OS thread) until `future` is ready, and answers its output.
///
/// The future is polled on this goroutine; futures that need the reactor of an async runtime need
/// that runtime to run elsewhere in the process. Works on ordinary OS threads too.
///
/// # Examples
/// ```
/// let sum = gaggle::block_on(async { 40 + std::future::ready(2).await });
/// assert_eq!(sum, 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let wakeup = Arc::new(Wakeup(Parker::new()));
    let waker = Waker::from(Arc::clone(&wakeup));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => wakeup.0.park(),
        }
    }
}
