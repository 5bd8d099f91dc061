//! Go's `waitgroup_test.go`. What is Rust's own is in `tests/sync.rs`.

use crate::{everywhere, join_all};
use gaggle::chan::{TryRecvError, bounded};
use gaggle::sync::WaitGroup;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn two_groups_used_in_turn_hold_back_and_release_all() {
    const TASKS: usize = 16;
    everywhere(|place| {
        let (first, second) = (WaitGroup::new(), WaitGroup::new());
        for _ in 0..8 {
            first.add(TASKS as i32);
            second.add(TASKS as i32);
            let (exited, exits) = bounded(TASKS);
            let tasks = place.go_all(TASKS, |_| {
                let (first, second, exited) = (first.clone(), second.clone(), exited.clone());
                move || {
                    first.done();
                    second.wait();
                    exited.send(()).unwrap();
                }
            });
            first.wait();
            for _ in 0..TASKS {
                assert_eq!(
                    exits.try_recv(),
                    Err(TryRecvError::Empty),
                    "released too soon"
                );
                second.done();
            }
            assert_eq!(exits.iter().take(TASKS).count(), TASKS);
            join_all(tasks);
        }
    });
}

#[test]
fn counter_below_zero_panics() {
    let group = WaitGroup::new();
    group.add(1);
    group.done();
    let caught = catch_unwind(AssertUnwindSafe(|| group.done()));
    let payload = caught.expect_err("it panics");
    let text = payload.downcast_ref::<&str>().expect("a text");
    assert!(text.contains("negative"), "{text}");
}

#[test]
fn wait_returns_after_both_in_a_thousand_races() {
    everywhere(|place| {
        for _ in 0..200 {
            let (group, ended) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
            let tasks = place.go_all(2, |_| {
                group.add(1);
                let (group, ended) = (group.clone(), Arc::clone(&ended));
                move || {
                    ended.fetch_add(1, Ordering::Relaxed);
                    group.done();
                }
            });
            group.wait();
            assert_eq!(ended.load(Ordering::Relaxed), 2, "woken for nothing");
            join_all(tasks);
        }
    });
}

/// Go's `Align`: a group that lies after a single byte.
#[test]
fn group_works_wherever_it_lies() {
    #[repr(C)]
    struct Holder {
        byte: u8,
        group: WaitGroup,
    }
    let holder = Arc::new(Holder {
        byte: 1,
        group: WaitGroup::new(),
    });
    holder.group.add(1);
    let other = Arc::clone(&holder);
    let task = gaggle::go(move || other.group.done());
    holder.group.wait();
    task.join().unwrap();
    assert_eq!(holder.byte, 1);
}

#[test]
fn go_counts_its_goroutine() {
    let (group, count) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    group.go(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    group.wait();
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// In Go an unhandled panic ends the process before `Wait` returns; here, as with std's threads, it is printed
/// and counted, and the group counts the goroutine as done.
#[test]
fn panic_in_a_counted_goroutine_is_counted_before_wait_returns() {
    let before = gaggle::runtime::unseen_panics();
    let group = WaitGroup::new();
    group.go(|| panic!("test"));
    group.wait();
    // The count follows the end of the goroutine's function by a little.
    crate::until(|| gaggle::runtime::unseen_panics() > before);
}

#[test]
fn adding_while_others_wait_is_right_as_long_as_something_is_to_be_done() {
    everywhere(|place| {
        let group = WaitGroup::new();
        group.add(1);
        let waiter = {
            let group = group.clone();
            place.go(move || group.wait())
        };
        for _ in 0..100 {
            group.add(1);
            group.done();
            gaggle::yield_now();
        }
        assert!(!waiter.is_finished());
        group.done();
        waiter.join().unwrap();
    });
}
