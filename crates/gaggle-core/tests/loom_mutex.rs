//! The mutex, the read-write lock and the condition variable in every interleaving.
//!
//! Under the model checker whoever waits for the second time is starving, so the hand-over is part of what is
//! explored.

#![cfg(loom)]

mod model;

use gaggle_core::sync::{Condition, Ended, Limit, RawMutex, RawRwLock};
use loom::cell::UnsafeCell;
use loom::thread;
use model::{Model, every_interleaving};
use std::sync::Arc;

/// A number that the model checker lets nobody touch while another writes it.
struct Counted<L> {
    lock: L,
    count: UnsafeCell<usize>,
}

// SAFETY: each test touches `count` under `lock` alone, which is what it checks: the cell is loom's.
unsafe impl<L: Sync> Sync for Counted<L> {}
// SAFETY: as above.
unsafe impl<L: Send> Send for Counted<L> {}

impl<L> Counted<L> {
    fn new(lock: L) -> Arc<Self> {
        Arc::new(Counted {
            lock,
            count: UnsafeCell::new(0),
        })
    }

    fn add_one(&self) {
        self.count.with_mut(|count| {
            // SAFETY: the cell reports it if another touches it meanwhile.
            unsafe { *count += 1 };
        });
    }

    fn read(&self) -> usize {
        self.count.with(|count| {
            // SAFETY: as above.
            unsafe { *count }
        })
    }
}

fn lock_and_add(counted: &Counted<RawMutex<Model>>) {
    counted.lock.lock();
    counted.add_one();
    // SAFETY: taken above.
    unsafe { counted.lock.unlock() };
}

#[test]
fn two_tasks_exclude_each_other_and_nobody_sleeps_for_ever() {
    every_interleaving(3, || {
        let counted = Counted::new(RawMutex::<Model>::new());
        let others: Vec<_> = (0..2)
            .map(|_| {
                let counted = counted.clone();
                thread::spawn(move || {
                    lock_and_add(&counted);
                    lock_and_add(&counted);
                })
            })
            .collect();
        for other in others {
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
        let others: Vec<_> = (0..2)
            .map(|_| {
                let counted = counted.clone();
                thread::spawn(move || lock_and_add(&counted))
            })
            .collect();
        lock_and_add(&counted);
        lock_and_add(&counted);
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
        let impatient = {
            let counted = counted.clone();
            thread::spawn(move || match counted.lock.lock_limited(&Limit::until(2)) {
                Ok(()) => {
                    counted.add_one();
                    // SAFETY: taken above.
                    unsafe { counted.lock.unlock() };
                    1
                }
                Err(ended) => {
                    assert_eq!(ended, Ended::TimedOut);
                    0
                }
            })
        };
        let patient = {
            let counted = counted.clone();
            thread::spawn(move || lock_and_add(&counted))
        };
        lock_and_add(&counted);
        let added = impatient.join().unwrap();
        patient.join().unwrap();
        assert_eq!(counted.read(), 2 + added);
        assert!(counted.lock.try_lock());
    });
}

fn write_and_add(counted: &Counted<RawRwLock<Model>>) {
    assert_eq!(counted.lock.write_limited(&Limit::never()), Ok(()));
    counted.add_one();
    // SAFETY: taken above.
    unsafe { counted.lock.unlock_write() };
}

fn read_under_lock(counted: &Counted<RawRwLock<Model>>) -> usize {
    assert_eq!(counted.lock.read_limited(&Limit::never()), Ok(()));
    let count = counted.read();
    // SAFETY: taken above.
    unsafe { counted.lock.unlock_read() };
    count
}

#[test]
fn a_reader_and_two_writers_exclude_each_other() {
    every_interleaving(2, || {
        let counted = Counted::new(RawRwLock::<Model>::new());
        let reader = {
            let counted = counted.clone();
            thread::spawn(move || {
                let first = read_under_lock(&counted);
                assert!(first <= read_under_lock(&counted));
            })
        };
        let writer = {
            let counted = counted.clone();
            thread::spawn(move || write_and_add(&counted))
        };
        write_and_add(&counted);
        reader.join().unwrap();
        writer.join().unwrap();
        assert_eq!(read_under_lock(&counted), 2);
        assert!(counted.lock.try_write());
    });
}

#[test]
fn two_readers_behind_a_writer_are_both_woken() {
    every_interleaving(2, || {
        let counted = Counted::new(RawRwLock::<Model>::new());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let counted = counted.clone();
                thread::spawn(move || read_under_lock(&counted))
            })
            .collect();
        write_and_add(&counted);
        for reader in readers {
            assert!(reader.join().unwrap() <= 1);
        }
        assert!(counted.lock.try_write());
    });
}

