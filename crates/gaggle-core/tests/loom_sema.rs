//! The semaphore and the wait group in every interleaving.

#![cfg(loom)]

mod model;

use gaggle_core::sync::{Ended, Limit, Semaphore, WaitGroup};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use model::{Model, every_interleaving};
use std::sync::Arc;

#[test]
fn one_permit_excludes_the_other_task() {
    every_interleaving(3, || {
        let semaphore = Arc::new(Semaphore::<Model>::new(1));
        let inside = Arc::new(AtomicUsize::new(0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                thread::spawn(move || {
                    semaphore.acquire(1);
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    semaphore.release(1);
                })
            })
            .collect();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn requests_of_different_sizes_all_get_their_turn() {
    every_interleaving(3, || {
        let semaphore = Arc::new(Semaphore::<Model>::new(2));
        let others: Vec<_> = [2, 1]
            .map(|permits| {
                let semaphore = semaphore.clone();
                thread::spawn(move || {
                    semaphore.acquire(permits);
                    semaphore.release(permits);
                })
            })
            .into_iter()
            .collect();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn large_request_that_gives_up_lets_the_small_one_behind_it_go() {
    every_interleaving(2, || {
        let semaphore = Arc::new(Semaphore::<Model>::new(1));
        let impatient = {
            let semaphore = semaphore.clone();
            // Two permits never come, so only the deadline ends this.
            thread::spawn(move || {
                let outcome = semaphore.acquire_limited(2, &Limit::until(2));
                assert_eq!(outcome, Err(Ended::TimedOut));
            })
        };
        let patient = {
            let semaphore = semaphore.clone();
            thread::spawn(move || semaphore.acquire(1))
        };
        impatient.join().unwrap();
        patient.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn release_racing_a_deadline_acquires_or_keeps_the_permit() {
    every_interleaving(3, || {
        let semaphore = Arc::new(Semaphore::<Model>::new(0));
        let impatient = {
            let semaphore = semaphore.clone();
            thread::spawn(move || semaphore.acquire_limited(1, &Limit::until(2)).is_ok())
        };
        semaphore.release(1);
        let acquired = impatient.join().unwrap();
        assert_eq!(semaphore.available(), usize::from(!acquired));
    });
}

#[test]
fn wait_group_releases_its_waiter_after_the_last_done() {
    every_interleaving(3, || {
        let group = Arc::new(WaitGroup::<Model>::new());
        let finished = Arc::new(AtomicUsize::new(0));
        group.add(2);
        for _ in 0..2 {
            let (group, finished) = (group.clone(), finished.clone());
            thread::spawn(move || {
                finished.fetch_add(1, Ordering::Relaxed);
                group.done();
            });
        }
        group.wait();
        assert_eq!(finished.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn deadline_racing_the_last_done_leaves_or_has_waited_and_the_others_are_released() {
    every_interleaving(2, || {
        let group = Arc::new(WaitGroup::<Model>::new());
        let finished = Arc::new(AtomicUsize::new(0));
        group.add(1);
        let impatient = {
            let (group, finished) = (group.clone(), finished.clone());
            thread::spawn(move || match group.wait_limited(&Limit::until(2)) {
                Ok(()) => assert_eq!(finished.load(Ordering::Relaxed), 1),
                Err(ended) => assert_eq!(ended, Ended::TimedOut),
            })
        };
        let patient = {
            let (group, finished) = (group.clone(), finished.clone());
            thread::spawn(move || {
                group.wait();
                assert_eq!(finished.load(Ordering::Relaxed), 1);
            })
        };
        finished.fetch_add(1, Ordering::Relaxed);
        group.done();
        impatient.join().unwrap();
        patient.join().unwrap();
        // Fit for another round: nothing was released that nobody took.
        group.add(1);
        assert_eq!(group.wait_limited(&Limit::until(1)), Err(Ended::TimedOut));
        group.done();
        group.wait();
    });
}

#[test]
fn group_that_is_used_again_before_a_wait_has_returned_is_found() {
    use std::sync::atomic::{AtomicUsize as Counter, Ordering::Relaxed};
    static FOUND: Counter = Counter::new(0);
    static RETURNED: Counter = Counter::new(0);
    every_interleaving(3, || {
        let group = Arc::new(WaitGroup::<Model>::new());
        group.add(1);
        let waiter = {
            let group = group.clone();
            thread::spawn(move || {
                let wait = std::panic::AssertUnwindSafe(|| group.wait());
                match std::panic::catch_unwind(wait) {
                    Ok(()) => RETURNED.fetch_add(1, Relaxed),
                    Err(_) => FOUND.fetch_add(1, Relaxed),
                }
            })
        };
        group.done();
        group.add(1);
        group.done();
        waiter.join().unwrap();
    });
    assert!(FOUND.load(Relaxed) > 0 && RETURNED.load(Relaxed) > 0);
}
