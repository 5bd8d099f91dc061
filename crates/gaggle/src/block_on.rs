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
/// With this crate's feature `tokio`, that is seen to for tokio: the future finds a runtime of tokio around
/// it, so that its sockets, timers and `tokio::spawn` work, and crates that are built on them (`reqwest`,
/// `sqlx`, `tonic`, ...) can be called from a goroutine. It is the one that the caller has entered, or else
/// one that this process shares, which is started at the first use and has one OS thread for reactor and
/// spawned tasks.
///
/// # Panics
/// When the future does; when a context that this is called under
/// ([`Context::run`](crate::context::Context::run)) ends before the future is ready; with the feature
/// `tokio`, when the operating system refuses the runtime's thread or descriptors.
///
/// # Examples
/// ```
/// let sum = gaggle::block_on(async { 40 + std::future::ready(2).await });
/// assert_eq!(sum, 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    #[cfg(feature = "tokio")]
    let _entered = shared_tokio().enter();
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

/// The runtime of tokio that the caller has entered, or the one that all share.
#[cfg(feature = "tokio")]
fn shared_tokio() -> tokio::runtime::Handle {
    use std::sync::OnceLock;
    use tokio::runtime::{Builder, Handle, Runtime};

    static SHARED: OnceLock<Runtime> = OnceLock::new();

    Handle::try_current().unwrap_or_else(|_| {
        let start = || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("gaggle-tokio");
            builder
                .enable_all()
                .build()
                .expect("tokio's runtime starts")
        };
        SHARED.get_or_init(start).handle().clone()
    })
}
