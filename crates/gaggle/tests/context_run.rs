//! `Context::run`: what waits inside ends with the context; the library's own waits, on both backends.

use gaggle::chan::{RecvTimeoutError, bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::select;
use gaggle::sync::{Condvar, Mutex, RwLock, Semaphore};
use gaggle::time::{Ticker, TimedOut, Timer, sleep, timeout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Later than any test runs.
const LATE: Duration = Duration::from_secs(3600);

/// Runs `wait` under a context that another goroutine cancels, once on a goroutine and once on an OS
/// thread; `wait` never ends by itself.
fn ended_by_cancel<T: Send + 'static>(wait: impl Fn() -> T + Clone + Send + 'static) -> Vec<T> {
    let run = move || {
        let (context, cancel) = background().with_cancel();
        let canceler = gaggle::go(move || {
            // Any moment will do: before, at, or after the beginning of the wait.
            gaggle::yield_now();
            cancel.cancel();
        });
        let answer = context.run(&wait);
        assert_eq!(context.err(), Some(ContextError::Canceled));
        canceler.join().unwrap();
        answer
    };
    let on_goroutine = gaggle::go(run.clone()).join().unwrap();
    vec![on_goroutine, run()]
}

/// As [`ended_by_cancel`], for waits that panic because they have no error to answer.
fn panics_by_cancel(wait: impl Fn() + Clone + Send + 'static) {
    let messages = ended_by_cancel(move || {
        let panic = catch_unwind(AssertUnwindSafe(&wait)).unwrap_err();
        panic.downcast_ref::<String>().cloned()
    });
    for message in messages {
        let message = message.expect("a text");
        assert!(message.starts_with("context canceled"), "{message}");
    }
}

#[test]
fn receive_ends_with_its_error() {
    let ended = ended_by_cancel(|| {
        let (_sender, receiver) = unbuffered::<u32>();
        receiver.recv()
    });
    assert!(ended.iter().all(Result::is_err));
}

#[test]
fn send_ends_and_hands_the_value_back() {
    let ended = ended_by_cancel(|| {
        let (sender, _receiver) = unbuffered();
        sender.send(7).unwrap_err().0
    });
    assert_eq!(ended, [7, 7]);
}

#[test]
fn timed_receive_says_that_the_time_is_over() {
    let ended = ended_by_cancel(|| {
        let (_sender, receiver) = unbuffered::<u32>();
        receiver.recv_timeout(LATE)
    });
    assert_eq!(ended, [Err(RecvTimeoutError::Timeout); 2]);
}

#[test]
fn receive_from_timer_ticker_and_nothing_ends() {
    assert!(
        ended_by_cancel(|| Timer::new(LATE).receiver().recv())
            .iter()
            .all(Result::is_err)
    );
    assert!(
        ended_by_cancel(|| Ticker::new(LATE).receiver().recv())
            .iter()
            .all(Result::is_err)
    );
    assert!(
        ended_by_cancel(|| gaggle::chan::never::<u32>().recv())
            .iter()
            .all(Result::is_err)
    );
}

#[test]
fn sleep_returns_early() {
    let start = Instant::now();
    ended_by_cancel(|| sleep(LATE));
    assert!(start.elapsed() < LATE);
}

#[test]
fn join_answers_the_error_and_the_goroutine_runs_on() {
    let (release, released) = bounded::<()>(2);
    let (sender, finished) = bounded(2);
    let ended = ended_by_cancel(move || {
        let (released, sender) = (released.clone(), sender.clone());
        let other = gaggle::go(move || {
            released.recv().unwrap();
            sender.send(()).unwrap();
        });
        let payload = other.join().unwrap_err();
        payload.downcast_ref::<ContextError>().copied()
    });
    assert_eq!(ended, [Some(ContextError::Canceled); 2]);
    for _ in 0..2 {
        release.send(()).unwrap();
        finished.recv().unwrap();
    }
}

#[test]
fn scope_waits_for_its_goroutines_all_the_same() {
    let (context, cancel) = background().with_cancel();
    let (release, released) = bounded::<()>(1);
    let mut borrowed = 0;
    let canceler = gaggle::go(move || {
        cancel.cancel();
        release.send(()).unwrap();
    });
    context.run(|| {
        gaggle::scope(|scope| {
            // Not under the context itself: that holds for the goroutine that called `run` only.
            scope.go(|| {
                released.recv().unwrap();
                borrowed = 1;
            });
        });
    });
    assert_eq!(borrowed, 1);
    canceler.join().unwrap();
}

#[test]
fn waits_without_an_error_panic() {
    panics_by_cancel(|| {
        let (_sender, receiver) = unbuffered::<u32>();
        select! { recv(receiver) -> _ => unreachable!() }
    });
    panics_by_cancel(|| {
        let semaphore = Semaphore::new(1);
        let _permit = semaphore.acquire(1);
        let _second = semaphore.acquire(1);
    });
    panics_by_cancel(gaggle::park);
    panics_by_cancel(|| gaggle::block_on(std::future::pending()));
}

#[test]
fn select_takes_its_done_arm_before_it_panics() {
    for _ in 0..200 {
        let (context, cancel) = background().with_cancel();
        let (_sender, receiver) = unbuffered::<u32>();
        let canceler = gaggle::go(move || cancel.cancel());
        // The end may come before the run, in it, or while the select begins to wait.
        context.run(|| {
            select! {
                recv(receiver) -> _ => unreachable!(),
                done(context) => {}
            }
        });
        canceler.join().unwrap();
    }
}

#[test]
fn select_takes_the_done_arm_of_a_context_below_before_it_panics() {
    for _ in 0..200 {
        let (parent, cancel) = background().with_cancel();
        let (child, _keep) = parent.with_cancel();
        let (_sender, receiver) = unbuffered::<u32>();
        let (began_sender, began) = bounded(1);
        let canceler = gaggle::go(move || {
            began.recv().unwrap();
            cancel.cancel();
        });
        // The context of the run ends before the child, and yet the arm is served.
        parent.run(|| {
            began_sender.send(()).unwrap();
            select! {
                recv(receiver) -> _ => unreachable!(),
                done(child) => {}
            }
        });
        canceler.join().unwrap();
    }
}

#[test]
fn select_with_a_time_does_what_it_does_then() {
    let ended = ended_by_cancel(|| {
        let (_sender, receiver) = unbuffered::<u32>();
        select! {
            recv(receiver) -> _ => false,
            default(LATE) => true,
        }
    });
    assert_eq!(ended, [true, true]);
}

#[test]
fn timed_out_acquire_and_park_say_so() {
    assert_eq!(
        ended_by_cancel(|| {
            let semaphore = Semaphore::new(1);
            let _permit = semaphore.acquire(1);
            semaphore.acquire_timeout(1, LATE).is_none() && semaphore.available() == 0
        }),
        [true; 2]
    );
    assert_eq!(ended_by_cancel(|| gaggle::park_timeout(LATE)), [false; 2]);
}

#[test]
fn what_need_not_wait_succeeds_under_an_ended_context() {
    let (context, cancel) = background().with_cancel();
    drop(cancel);
    let (sender, receiver) = bounded(1);
    let answer = context.run(|| {
        sender.send(7).unwrap();
        receiver.recv()
    });
    assert_eq!(answer, Ok(7));
    assert!(context.run(|| receiver.recv()).is_err());
}

#[test]
fn context_that_ends_after_the_run_ends_nothing_more() {
    let (context, cancel) = background().with_cancel();
    let (sender, receiver) = unbuffered();
    context.run(|| sleep(Duration::from_millis(1)));
    let later = gaggle::go(move || {
        cancel.cancel();
        sender.send(7).unwrap();
    });
    assert_eq!(receiver.recv(), Ok(7));
    later.join().unwrap();
}

#[test]
fn nested_runs_end_with_whichever_context_ends() {
    for inner_ends in [false, true] {
        let (outer, cancel_outer) = background().with_cancel();
        let (inner, cancel_inner) = background().with_cancel();
        let (_sender, receiver) = unbuffered::<u32>();
        let (ends, keeps) = if inner_ends {
            (cancel_inner, cancel_outer)
        } else {
            (cancel_outer, cancel_inner)
        };
        let canceler = gaggle::go(move || ends.cancel());
        outer.run(|| {
            assert!(inner.run(|| receiver.recv()).is_err());
            if inner_ends {
                // The outer one goes on: the next wait lasts.
                let error = receiver.recv_timeout(Duration::from_millis(1));
                assert_eq!(error, Err(RecvTimeoutError::Timeout));
                assert!(outer.err().is_none());
            } else {
                assert!(receiver.recv().is_err());
            }
        });
        canceler.join().unwrap();
        drop(keeps);
    }
}

#[test]
fn run_without_cancel_inside_is_still_under_the_outer_context() {
    let ended = ended_by_cancel(|| {
        let (_sender, receiver) = unbuffered::<u32>();
        background().without_cancel().run(|| receiver.recv())
    });
    assert!(ended.iter().all(Result::is_err));
}

#[test]
fn panic_leaves_the_run() {
    let (context, cancel) = background().with_cancel();
    let panic = catch_unwind(AssertUnwindSafe(|| context.run(|| panic!("mine"))));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"mine"));
    cancel.cancel();
    let (sender, receiver) = unbuffered();
    let sending = gaggle::go(move || sender.send(7));
    assert_eq!(receiver.recv(), Ok(7));
    sending.join().unwrap().unwrap();
}

