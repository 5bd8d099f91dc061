//! Go's `rwmutex_test.go`, and what is Rust's own.

use crate::{LONG, Where, everywhere, join_all, until, until_waiting};
use gaggle::chan::{bounded, unbuffered};
use gaggle::context::background;
use gaggle::sync::{RwLock, RwLockWriteGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn readers_hold_the_lock_at_the_same_time() {
    everywhere(|place| {
        for readers in [1, 3, 4] {
            let lock = Arc::new(RwLock::new(()));
            let (locked, is_locked) = unbuffered();
            let (unlock, may_unlock) = unbuffered();
            let tasks = place.go_all(readers, |_| {
                let (lock, locked) = (Arc::clone(&lock), locked.clone());
                let may_unlock = may_unlock.clone();
                move || {
                    let _guard = lock.read();
                    locked.send(()).unwrap();
                    may_unlock.recv().unwrap();
                }
            });
            // All of them are inside before the first may go.
            for _ in 0..readers {
                is_locked.recv().unwrap();
            }
            for _ in 0..readers {
                unlock.send(()).unwrap();
            }
            join_all(tasks);
            assert!(lock.try_write().is_some());
        }
    });
}

/// How much a writer counts for among those inside.
const WRITER: usize = 10_000;

#[test]
fn readers_and_writers_that_hammer_exclude_each_other() {
    everywhere(|place| {
        for readers in [1, 3, 10] {
            hammer(place, readers, 200);
        }
    });
}

fn hammer(place: Where, readers: usize, rounds: usize) {
    let (lock, inside) = (Arc::new(RwLock::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = place.go_all(2, |_| {
        let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
        move || {
            for round in 0..rounds {
                let mut guard = lock.write();
                assert_eq!(inside.fetch_add(WRITER, Ordering::Relaxed), 0);
                if round % 32 == 0 {
                    gaggle::yield_now();
                }
                *guard += 1;
                inside.fetch_sub(WRITER, Ordering::Relaxed);
            }
        }
    });
    tasks.extend(place.go_all(readers, |_| {
        let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
        move || {
            let mut last = 0;
            for round in 0..rounds {
                let guard = lock.read();
                assert!(inside.fetch_add(1, Ordering::Relaxed) < WRITER);
                assert!(last <= *guard, "it only grows");
                last = *guard;
                if round % 32 == 0 {
                    gaggle::yield_now();
                }
                inside.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }));
    join_all(tasks);
    assert_eq!(*lock.read(), 2 * rounds);
}

#[test]
fn try_read_and_try_write_say_what_can_be_had() {
    let lock = RwLock::new(());
    let writing = lock.write();
    assert!(lock.try_read().is_none() && lock.try_write().is_none());
    drop(writing);
    let reading = lock.read();
    assert!(lock.try_write().is_none());
    drop(lock.try_read().expect("many may read"));
    drop(reading);
    assert!(lock.try_write().is_some());
}

/// Go's `RLocker`: the reading half as a lock, which a writer alternates with.
#[test]
fn reading_half_excludes_the_writing_half() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(0));
        let (written, was_written) = bounded(1);
        let (read, was_read) = bounded(1);
        let writer = {
            let lock = Arc::clone(&lock);
            place.go(move || {
                for _ in 0..10 {
                    *lock.write() += 1;
                    written.send(()).unwrap();
                    was_read.recv().unwrap();
                }
            })
        };
        for round in 1..=10 {
            was_written.recv().unwrap();
            let guard = lock.read();
            assert_eq!(*guard, round);
            read.send(()).unwrap();
            assert!(lock.try_write().is_none());
        }
        writer.join().unwrap();
    });
}

#[test]
fn writer_that_waits_keeps_new_readers_out_and_is_served_before_them() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(0));
        let reading = lock.read();
        let writer = {
            let lock = Arc::clone(&lock);
            place.go(move || *lock.write() = 1)
        };
        until_waiting(&lock, 1);
        assert!(lock.try_read().is_none());
        let reader = {
            let lock = Arc::clone(&lock);
            place.go(move || *lock.read())
        };
        until_waiting(&lock, 2);
        drop(reading);
        assert_eq!(reader.join().unwrap(), 1);
        writer.join().unwrap();
    });
}

