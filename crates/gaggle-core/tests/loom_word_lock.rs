//! The lock of short sections in every interleaving: who is excluded, and who is woken.

#![cfg(loom)]

use gaggle_core::word_lock::{NOBODY, Waiting, WordLock};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

loom::lazy_static! {
    static ref KERNEL: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
}

/// The kernel's part: a sleep begins, or does not, in one step with the look at the word.
struct Kernel;

impl Waiting for Kernel {
    fn barrier() -> bool {
        // The other side has one of its own in the model.
        fence(Ordering::SeqCst);
        true
    }

    fn sleep_while(word: &AtomicU32, value: u32, short: bool) {
        assert!(!short);
        let guard = KERNEL.0.lock().unwrap();
        if word.load(Ordering::Relaxed) == value {
            drop(KERNEL.1.wait(guard).unwrap());
        }
    }

    fn wake_one(_word: &AtomicU32) {
        let _guard = KERNEL.0.lock().unwrap();
        KERNEL.1.notify_one();
    }

    fn spin(_round: u32) {
        thread::yield_now();
    }

    fn is_alone() -> bool {
        false
    }
}

/// Each thread takes the lock `rounds` times under a name of its own, or under none; the first has taken it
/// so often before, alone, as biases it.
fn check(threads: u32, rounds: usize, preemptions: usize, biased: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(move || {
        let shared = Arc::new((WordLock::new(), UnsafeCell::new(0)));
        let work = move |shared: &(WordLock, UnsafeCell<usize>), name: u32, rounds: usize| {
            for _ in 0..rounds {
                shared.0.lock::<Kernel>(name);
                // SAFETY: the lock is held; loom finds it if it excludes nobody.
                shared.1.with_mut(|count| unsafe { *count += 1 });
                shared.0.unlock::<Kernel>();
            }
        };
        let before = if biased { 2 } else { 0 };
        work(&shared, 1, before);
        let others: Vec<_> = (2..=threads)
            .map(|name| {
                let shared = shared.clone();
                let name = if biased { name } else { NOBODY };
                thread::spawn(move || work(&shared, name, rounds))
            })
            .collect();
        work(&shared, 1, rounds);
        for other in others {
            other.join().unwrap();
        }
        shared.0.lock::<Kernel>(NOBODY);
        let all = threads as usize * rounds + before;
        // SAFETY: as above.
        shared.1.with(|count| assert_eq!(unsafe { *count }, all));
        shared.0.unlock::<Kernel>();
    });
}

#[test]
fn two_that_take_it_twice_exclude_each_other_and_none_sleeps_for_ever() {
    check(2, 2, 4, false);
}

#[test]
fn three_exclude_each_other_and_none_sleeps_for_ever() {
    check(3, 1, 3, false);
}

#[test]
fn owner_of_the_bias_and_who_ends_it_exclude_each_other() {
    check(2, 2, 4, true);
}

#[test]
fn owner_of_the_bias_and_two_who_end_it_exclude_each_other() {
    check(3, 1, 2, true);
}
