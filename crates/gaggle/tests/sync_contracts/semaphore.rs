//! The cases of `golang.org/x/sync/semaphore`. What is Rust's own is in `tests/sync.rs`.

use crate::{LONG, everywhere, join_all, until};
use gaggle::context::{ContextError, background};
use gaggle::sync::Semaphore;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn never_more_than_its_permits_are_held_by_ten_that_hammer() {
    everywhere(|place| {
        const PERMITS: usize = 4;
        let (semaphore, held) = (Semaphore::new(PERMITS), Arc::new(AtomicUsize::new(0)));
        let tasks = place.go_all(10, |number| {
            let (semaphore, held) = (semaphore.clone(), Arc::clone(&held));
            move || {
                let wanted = number % PERMITS + 1;
                for _ in 0..200 {
                    let permit = semaphore.acquire(wanted);
                    assert!(held.fetch_add(wanted, Ordering::Relaxed) + wanted <= PERMITS);
                    gaggle::yield_now();
                    held.fetch_sub(wanted, Ordering::Relaxed);
                    drop(permit);
                }
            }
        });
        join_all(tasks);
        assert_eq!(semaphore.available(), PERMITS);
    });
}

/// Go panics when more is released than held; here only a permit that was acquired can be given back, once.
#[test]
fn permits_are_given_back_once_by_a_panic_too() {
    let semaphore = Semaphore::new(1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _permit = semaphore.acquire(1);
        panic!("with a permit");
    }));
    assert!(caught.is_err());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn try_acquire_takes_all_it_asks_for_or_nothing() {
    let semaphore = Semaphore::new(2);
    let one = semaphore.try_acquire(1);
    assert!(one.is_some() && semaphore.try_acquire(2).is_none());
    let other = semaphore.try_acquire(1);
    assert!(other.is_some() && semaphore.try_acquire(1).is_none());
    drop((one, other));
    assert!(semaphore.try_acquire(2).is_some());
}

#[test]
fn acquire_with_a_context_takes_what_is_there_and_ends_with_it() {
    everywhere(|place| {
        let semaphore = Semaphore::new(2);
        let (context, cancel) = background().with_cancel();
        let both = semaphore.acquire_context(&context, 2).unwrap();
        let waiter = {
            let (semaphore, context) = (semaphore.clone(), context.clone());
            place.go(move || semaphore.acquire_context(&context, 1).map(|_| ()))
        };
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), Err(ContextError::Canceled));
        drop(both);
        assert_eq!(semaphore.available(), 2);
    });
}

/// In Go such a request waits for its context's end; here it is a panic at once, and blocks nobody either.
#[test]
fn request_for_more_than_there_is_blocks_nobody() {
    let semaphore = Semaphore::new(2);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _ = semaphore.acquire_context(&background(), 3);
    }));
    assert!(caught.is_err());
    assert!(semaphore.acquire_timeout(2, LONG).is_some());
}

#[test]
fn large_request_is_not_starved_by_small_ones() {
    everywhere(|place| {
        const PERMITS: usize = 8;
        let semaphore = Semaphore::new(PERMITS);
        let large = semaphore.acquire(PERMITS);
        let ended = Arc::new(AtomicUsize::new(0));
        let small = place.go_all(PERMITS, |_| {
            let (semaphore, ended) = (semaphore.clone(), Arc::clone(&ended));
            move || {
                while ended.load(Ordering::Relaxed) == 0 {
                    let _permit = semaphore.acquire(1);
                    gaggle::yield_now();
                }
            }
        });
        drop(large);
        let all = semaphore.acquire_timeout(PERMITS, LONG);
        ended.store(1, Ordering::Relaxed);
        assert_eq!(all.map(|permit| permit.count()), Some(PERMITS));
        join_all(small);
    });
}

#[test]
fn cancelled_large_request_lets_the_small_one_behind_it_go() {
    everywhere(|place| {
        let semaphore = Semaphore::new(10);
        let _held = semaphore.acquire(1);
        let (context, cancel) = background().with_cancel();
        let large = {
            let (semaphore, context) = (semaphore.clone(), context.clone());
            place.go(move || semaphore.acquire_context(&context, 10).is_err())
        };
        // One permit is free, until somebody waits for more.
        until(|| semaphore.try_acquire(1).is_none());
        let small = {
            let semaphore = semaphore.clone();
            place.go(move || semaphore.acquire_timeout(1, LONG).is_some())
        };
        cancel.cancel();
        assert!(large.join().unwrap() && small.join().unwrap());
    });
}

#[test]
fn ended_context_acquires_nothing_although_permits_are_free() {
    let semaphore = Semaphore::new(1);
    let (context, cancel) = background().with_timeout(Duration::ZERO);
    assert_eq!(
        semaphore.acquire_context(&context, 1).map(|_| ()),
        Err(ContextError::DeadlineExceeded)
    );
    drop(cancel);
    assert_eq!(semaphore.available(), 1);
}
