//! What a pool keeps, and drops.

use crate::{everywhere, join_all};
use gaggle::sync::{Pool, Pooled};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn thing_that_was_given_back_is_had_again() {
    let pool = Pool::new(String::new);
    pool.get().push('x');
    assert_eq!(pool.kept(), 1);
    assert_eq!(pool.get().as_str(), "x");
    assert_eq!(Pooled::take(pool.get()), "x");
    assert_eq!(pool.kept(), 0);
    assert_eq!(pool.get().as_str(), "");
    assert_eq!(pool.kept(), 1);
    pool.clear();
    assert_eq!(pool.kept(), 0);
}

#[test]
fn thing_of_another_goroutine_is_found_too() {
    let pool = Arc::new(Pool::new(String::new));
    let other = Arc::clone(&pool);
    gaggle::go(move || other.put("x".to_owned()))
        .join()
        .unwrap();
    assert_eq!(pool.get().as_str(), "x");
}

#[test]
fn no_more_are_kept_than_it_is_for() {
    let pool = Pool::with_capacity(8, String::new);
    let all: Vec<_> = (0..100).map(|_| pool.get()).collect();
    drop(all);
    assert!((1..=8).contains(&pool.kept()));
}

#[test]
fn each_thing_is_one_holders_at_a_time() {
    everywhere(|place| {
        let pool = Arc::new(Pool::new(|| Arc::new(AtomicUsize::new(0))));
        let tasks = place.go_all(8, |_| {
            let pool = Arc::clone(&pool);
            move || {
                for _ in 0..500 {
                    let thing = pool.get();
                    assert_eq!(thing.fetch_add(1, Ordering::Relaxed), 0);
                    gaggle::yield_now();
                    thing.fetch_sub(1, Ordering::Relaxed);
                }
            }
        });
        join_all(tasks);
        assert!((1..=64).contains(&pool.kept()));
    });
}