#[test]
fn foreign_locks_and_channels_wait_on() {
    for _ in 0..100 {
        let (context, cancel) = background().with_cancel();
        let (sender, receiver) = mpsc::channel();
        let (entered, has_entered) = bounded(1);
        let other = gaggle::go(move || {
            has_entered.recv().unwrap();
            // Whoever waits is told before this returns.
            cancel.cancel();
            gaggle::yield_now();
            sender.send(7).unwrap();
        });
        let answer = context.run(|| {
            entered.send(()).unwrap();
            receiver.recv()
        });
        assert_eq!(answer, Ok(7));
        other.join().unwrap();
    }
}

#[test]
fn thousands_of_runs_under_one_context_end_together() {
    const COUNT: usize = 300;
    let (context, cancel) = background().with_cancel();
    let (began_sender, began) = bounded(COUNT);
    let waiters: Vec<_> = (0..COUNT)
        .map(|_| {
            let (context, began_sender) = (context.clone(), began_sender.clone());
            gaggle::go(move || {
                let (_sender, receiver) = unbuffered::<u32>();
                began_sender.send(()).unwrap();
                context.run(|| receiver.recv()).is_err()
            })
        })
        .collect();
    for _ in 0..COUNT {
        began.recv().unwrap();
    }
    cancel.cancel();
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
}