#[test]
fn writer_that_gives_up_lets_the_reader_behind_it_join() {
    every_interleaving(2, || {
        let counted = Counted::new(RawRwLock::<Model>::new());
        assert_eq!(counted.lock.read_limited(&Limit::never()), Ok(()));
        let impatient = {
            let counted = counted.clone();
            // The reader is there to the end, so only the deadline ends this.
            thread::spawn(move || counted.lock.write_limited(&Limit::until(2)))
        };
        let reader = {
            let counted = counted.clone();
            thread::spawn(move || read_under_lock(&counted))
        };
        assert_eq!(impatient.join().unwrap(), Err(Ended::TimedOut));
        assert_eq!(reader.join().unwrap(), 0);
        // SAFETY: taken above.
        unsafe { counted.lock.unlock_read() };
        assert!(counted.lock.try_write());
    });
}

#[test]
fn downgraded_lock_lets_readers_in_and_no_writer() {
    every_interleaving(2, || {
        let counted = Counted::new(RawRwLock::<Model>::new());
        assert_eq!(counted.lock.write_limited(&Limit::never()), Ok(()));
        let reader = {
            let counted = counted.clone();
            thread::spawn(move || read_under_lock(&counted))
        };
        counted.add_one();
        // SAFETY: taken above.
        unsafe { counted.lock.downgrade() };
        assert_eq!(reader.join().unwrap(), 1);
        assert!(!counted.lock.try_write());
        // SAFETY: taken above, and turned into this.
        unsafe { counted.lock.unlock_read() };
        assert!(counted.lock.try_write());
    });
}

#[test]
fn notification_under_the_mutex_reaches_who_waits() {
    every_interleaving(3, || {
        let counted = Counted::new((RawMutex::<Model>::new(), Condition::<Model>::new()));
        let waiter = {
            let counted = counted.clone();
            thread::spawn(move || {
                let (mutex, condition) = &counted.lock;
                mutex.lock();
                while counted.read() == 0 {
                    // SAFETY: taken above.
                    let outcome = unsafe { condition.wait(mutex, &Limit::never()) };
                    assert_eq!(outcome, Ok(()));
                }
                // SAFETY: taken above.
                unsafe { mutex.unlock() };
            })
        };
        let (mutex, condition) = &counted.lock;
        mutex.lock();
        counted.add_one();
        // SAFETY: taken above.
        unsafe { mutex.unlock() };
        condition.notify_one();
        waiter.join().unwrap();
        assert!(mutex.try_lock());
    });
}

#[test]
fn deadline_racing_a_notification_ends_the_wait_once_with_the_mutex_taken() {
    every_interleaving(2, || {
        let counted = Counted::new((RawMutex::<Model>::new(), Condition::<Model>::new()));
        let waiter = {
            let counted = counted.clone();
            thread::spawn(move || {
                let (mutex, condition) = &counted.lock;
                mutex.lock();
                // SAFETY: taken above.
                let outcome = unsafe { condition.wait(mutex, &Limit::until(2)) };
                counted.add_one();
                // SAFETY: taken above.
                unsafe { mutex.unlock() };
                assert!(matches!(outcome, Ok(()) | Err(Ended::TimedOut)));
            })
        };
        let (mutex, condition) = &counted.lock;
        mutex.lock();
        counted.add_one();
        condition.notify_one();
        // SAFETY: taken above.
        unsafe { mutex.unlock() };
        waiter.join().unwrap();
        // Nobody is left in the queue, or this would claim what is gone.
        condition.notify_all();
        assert!(mutex.try_lock());
        assert_eq!(counted.read(), 2);
    });
}
