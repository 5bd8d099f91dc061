//! The mutex and the condition variable in every interleaving.
//!
//! Under the model checker whoever waits for the second time is starving, so the hand-over is part of what is
//! explored.

#![cfg(loom)]

mod model;

use gaggle_core::sync::{Condition, Ended, Limit, RawMutex};
use loom::thread;
use model::counted::Counted;
use model::{Model, every_interleaving};
use std::sync::Arc;

#[test]
fn two_tasks_exclude_each_other_and_nobody_sleeps_for_ever() {
    every_interleaving(3, || {
        let counted = Counted::new(RawMutex::<Model>::new());
        let twice = |counted: &Counted<_>| {
            counted.lock_and_add();
            counted.lock_and_add();
        };
        for other in [counted.start(twice), counted.start(twice)] {
            other.join().unwrap();
        }
        assert_eq!(counted.read(), 4);
        assert!(!counted.lock.is_locked());
    });
}

#[test]
fn three_tasks_with_one_starving_are_all_served() {
    every_interleaving(2, || {
        let counted = Counted::new(RawMutex::<Model>::new());
        let others = [(); 2].map(|()| counted.start(Counted::lock_and_add));
        counted.lock_and_add();
        counted.lock_and_add();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(counted.read(), 4);
    });
}

#[test]
fn deadline_racing_an_unlock_takes_the_lock_or_leaves_it_to_the_next() {
    every_interleaving(2, || {
        let counted = Counted::new(RawMutex::<Model>::new());
        let impatient = counted.start(|counted| {
            let locked = counted.lock.lock_limited(&Limit::until(2));
            match locked {
                Ok(()) => counted.add_and_unlock(),
                Err(ended) => assert_eq!(ended, Ended::TimedOut),
            }
            usize::from(locked.is_ok())
        });
        let patient = counted.start(Counted::lock_and_add);
        counted.lock_and_add();
        let added = impatient.join().unwrap();
        patient.join().unwrap();
        assert_eq!(counted.read(), 2 + added);
        assert!(counted.lock.try_lock());
    });
}

/// Whoever unlocks is for a moment on the way to the queue; meanwhile another may lock and unlock, see to the
/// queue, and do so once more while the one who waits has become starving. Then the first hands the mutex over
/// after an unlocking that was not its own, and the new owner must see what came before that one.
#[test]
fn mutex_handed_over_by_another_than_its_last_owner_shows_what_that_one_did() {
    model::have_one_processor();
    every_interleaving(3, || {
        let counted = Counted::new(RawMutex::<Model>::new());
        counted.lock.lock();
        let waiter = counted.start(Counted::lock_and_add);
        while counted.lock.waiting() == 0 {
            thread::yield_now();
        }
        let other = counted.start(|counted| {
            counted.lock_and_add();
            counted.lock_and_add();
        });
        counted.add_and_unlock();
        waiter.join().unwrap();
        other.join().unwrap();
        assert!(counted.lock.try_lock());
        assert_eq!(counted.read(), 4);
    });
}

/// A number, its mutex, and the condition variable of its changes.
type Changing = Counted<(RawMutex<Model>, Condition<Model>)>;

fn changing() -> Arc<Changing> {
    Counted::new((RawMutex::new(), Condition::new()))
}

/// Does `f` with the mutex taken.
fn locked<T>(changing: &Changing, f: impl FnOnce() -> T) -> T {
    let mutex = &changing.lock.0;
    mutex.lock();
    let answer = f();
    // SAFETY: taken above.
    unsafe { mutex.unlock() };
    answer
}

/// Waits for a notification; the caller has taken the mutex.
fn wait(changing: &Changing, limit: &Limit<'_, Model>) -> Result<(), Ended> {
    let (mutex, condition) = &changing.lock;
    // SAFETY: the caller has taken it.
    unsafe { condition.wait(mutex, limit) }
}

#[test]
fn notification_under_the_mutex_reaches_who_waits() {
    every_interleaving(3, || {
        let counted = changing();
        let waiter = counted.start(|counted| {
            locked(counted, || {
                while counted.read() == 0 {
                    assert_eq!(wait(counted, &Limit::never()), Ok(()));
                }
            });
        });
        locked(&counted, || counted.add_one());
        counted.lock.1.notify_one();
        waiter.join().unwrap();
        assert!(counted.lock.0.try_lock());
    });
}

#[test]
fn deadline_racing_a_notification_ends_the_wait_once_with_the_mutex_taken() {
    every_interleaving(2, || {
        let counted = changing();
        let waiter = counted.start(|counted| {
            let outcome = locked(counted, || {
                let outcome = wait(counted, &Limit::until(2));
                counted.add_one();
                outcome
            });
            assert!(matches!(outcome, Ok(()) | Err(Ended::TimedOut)));
        });
        locked(&counted, || {
            counted.add_one();
            counted.lock.1.notify_one();
        });
        waiter.join().unwrap();
        // Nobody is left in the queue, or this would claim what is gone.
        counted.lock.1.notify_all();
        assert!(counted.lock.0.try_lock());
        assert_eq!(counted.read(), 2);
    });
}
