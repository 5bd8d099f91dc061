//! What a barrier promises.

use crate::{everywhere, join_all};
use gaggle::sync::Barrier;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn nobody_passes_before_all_are_there_in_each_round() {
    const TASKS: usize = 5;
    const ROUNDS: usize = 50;
    everywhere(|place| {
        let (barrier, arrived) = (Arc::new(Barrier::new(TASKS)), Arc::new(AtomicUsize::new(0)));
        let tasks = place.go_all(TASKS, |_| {
            let (barrier, arrived) = (Arc::clone(&barrier), Arc::clone(&arrived));
            move || {
                let mut led = 0;
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    led += usize::from(barrier.wait().is_leader());
                    let seen = arrived.load(Ordering::Relaxed);
                    assert!((round * TASKS..=(round + 1) * TASKS).contains(&seen));
                }
                led
            }
        });
        let led: usize = join_all(tasks).into_iter().sum();
        assert_eq!(led, ROUNDS, "one leader a round");
    });
}

#[test]
fn barrier_for_one_or_none_holds_nobody_back() {
    assert!(Barrier::new(1).wait().is_leader());
    assert!(Barrier::new(0).wait().is_leader());
}