#[test]
fn ends_racing_values_lose_none() {
    let (sender, receiver) = unbuffered::<u32>();
    let sending = gaggle::go(move || (0..500).all(|value| sender.send(value).is_ok()));
    let mut expected = 0;
    while expected < 500 {
        let (context, cancel) = background().with_cancel();
        let canceler = gaggle::go(move || cancel.cancel());
        if let Ok(value) = context.run(|| receiver.recv()) {
            assert_eq!(value, expected);
            expected += 1;
        }
        canceler.join().unwrap();
    }
    assert!(sending.join().unwrap());
}

#[test]
fn timeout_ends_the_wait_and_answers_timed_out() {
    let (_sender, receiver) = unbuffered::<u32>();
    let start = Instant::now();
    let limit = Duration::from_millis(3);
    assert_eq!(timeout(limit, || receiver.recv()), Err(TimedOut));
    assert!(start.elapsed() >= limit);
    assert_eq!(timeout(LATE, || 7), Ok(7));
    // Nested: the nearer one counts.
    assert_eq!(
        timeout(LATE, || timeout(limit, || receiver.recv())),
        Ok(Err(TimedOut))
    );
}

#[test]
fn locks_that_can_answer_an_error_end() {
    let ended = ended_by_cancel(|| {
        let (mutex, lock) = (Mutex::new(()), RwLock::new(()));
        let (_one, _other) = (mutex.lock(), lock.write());
        let (later, _keep) = background().with_cancel();
        [
            mutex.lock_timeout(LATE).is_none(),
            mutex.lock_context(&later).err() == Some(ContextError::Canceled),
            lock.read_timeout(LATE).is_none(),
            lock.write_timeout(LATE).is_none(),
            lock.read_context(&later).is_err(),
            // Given up, so that those behind are not kept out.
            later.err().is_none(),
        ]
    });
    assert_eq!(ended, [[true; 6]; 2]);
}

#[test]
fn timed_wait_for_a_condition_ends_with_the_mutex_held() {
    let ended = ended_by_cancel(|| {
        let (mutex, changed) = (Mutex::new(7), Condvar::new());
        let mut guard = mutex.lock();
        let notified = changed.wait_timeout(&mut guard, LATE);
        (notified, *guard, mutex.is_locked())
    });
    assert_eq!(ended, [(false, 7, true); 2]);
}
