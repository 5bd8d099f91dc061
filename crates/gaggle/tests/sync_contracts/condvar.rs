//! Go's `cond_test.go`, and what is Rust's own.

use crate::{LONG, everywhere, join_all, until};
use gaggle::chan::{bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::sync::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// A value, and the condition variable that tells of its changes.
fn pair<T>(value: T) -> Arc<(Mutex<T>, Condvar)> {
    Arc::new((Mutex::new(value), Condvar::new()))
}

#[test]
fn each_notification_ends_one_wait() {
    everywhere(|place| {
        let shared = pair(());
        let (running, runs) = bounded(2);
        let (awake, woke) = bounded(2);
        let tasks = place.go_all(2, |_| {
            let (shared, running, awake) = (Arc::clone(&shared), running.clone(), awake.clone());
            move || {
                let mut guard = shared.0.lock();
                running.send(()).unwrap();
                shared.1.wait(&mut guard);
                awake.send(()).unwrap();
            }
        });
        for _ in 0..2 {
            runs.recv().unwrap();
        }
        for _ in 0..2 {
            assert!(
                woke.try_recv().is_err(),
                "nobody is woken without a notification"
            );
            // Under the mutex all that are running wait.
            let guard = shared.0.lock();
            shared.1.notify_one();
            drop(guard);
            woke.recv().unwrap();
        }
        shared.1.notify_one();
        join_all(tasks);
    });
}

#[test]
fn waits_end_in_the_order_in_which_they_began() {
    everywhere(|place| {
        const WAITERS: usize = 100;
        let shared = pair(());
        let (running, runs) = bounded(WAITERS);
        let (awake, woke) = bounded(WAITERS);
        let mut tasks = Vec::new();
        for number in 0..WAITERS {
            let (shared_by, running, awake) = (Arc::clone(&shared), running.clone(), awake.clone());
            tasks.push(place.go(move || {
                let mut guard = shared_by.0.lock();
                running.send(()).unwrap();
                shared_by.1.wait(&mut guard);
                awake.send(number).unwrap();
            }));
            if number > 0 {
                assert_eq!(woke.recv(), Ok(number - 1));
            }
            runs.recv().unwrap();
            let guard = shared.0.lock();
            shared.1.notify_one();
            drop(guard);
        }
        join_all(tasks);
    });
}

#[test]
fn notify_all_ends_all_waits_once_each() {
    everywhere(|place| {
        const WAITERS: usize = 20;
        let shared = pair(false);
        let (running, runs) = bounded(WAITERS);
        let (awake, woke) = bounded(WAITERS);
        let tasks = place.go_all(WAITERS, |number| {
            let (shared, running, awake) = (Arc::clone(&shared), running.clone(), awake.clone());
            move || {
                let mut exit = shared.0.lock();
                while !*exit {
                    running.send(number).unwrap();
                    shared.1.wait(&mut exit);
                    awake.send(number).unwrap();
                }
            }
        });
        for round in 0..WAITERS {
            for _ in 0..WAITERS {
                runs.recv().unwrap();
            }
            if round == WAITERS - 1 {
                *shared.0.lock() = true;
            }
            assert!(woke.try_recv().is_err());
            let guard = shared.0.lock();
            shared.1.notify_all();
            drop(guard);
            let mut seen: Vec<_> = woke.iter().take(WAITERS).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..WAITERS), "each woke once");
        }
        assert!(runs.try_recv().is_err());
        shared.1.notify_all();
        join_all(tasks);
    });
}

/// Go's `TestRace`: three tasks that bring a value from one state to the next.
#[test]
fn three_that_pass_a_value_on_see_each_others_changes() {
    everywhere(|place| {
        let shared = pair(0);
        let first = {
            let shared = Arc::clone(&shared);
            place.go(move || {
                let mut value = shared.0.lock();
                *value = 1;
                shared.1.wait(&mut value);
                assert_eq!(*value, 2);
                *value = 3;
                shared.1.notify_one();
            })
        };
        let second = {
            let shared = Arc::clone(&shared);
            place.go(move || {
                until(|| *shared.0.lock() == 1);
                *shared.0.lock() = 2;
                shared.1.notify_one();
            })
        };
        let third = {
            let shared = Arc::clone(&shared);
            place.go(move || {
                loop {
                    let mut value = shared.0.lock();
                    if *value == 2 {
                        // The first has been notified already, in the order of waiting.
                        shared.1.wait_while(&mut value, |value| *value == 2);
                    }
                    if *value == 3 {
                        return;
                    }
                    drop(value);
                    gaggle::yield_now();
                }
            })
        };
        join_all(vec![first, second, third]);
    });
}

