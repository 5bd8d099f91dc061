//! The read-write lock in every interleaving. As to starvation, see `loom_mutex`.

#![cfg(loom)]

mod model;

use gaggle_core::sync::{Ended, Limit, RawRwLock};
use loom::thread;
use model::counted::Counted;
use model::{Model, every_interleaving};
use std::sync::Arc;

/// A number under a read-write lock.
type Shared = Counted<RawRwLock<Model>>;

fn shared() -> Arc<Shared> {
    Counted::new(RawRwLock::new())
}

fn write_and_add(shared: &Shared) {
    assert_eq!(shared.lock.write_limited(&Limit::never()), Ok(()));
    shared.add_one();
    // SAFETY: taken above.
    unsafe { shared.lock.unlock_write() };
}

fn read_under_lock(shared: &Shared) -> usize {
    lock_to_read(shared);
    read_and_unlock(shared)
}

fn lock_to_read(shared: &Shared) {
    assert_eq!(shared.lock.read_limited(&Limit::never()), Ok(()));
}

/// The number, with the lock taken to read by the caller, which is given up.
fn read_and_unlock(shared: &Shared) -> usize {
    let count = shared.read();
    // SAFETY: the caller has taken it.
    unsafe { shared.lock.unlock_read() };
    count
}

#[test]
fn a_reader_and_two_writers_exclude_each_other() {
    every_interleaving(2, || {
        let shared = shared();
        let reader = shared.start(|shared| {
            let first = read_under_lock(shared);
            assert!(first <= read_under_lock(shared));
        });
        let writer = shared.start(write_and_add);
        write_and_add(&shared);
        reader.join().unwrap();
        writer.join().unwrap();
        assert_eq!(read_under_lock(&shared), 2);
        assert!(shared.lock.try_write());
    });
}

#[test]
fn two_readers_behind_a_writer_are_both_woken() {
    every_interleaving(2, || {
        let shared = shared();
        let readers = [(); 2].map(|()| shared.start(read_under_lock));
        write_and_add(&shared);
        for reader in readers {
            assert!(reader.join().unwrap() <= 1);
        }
        assert!(shared.lock.try_write());
    });
}

/// V7: by trying, and by waiting.
#[test]
fn writer_that_waits_and_is_woken_is_served_before_a_reader_that_comes_later() {
    every_interleaving(3, || {
        let shared = shared();
        lock_to_read(&shared);
        let writer = shared.start(write_and_add);
        while shared.lock.waiting() == 0 {
            thread::yield_now();
        }
        assert_eq!(read_and_unlock(&shared), 0);
        if shared.lock.try_read() {
            assert_eq!(read_and_unlock(&shared), 1, "V7");
        }
        assert_eq!(read_under_lock(&shared), 1, "V7");
        writer.join().unwrap();
        assert!(shared.lock.try_write());
    });
}

/// V7, where the marks change hands: one writer is woken while another waits behind it.
#[test]
fn reader_that_comes_after_two_writers_is_served_after_both_of_them_once_one_has_waited() {
    every_interleaving(2, || {
        let shared = shared();
        lock_to_read(&shared);
        let writers = [(); 2].map(|()| shared.start(write_and_add));
        while shared.lock.waiting() < 2 {
            thread::yield_now();
        }
        assert_eq!(read_and_unlock(&shared), 0);
        assert_eq!(read_under_lock(&shared), 2, "V7");
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(shared.lock.try_write());
    });
}

/// The two readers are given the lock together, in starvation (V5); the last of them to go hands it to the
/// writer, which must see what the other one has done under it as well.
#[test]
fn writer_that_starves_behind_two_readers_sees_what_both_have_done() {
    model::have_one_processor();
    every_interleaving(1, || {
        let shared = shared();
        assert!(shared.lock.try_write());
        let first = shared.start(read_under_lock);
        while shared.lock.waiting() == 0 {
            thread::yield_now();
        }
        // SAFETY: taken above.
        unsafe { shared.lock.unlock_write() };
        // The reader was woken. If it finds the lock taken once more, it is starving.
        if !shared.lock.try_write() {
            assert_eq!(first.join().unwrap(), 0);
            return;
        }
        let second = shared.start(read_under_lock);
        let writer = shared.start(write_and_add);
        // Lets all of them come to the queue, as one of many interleavings.
        thread::yield_now();
        shared.add_one();
        // SAFETY: taken above.
        unsafe { shared.lock.unlock_write() };
        assert!(first.join().unwrap() <= 2);
        assert!((1..=2).contains(&second.join().unwrap()));
        writer.join().unwrap();
        assert!(shared.lock.try_write());
        assert_eq!(shared.read(), 2);
    });
}

#[test]
fn writer_that_gives_up_after_it_was_woken_lets_the_reader_behind_it_in() {
    every_interleaving(2, || {
        let shared = shared();
        assert!(shared.lock.try_write());
        let impatient = shared.start(|shared| {
            let locked = shared.lock.write_limited(&Limit::until(2));
            if locked.is_ok() {
                // SAFETY: taken above.
                unsafe { shared.lock.unlock_write() };
            }
        });
        let reader = shared.start(read_under_lock);
        shared.add_one();
        // SAFETY: taken above.
        unsafe { shared.lock.unlock_write() };
        impatient.join().unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        assert!(shared.lock.try_write());
    });
}

#[test]
fn writer_that_gives_up_lets_the_reader_behind_it_join() {
    every_interleaving(2, || {
        let shared = shared();
        lock_to_read(&shared);
        // The reader is there to the end, so only the deadline ends this.
        let impatient = shared.start(|shared| shared.lock.write_limited(&Limit::until(2)));
        let reader = shared.start(read_under_lock);
        assert_eq!(impatient.join().unwrap(), Err(Ended::TimedOut));
        assert_eq!(reader.join().unwrap(), 0);
        read_and_unlock(&shared);
        assert!(shared.lock.try_write());
    });
}

#[test]
fn downgraded_lock_lets_readers_in_and_no_writer() {
    every_interleaving(2, || {
        let shared = shared();
        assert!(shared.lock.try_write());
        let reader = shared.start(read_under_lock);
        shared.add_one();
        // SAFETY: taken above.
        unsafe { shared.lock.downgrade() };
        assert_eq!(reader.join().unwrap(), 1);
        assert!(!shared.lock.try_write());
        read_and_unlock(&shared);
        assert!(shared.lock.try_write());
    });
}
