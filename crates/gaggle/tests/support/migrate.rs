//! Goroutines that go on on another OS thread while a test looks on.
//!
//! Each such test runs in a process of its own on three processors, and counts how often its goroutines
//! went on on another OS thread: more than never, or it has shown nothing. On the threads backend a
//! goroutine never moves, so there is nothing to show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs `body` on the green backend with three processors, in a child process.
pub fn on_three(name: &str, body: impl FnOnce()) {
    if super::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        assert_eq!(gaggle::runtime::gomaxprocs(None), 3);
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        let output = super::run_child(name, &[("GAGGLE_MAXPROCS", Some("3"))]);
        assert!(output.status.success(), "{}", super::said(&output));
    }
}

/// How often the calling goroutine has moved.
pub fn moves() -> u32 {
    gaggle::runtime::own_migrations()
}

/// Sleeps that find the caller on the same OS thread before others are made busy.
const PATIENCE: u32 = 20;

/// Returns on another OS thread than it was called on.
pub fn migrate() {
    let before = moves();
    let has_moved = Arc::new(AtomicBool::new(false));
    for round in 1u32.. {
        std::thread::sleep(Duration::from_micros(20));
        if moves() != before {
            break;
        }
        // Whoever sleeps alone is woken by the same OS thread each time; one that computes takes it.
        if round % PATIENCE == 0 {
            let has_moved = has_moved.clone();
            drop(gaggle::go(move || {
                while !has_moved.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
    }
    has_moved.store(true, Ordering::Relaxed);
}

/// [`migrate`] for code in C.
pub extern "C" fn migrate_from_c() {
    migrate();
}

/// Runs `body` in `count` goroutines and answers how often they moved in all.
pub fn in_goroutines(count: usize, body: impl Fn(usize) + Send + Sync + 'static) -> u32 {
    let body = Arc::new(body);
    let handles: Vec<_> = (0..count)
        .map(|index| {
            let body = body.clone();
            gaggle::go(move || {
                body(index);
                moves()
            })
        })
        .collect();
    let moved = handles
        .into_iter()
        .map(|handle| handle.join().expect("no goroutine panics"))
        .sum();
    assert!(moved > 0, "a goroutine migrated");
    moved
}
