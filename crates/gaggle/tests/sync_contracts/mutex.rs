//! Go's `mutex_test.go`, and what is Rust's own.

use crate::{LONG, Where, everywhere, join_all, until_waiting};
use gaggle::chan::unbuffered;
use gaggle::context::{ContextError, background};
use gaggle::sync::{Mutex, Semaphore};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// `Semaphore` (Go's runtime semaphore): one permit passed among ten.
#[test]
fn one_permit_is_passed_among_ten_that_hammer() {
    everywhere(|place| {
        let semaphore = Semaphore::new(1);
        let tasks = place.go_all(10, |_| {
            let semaphore = semaphore.clone();
            move || {
                for _ in 0..1000 {
                    drop(semaphore.acquire(1));
                }
            }
        });
        join_all(tasks);
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn try_lock_fails_while_locked_and_succeeds_after() {
    let mutex = Mutex::new(0);
    let guard = mutex.lock();
    assert!(mutex.try_lock().is_none() && mutex.is_locked());
    drop(guard);
    assert!(mutex.try_lock().is_some() && !mutex.is_locked());
}

#[test]
fn ten_that_hammer_exclude_each_other() {
    everywhere(|place| {
        // Not an atomic: lost updates would show.
        let count = Arc::new(Mutex::new(Cell::new(0usize)));
        let tasks = place.go_all(10, |_| {
            let count = Arc::clone(&count);
            move || {
                let mut own = 0;
                for round in 0..1000 {
                    let guard = if round % 3 == 0 {
                        match count.try_lock() {
                            Some(guard) => guard,
                            None => continue,
                        }
                    } else {
                        count.lock()
                    };
                    guard.set(guard.get() + 1);
                    own += 1;
                }
                own
            }
        });
        let all: usize = join_all(tasks).iter().sum();
        assert_eq!(count.lock().get(), all);
    });
}

#[test]
fn one_that_keeps_taking_it_does_not_starve_another() {
    everywhere(|place| {
        let (mutex, stop) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
        let greedy = {
            let (mutex, stop) = (Arc::clone(&mutex), Arc::clone(&stop));
            place.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _guard = mutex.lock();
                    std::thread::sleep(Duration::from_micros(100));
                }
            })
        };
        let modest = place.go(move || {
            (0..10).all(|_| {
                std::thread::sleep(Duration::from_micros(100));
                mutex.lock_timeout(LONG).is_some()
            })
        });
        assert!(modest.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        greedy.join().unwrap();
    });
}

#[test]
fn those_who_wait_for_long_are_served_in_the_order_in_which_they_came() {
    everywhere(|place| {
        let (mutex, order) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let guard = mutex.lock();
        let mut tasks = Vec::new();
        for number in 0..4 {
            let (theirs, order) = (Arc::clone(&mutex), Arc::clone(&order));
            tasks.push(place.go(move || {
                let guard = theirs.lock();
                order.lock().push(number);
                drop(guard);
            }));
            until_waiting(&mutex, number + 1);
        }
        drop(guard);
        join_all(tasks);
        assert_eq!(*order.lock(), [0, 1, 2, 3]);
    });
}

#[test]
fn held_over_calls_that_block_it_lets_the_others_wait() {
    everywhere(|place| {
        let mutex = Arc::new(Mutex::new(0));
        let (sender, receiver) = unbuffered();
        let holder = {
            let mutex = Arc::clone(&mutex);
            place.go(move || {
                let mut guard = mutex.lock();
                sender.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(2));
                gaggle::time::sleep(Duration::from_millis(2));
                *guard += 1;
                sender.send(()).unwrap();
            })
        };
        receiver.recv().unwrap();
        assert!(mutex.try_lock().is_none());
        receiver.recv().unwrap();
        assert_eq!(*mutex.lock(), 1);
        holder.join().unwrap();
    });
}

#[test]
fn guard_goes_to_another_task_and_unlocks_there() {
    static MUTEX: Mutex<u32> = Mutex::new(0);
    everywhere(|place| {
        let mut guard = MUTEX.lock();
        let other = place.go(move || *guard += 1);
        other.join().unwrap();
        assert!(MUTEX.try_lock().is_some());
    });
    assert_eq!(*MUTEX.lock(), 3);
}

#[test]
fn panic_under_the_lock_unlocks_and_poisons_nothing() {
    let mutex = Mutex::new(1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        *mutex.lock() = 2;
        let _guard = mutex.lock();
        panic!("under the lock");
    }));
    assert!(caught.is_err());
    assert_eq!(*mutex.lock(), 2);
}

#[test]
fn wait_with_a_timeout_ends_and_leaves_nothing() {
    everywhere(|place| {
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock();
        let tasks = place.go_all(4, |number| {
            let mutex = Arc::clone(&mutex);
            let timeout = Duration::from_millis(number as u64);
            move || mutex.lock_timeout(timeout).is_none()
        });
        assert!(join_all(tasks).into_iter().all(|timed_out| timed_out));
        drop(guard);
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn wait_ends_with_its_context() {
    everywhere(|place| {
        let mutex = Arc::new(Mutex::new(()));
        let (context, cancel) = background().with_cancel();
        let guard = mutex.lock();
        let waiter = {
            let (mutex, context) = (Arc::clone(&mutex), context.clone());
            place.go(move || mutex.lock_context(&context).map(|_| ()))
        };
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), Err(ContextError::Canceled));
        drop(guard);
        assert!(mutex.lock_context(&context).is_err(), "it has ended");
        assert!(mutex.lock_context(&background()).is_ok());
    });
}

#[test]
fn timeouts_contexts_and_unlocks_that_race_lose_no_lock() {
    everywhere(race_limits);
}

fn race_limits(place: Where) {
    let (mutex, locked) = (Arc::new(Mutex::new(0usize)), Arc::new(AtomicUsize::new(0)));
    let tasks = place.go_all(6, |worker| {
        let (mutex, locked) = (Arc::clone(&mutex), Arc::clone(&locked));
        move || {
            for round in 0..500 {
                let nanos = Duration::from_nanos((worker * 7 + round) as u64 % 5 * 3000);
                let guard = match (worker + round) % 3 {
                    0 => Some(mutex.lock()),
                    1 => mutex.lock_timeout(nanos),
                    _ => {
                        let (context, _cancel) = background().with_timeout(nanos);
                        mutex.lock_context(&context).ok()
                    }
                };
                if let Some(mut guard) = guard {
                    *guard += 1;
                    locked.fetch_add(1, Ordering::Relaxed);
                    if round % 16 == 0 {
                        gaggle::yield_now();
                    }
                }
            }
        }
    });
    join_all(tasks);
    assert_eq!(*mutex.lock(), locked.load(Ordering::Relaxed));
}
