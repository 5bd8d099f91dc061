//! `block_on`: futures are awaited by blocking, on goroutines and on OS threads.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A future that is ready once the flag is up, and says where to wake it.
async fn flag_is_up(flag: Arc<AtomicBool>, wakers: mpsc::Sender<Waker>) {
    poll_fn(|context| {
        if flag.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        wakers.send(context.waker().clone()).unwrap();
        Poll::Pending
    })
    .await
}

fn raise_flag_for(start: impl FnOnce(Arc<AtomicBool>, mpsc::Sender<Waker>)) {
    let flag = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel::<Waker>();
    let raiser = gaggle::go({
        let flag = Arc::clone(&flag);
        move || {
            let waker = receiver.recv().unwrap();
            flag.store(true, Ordering::SeqCst);
            waker.wake();
        }
    });
    start(flag, sender);
    raiser.join().unwrap();
}

#[test]
fn future_woken_by_another_goroutine_ends_the_wait_of_a_goroutine() {
    raise_flag_for(|flag, sender| {
        gaggle::go(|| gaggle::block_on(flag_is_up(flag, sender)))
            .join()
            .unwrap();
    });
}

#[test]
fn future_woken_by_another_goroutine_ends_the_wait_of_an_os_thread() {
    raise_flag_for(|flag, sender| gaggle::block_on(flag_is_up(flag, sender)));
}

#[test]
fn future_that_wakes_itself_is_polled_again() {
    let polls = AtomicUsize::new(0);
    gaggle::block_on(poll_fn(|context| {
        if polls.fetch_add(1, Ordering::Relaxed) == 100 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }));
    assert_eq!(polls.into_inner(), 101);
}

#[test]
fn waker_may_be_used_after_the_future_has_ended() {
    let waker = gaggle::block_on(poll_fn(|context| Poll::Ready(context.waker().clone())));
    waker.wake_by_ref();
    waker.wake();
}

#[test]
fn park_permit_of_the_goroutine_is_not_touched() {
    gaggle::go(|| {
        gaggle::current().unpark();
        let mut polled = false;
        gaggle::block_on(poll_fn(|context| {
            if polled {
                return Poll::Ready(());
            }
            polled = true;
            let waker = context.waker().clone();
            gaggle::time::after_func(Duration::from_millis(1), move || waker.wake());
            Poll::Pending
        }));
        assert!(gaggle::park_timeout(Duration::from_secs(60)));
    })
    .join()
    .unwrap();
}

#[test]
fn a_goroutine_is_awaited_by_another() {
    let (sender, receiver) = gaggle::chan::unbuffered();
    let waiting =
        gaggle::go(move || gaggle::block_on(gaggle::go(move || receiver.recv()).into_future()));
    sender.send(5).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), Ok(5));
}

#[test]
fn a_result_that_nobody_polls_again_is_dropped() {
    let (sender, receiver) = gaggle::chan::unbuffered();
    let kept = std::sync::Arc::new(());
    let weak = std::sync::Arc::downgrade(&kept);
    drop(gaggle::go(move || (receiver.recv(), kept).1).into_future());
    sender.send(()).unwrap();
    while weak.upgrade().is_some() {
        gaggle::yield_now();
    }
}