/// Also while the writer is woken, and not there yet.
#[test]
fn reader_that_comes_after_a_waiting_writer_reads_what_it_wrote() {
    everywhere(|place| {
        for _ in 0..200 {
            let lock = Arc::new(RwLock::new(0));
            let reading = lock.read();
            let theirs = Arc::clone(&lock);
            let writer = place.go(move || *theirs.write() = 1);
            until_waiting(&lock, 1);
            let readers = place.go_all(2, |_| {
                let lock = Arc::clone(&lock);
                move || *lock.read()
            });
            drop(reading);
            if let Some(guard) = lock.try_read() {
                assert_eq!(*guard, 1);
            }
            assert_eq!(*lock.read(), 1);
            assert_eq!(join_all(readers), [1, 1]);
            writer.join().unwrap();
        }
    });
}

#[test]
fn writer_is_not_starved_by_readers_that_overlap() {
    everywhere(|place| {
        let (lock, reads) = (Arc::new(RwLock::new(false)), Arc::new(AtomicUsize::new(0)));
        let readers = place.go_all(3, |_| {
            let (lock, reads) = (Arc::clone(&lock), Arc::clone(&reads));
            move || {
                loop {
                    let guard = lock.read();
                    reads.fetch_add(1, Ordering::Relaxed);
                    if *guard {
                        return;
                    }
                    // The next one comes while this one is inside.
                    gaggle::yield_now();
                }
            }
        });
        until(|| reads.load(Ordering::Relaxed) > 10);
        *lock.write_timeout(LONG).expect("a writer is not starved") = true;
        join_all(readers);
    });
}

#[test]
fn writer_that_gives_up_lets_the_readers_behind_it_in() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read();
        let (context, cancel) = background().with_cancel();
        let writer = {
            let (lock, context) = (Arc::clone(&lock), context.clone());
            place.go(move || lock.write_context(&context).is_err())
        };
        until(|| lock.try_read().is_none());
        let readers = place.go_all(3, |_| {
            let lock = Arc::clone(&lock);
            move || drop(lock.read())
        });
        cancel.cancel();
        assert!(writer.join().unwrap());
        join_all(readers);
        drop(reading);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn reader_gives_up_while_a_writer_is_inside() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(()));
        let writing = lock.write();
        let tasks = place.go_all(4, |number| {
            let lock = Arc::clone(&lock);
            let timeout = Duration::from_millis(number as u64);
            move || lock.read_timeout(timeout).is_none() && lock.write_timeout(timeout).is_none()
        });
        assert!(join_all(tasks).into_iter().all(|timed_out| timed_out));
        drop(writing);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn downgraded_guard_lets_readers_in_and_no_writer() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(0));
        let mut writing = lock.write();
        let readers = place.go_all(3, |_| {
            let lock = Arc::clone(&lock);
            move || *lock.read()
        });
        *writing = 1;
        let reading = RwLockWriteGuard::downgrade(writing);
        assert!(join_all(readers).into_iter().all(|value| value == 1));
        assert!(lock.try_write().is_none());
        drop(reading);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn timeouts_and_unlocks_that_race_lose_no_lock() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(0usize));
        let tasks = place.go_all(6, |worker| {
            let lock = Arc::clone(&lock);
            move || {
                let mut written = 0;
                for round in 0..500 {
                    let timeout = Duration::from_nanos((worker * 7 + round) as u64 % 5 * 3000);
                    match (worker + round) % 4 {
                        0 => {
                            *lock.write() += 1;
                            written += 1;
                        }
                        1 => drop(lock.read()),
                        2 => drop(lock.read_timeout(timeout)),
                        _ => {
                            if let Some(mut guard) = lock.write_timeout(timeout) {
                                *guard += 1;
                                written += 1;
                            }
                        }
                    }
                }
                written
            }
        });
        let written: usize = join_all(tasks).into_iter().sum();
        assert_eq!(*lock.try_write().expect("all have left"), written);
    });
}