#[test]
fn notification_reaches_who_waited_before_it_not_who_came_after() {
    everywhere(|place| {
        for _ in 0..100 {
            let shared = pair(false);
            let (waits, is_waiting) = unbuffered();
            let first = {
                let shared = Arc::clone(&shared);
                place.go(move || {
                    let mut done = shared.0.lock();
                    waits.send(()).unwrap();
                    shared.1.wait(&mut done);
                })
            };
            is_waiting.recv().unwrap();
            // Whoever gets the mutex now knows that the first has given it up in its wait.
            drop(shared.0.lock());
            let notifier = {
                let shared = Arc::clone(&shared);
                place.go(move || shared.1.notify_all())
            };
            let second = {
                let shared = Arc::clone(&shared);
                place.go(move || shared.1.wait_while(&mut shared.0.lock(), |done| !*done))
            };
            first.join().unwrap();
            notifier.join().unwrap();
            *shared.0.lock() = true;
            shared.1.notify_all();
            second.join().unwrap();
        }
    });
}

#[test]
fn wait_with_a_timeout_ends_with_the_mutex_taken() {
    everywhere(|place| {
        let shared = pair(0);
        let tasks = place.go_all(4, |number| {
            let shared = Arc::clone(&shared);
            let timeout = Duration::from_millis(number as u64);
            move || {
                let mut value = shared.0.lock();
                let notified = shared.1.wait_timeout(&mut value, timeout);
                *value += 1;
                notified
            }
        });
        assert!(join_all(tasks).into_iter().all(|notified| !notified));
        assert_eq!(*shared.0.lock(), 4);
        let mut value = shared.0.lock();
        assert!(
            !shared
                .1
                .wait_timeout_while(&mut value, Duration::from_millis(2), |_| true)
        );
        assert!(
            shared
                .1
                .wait_timeout_while(&mut value, LONG, |value| *value != 4)
        );
    });
}

#[test]
fn wait_that_timed_out_takes_no_notification() {
    everywhere(|place| {
        let shared = pair(());
        let (running, runs) = bounded(2);
        let tasks = place.go_all(2, |number| {
            let (shared, running) = (Arc::clone(&shared), running.clone());
            let timeout = if number == 0 {
                Duration::from_millis(2)
            } else {
                LONG
            };
            move || {
                let mut guard = shared.0.lock();
                running.send(()).unwrap();
                shared.1.wait_timeout(&mut guard, timeout)
            }
        });
        for _ in 0..2 {
            runs.recv().unwrap();
        }
        drop(shared.0.lock());
        let mut tasks = tasks.into_iter();
        let (impatient, patient) = (tasks.next().unwrap(), tasks.next().unwrap());
        assert!(!impatient.join().unwrap());
        shared.1.notify_one();
        assert!(patient.join().unwrap());
    });
}

#[test]
fn wait_ends_with_its_context_and_the_mutex_taken() {
    everywhere(|place| {
        let shared = pair(0);
        let (context, cancel) = background().with_cancel();
        let (running, runs) = bounded(1);
        let waiter = {
            let (shared, context) = (Arc::clone(&shared), context.clone());
            place.go(move || {
                let mut value = shared.0.lock();
                running.send(()).unwrap();
                let outcome = shared.1.wait_context(&context, &mut value);
                *value += 1;
                outcome
            })
        };
        runs.recv().unwrap();
        let guard = shared.0.lock();
        cancel.cancel();
        assert!(!waiter.is_finished(), "it has to take the mutex first");
        drop(guard);
        assert_eq!(waiter.join().unwrap(), Err(ContextError::Canceled));
        let mut value = shared.0.lock();
        assert_eq!(*value, 1);
        assert!(shared.1.wait_context(&context, &mut value).is_err());
    });
}

#[test]
fn notifications_racing_timeouts_are_neither_lost_nor_doubled() {
    everywhere(|place| {
        let shared = pair(0usize);
        let consumers = place.go_all(3, |worker| {
            let shared = Arc::clone(&shared);
            move || {
                let mut taken = 0;
                while taken < 300 {
                    let mut tokens = shared.0.lock();
                    while *tokens == 0 {
                        let timeout = Duration::from_micros((worker + taken) as u64 % 4 * 20);
                        shared.1.wait_timeout(&mut tokens, timeout);
                    }
                    *tokens -= 1;
                    taken += 1;
                }
            }
        });
        let producer = {
            let shared = Arc::clone(&shared);
            place.go(move || {
                for _ in 0..900 {
                    *shared.0.lock() += 1;
                    shared.1.notify_one();
                }
            })
        };
        producer.join().unwrap();
        join_all(consumers);
        assert_eq!(*shared.0.lock(), 0);
    });
}
