//! Preemption: goroutines that compute without calling anything share the processors with others.
//! Green backend only: on OS threads the kernel does it.
#![cfg(target_os = "linux")]

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Runs `body` on the green backend with two processors and slices of 0.3 ms, in a child process.
fn on_two_processors(name: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        let slice = ("GAGGLE_TEST_SLICE_MICROSECONDS", Some("300"));
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some("2")), slice]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// Computes, without a call, until `stop`.
fn spin(stop: &AtomicBool) -> u64 {
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

#[test]
fn hogs_do_not_starve_a_goroutine_that_is_ready() {
    on_two_processors("hogs_do_not_starve_a_goroutine_that_is_ready", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        let hogs: Vec<_> = (0..8).map(|_| gaggle::go(|| spin(&STOP))).collect();
        // Each of these runs only if the hogs are made to give way.
        for _ in 0..20 {
            gaggle::go(|| ()).join().expect("it does not panic");
        }
        STOP.store(true, Ordering::Relaxed);
        for hog in hogs {
            hog.join().expect("it does not panic");
        }
    });
}

#[test]
fn hogs_do_not_starve_timers() {
    on_two_processors("hogs_do_not_starve_timers", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        static TICKS: AtomicU64 = AtomicU64::new(0);
        let hogs: Vec<_> = (0..6).map(|_| gaggle::go(|| spin(&STOP))).collect();
        gaggle::go(|| {
            for _ in 0..50 {
                std::thread::sleep(Duration::from_millis(1));
                TICKS.fetch_add(1, Ordering::Relaxed);
            }
            STOP.store(true, Ordering::Relaxed);
        })
        .join()
        .expect("it does not panic");
        for hog in hogs {
            hog.join().expect("it does not panic");
        }
        assert_eq!(TICKS.load(Ordering::Relaxed), 50);
    });
}

#[test]
fn suspended_goroutines_end_right() {
    on_two_processors("suspended_goroutines_end_right", || {
        // Each computes a known sum while all share two processors and are moved about.
        let before = gaggle::runtime::suspensions();
        let workers: Vec<_> = (0..16u64)
            .map(|seed| {
                gaggle::go(move || {
                    let mut sum = 0u64;
                    let mut texts = Vec::new();
                    for step in 0..4_000_000u64 {
                        sum = sum.wrapping_mul(31).wrapping_add(black_box(step ^ seed));
                        if step % 1000 == 0 {
                            texts.push(format!("{seed}:{step}"));
                        }
                    }
                    (sum, texts.len(), seed)
                })
            })
            .collect();
        for worker in workers {
            let (sum, texts, seed) = worker.join().expect("it does not panic");
            let mut wanted = 0u64;
            for step in 0..4_000_000u64 {
                wanted = wanted.wrapping_mul(31).wrapping_add(black_box(step ^ seed));
            }
            assert_eq!((sum, texts), (wanted, 4000));
        }
        assert!(
            gaggle::runtime::suspensions() > before,
            "nobody was suspended"
        );
    });
}
