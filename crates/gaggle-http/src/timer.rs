//! hyper's clock, by this library's timers.

use gaggle::time::{AfterFunc, after_func};
use hyper::rt::{Sleep, Timer};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Makes futures that end at a point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock;

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let now = Instant::now();
        // A time beyond what the clock can tell is far away.
        let far = now + Duration::from_secs(1 << 30);
        self.sleep_until(now.checked_add(duration).unwrap_or(far))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap {
            deadline,
            waker: Arc::default(),
            timer: None,
        })
    }
}

/// A future that ends at its deadline; the timer is started by the first poll.
#[derive(Debug)]
struct Nap {
    deadline: Instant,
    waker: Arc<Mutex<Option<Waker>>>,
    timer: Option<AfterFunc>,
}

impl Sleep for Nap {}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let set = |place: &Mutex<Option<Waker>>| {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        };
        set(&self.waker);
        // Looked at after the waker was put, so that a timer that fires in between finds it.
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        if self.timer.is_none() {
            let waker = Arc::clone(&self.waker);
            self.timer = Some(after_func(left, move || {
                let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }));
        }
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.stop();
        }
    }
}
