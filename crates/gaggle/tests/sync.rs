//! What wait groups and semaphores promise, on whichever backend runs the tests.

use gaggle::chan::{TryRecvError, bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::sync::{Semaphore, WaitGroup};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Long enough for anything that is going to happen; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn wait_returns_after_the_last_is_done_for_every_waiter() {
    let (group, finished) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
    group.add(1);
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let (group, finished) = (group.clone(), Arc::clone(&finished));
            gaggle::go(move || {
                group.wait();
                finished.load(Ordering::Relaxed)
            })
        })
        .collect();
    for _ in 0..100 {
        let finished = Arc::clone(&finished);
        group.go(move || {
            finished.fetch_add(1, Ordering::Relaxed);
        });
    }
    group.done();
    group.wait();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), 100);
    }
}

#[test]
fn wait_on_nothing_returns_at_once() {
    WaitGroup::new().wait();
}

#[test]
fn group_is_used_again_after_its_wait() {
    let (group, count) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
    for round in 1..=1000 {
        for _ in 0..3 {
            let count = Arc::clone(&count);
            group.go(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        group.wait();
        assert_eq!(count.load(Ordering::Relaxed), round * 3);
    }
}

#[test]
fn goroutine_that_panics_is_done() {
    let group = WaitGroup::new();
    group.go(|| panic!("counted all the same"));
    group.wait();
}

#[test]
#[should_panic(expected = "more done than added")]
fn done_more_often_than_added_panics() {
    let group = WaitGroup::new();
    group.add(1);
    group.done();
    group.done();
}

#[test]
fn permits_are_given_back_by_the_guard() {
    let semaphore = Semaphore::new(3);
    let two = semaphore.acquire(2);
    assert_eq!((two.count(), semaphore.available()), (2, 1));
    assert!(semaphore.try_acquire(2).is_none());
    let one = semaphore.try_acquire(1).unwrap();
    drop(two);
    assert_eq!(semaphore.available(), 2);
    drop(one);
    assert_eq!(semaphore.available(), 3);
}

#[test]
#[should_panic(expected = "would wait for ever")]
fn more_permits_than_there_are_panics() {
    let _ = Semaphore::new(1).acquire(2);
}

#[test]
fn never_more_than_the_permits_are_inside() {
    const PERMITS: usize = 5;
    let semaphore = Semaphore::new(PERMITS);
    let (group, inside) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
    for worker in 0..8 {
        let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
        group.go(move || {
            for round in 0..2000 {
                let wanted = (worker + round) % PERMITS + 1;
                let permit = semaphore.acquire(wanted);
                let now = inside.fetch_add(wanted, Ordering::Relaxed) + wanted;
                assert!(now <= PERMITS);
                inside.fetch_sub(wanted, Ordering::Relaxed);
                drop(permit);
            }
        });
    }
    group.wait();
    assert_eq!(semaphore.available(), PERMITS);
}

#[test]
fn small_request_does_not_overtake_a_large_one() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.acquire(1);
    let (order, ordered) = bounded(2);
    let large = {
        let (semaphore, order) = (semaphore.clone(), order.clone());
        gaggle::go(move || {
            let _permit = semaphore.acquire(2);
            order.send("large").unwrap();
        })
    };
    // One permit is free, until somebody waits for more than that.
    while semaphore.try_acquire(1).is_some() {
        gaggle::yield_now();
    }
    let small = {
        let semaphore = semaphore.clone();
        gaggle::go(move || {
            let _permit = semaphore.acquire(1);
            order.send("small").unwrap();
        })
    };
    assert_eq!(ordered.try_recv(), Err(TryRecvError::Empty));
    drop(held);
    assert_eq!(ordered.iter().collect::<Vec<_>>(), ["large", "small"]);
    large.join().unwrap();
    small.join().unwrap();
}

#[test]
fn large_request_that_times_out_lets_the_next_go() {
    let semaphore = Semaphore::new(2);
    let _held = semaphore.acquire(1);
    let large = {
        let semaphore = semaphore.clone();
        gaggle::go(move || {
            semaphore
                .acquire_timeout(2, Duration::from_millis(5))
                .is_none()
        })
    };
    // Until it waits, or its time is over already.
    while semaphore.try_acquire(1).is_some() && !large.is_finished() {
        gaggle::yield_now();
    }
    assert!(semaphore.acquire_timeout(1, LONG).is_some());
    assert!(large.join().unwrap());
}

#[test]
fn context_that_ends_gives_up_waiting_and_lets_the_next_go() {
    let semaphore = Semaphore::new(2);
    let _held = semaphore.acquire(1);
    let (context, cancel) = background().with_cancel();
    let large = {
        let (semaphore, context) = (semaphore.clone(), context.clone());
        gaggle::go(move || {
            semaphore
                .acquire_context(&context, 2)
                .map(|permit| permit.count())
        })
    };
    while semaphore.try_acquire(1).is_some() {
        gaggle::yield_now();
    }
    let (sender, receiver) = unbuffered();
    let small = {
        let semaphore = semaphore.clone();
        gaggle::go(move || {
            let permit = semaphore.acquire(1);
            sender.send(permit.count()).unwrap();
        })
    };
    cancel.cancel();
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(large.join().unwrap(), Err(ContextError::Canceled));
    small.join().unwrap();
    assert_eq!(semaphore.available(), 1);
    let ended = semaphore.acquire_context(&context, 1);
    assert_eq!(
        ended.map(|permit| permit.count()),
        Err(ContextError::Canceled)
    );
}

#[test]
fn permits_racing_timeouts_are_neither_lost_nor_doubled() {
    let semaphore = Semaphore::new(2);
    let group = WaitGroup::new();
    for worker in 0..4u64 {
        let semaphore = semaphore.clone();
        group.go(move || {
            for round in 0..5000u64 {
                let permits = ((worker + round) % 2 + 1) as usize;
                let timeout = Duration::from_nanos((worker * 7 + round) % 5 * 400);
                drop(semaphore.acquire_timeout(permits, timeout));
            }
        });
    }
    group.wait();
    assert_eq!(semaphore.available(), 2);
}
