//! Doing something about a call that blocks when a context ends.
//!
//! - H1: when [`under`] returns, nothing of `abort` runs any more: what it does cannot meet a later call.
//! - H2: `abort` is told when the call is over, so that it knows whether what it did was enough.

use gaggle::context::{AfterFunc, Context};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Whether a call is over yet.
pub(crate) struct Call(Receiver<()>);

impl Call {
    /// Waits until the call is over, for so long at most; `false`: it is not.
    pub(crate) fn is_over_within(&self, time: Duration) -> bool {
        // Nothing is ever sent: the other end is dropped.
        self.0.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Runs `call` on this goroutine; if the context ends meanwhile, `abort` runs on another. Answers what the
/// call answered, and whether `abort` ran.
pub(crate) fn under<T>(
    context: &Context,
    abort: impl FnOnce(Call) + Send + 'static,
    call: impl FnOnce() -> T,
) -> (T, bool) {
    let (over, is_over) = channel::<()>();
    let (aborted, is_aborted) = channel::<()>();
    let watcher = context.after_func(move || {
        abort(Call(is_over));
        drop(aborted);
    });
    // std's channels, which wait to the end even under a context that has ended (H1).
    let guard = Guard {
        over: Some(over),
        is_aborted,
        watcher,
    };
    let answer = call();
    let stopped = guard.watcher.stop();
    drop(guard);
    (answer, !stopped)
}

/// Tells the other goroutine that the call is over, and waits until that has ended (H1, H2), also when the
/// call panics.
struct Guard {
    over: Option<Sender<()>>,
    is_aborted: Receiver<()>,
    watcher: AfterFunc,
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.over.take());
        // A function that is stopped is dropped, and its end of the channel with it. It is stopped already
        // unless the call panicked; stopping again changes nothing.
        self.watcher.stop();
        let _ = self.is_aborted.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle::context::background;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_call_that_ends_first_is_left_alone() {
        let (context, cancel) = background().with_cancel();
        let (answer, aborted) = under(&context, |_| unreachable!(), || 7);
        assert_eq!((answer, aborted), (7, false));
        cancel.cancel();
    }

    #[test]
    fn the_abort_has_ended_when_the_call_returns() {
        static ENDED: AtomicBool = AtomicBool::new(false);
        let (context, cancel) = background().with_cancel();
        let (sender, receiver) = channel();
        let abort = move |call: Call| {
            sender.send(()).expect("the call waits");
            assert!(call.is_over_within(Duration::from_secs(60)));
            std::thread::yield_now();
            ENDED.store(true, Ordering::SeqCst);
        };
        let (answer, aborted) = under(&context, abort, || {
            cancel.cancel();
            receiver.recv()
        });
        assert_eq!((answer, aborted), (Ok(()), true));
        assert!(ENDED.load(Ordering::SeqCst), "H1");
    }
}
