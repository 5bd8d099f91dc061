//! The green backend by itself: goroutines run, park, sleep, migrate and end.
#![cfg(green)]
#![allow(missing_docs)]

use gaggle_core::contract::{Runtime, SpawnOptions};
use gaggle_rt::Green;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Once, mpsc};
use std::time::{Duration, Instant};

fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| gaggle_rt::start(Some(3)).expect("the green backend runs here"));
}

#[track_caller]
fn go(f: impl FnOnce() + Send + 'static) {
    start();
    let options = SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    };
    Green::spawn(options, gaggle_core::contract::entry(f)).expect("memory for a goroutine");
}

#[test]
fn a_thousand_goroutines_run_to_their_end() {
    let (sender, receiver) = mpsc::channel();
    for number in 0..1000u64 {
        let sender = sender.clone();
        go(move || sender.send(number).expect("the receiver lives"));
    }
    drop(sender);
    assert_eq!(receiver.iter().sum::<u64>(), 499_500);
}

#[test]
fn ten_thousand_sleep_at_once() {
    let (sender, receiver) = mpsc::channel();
    let begun = Instant::now();
    for _ in 0..10_000 {
        let sender = sender.clone();
        go(move || {
            std::thread::sleep(Duration::from_millis(300));
            sender.send(()).expect("the receiver lives");
        });
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), 10_000);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "they sleep side by side"
    );
}

#[test]
fn a_barrier_of_std_holds_fifty_goroutines() {
    let barrier = Arc::new(Barrier::new(50));
    let rounds = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        let (barrier, rounds, sender) = (barrier.clone(), rounds.clone(), sender.clone());
        go(move || {
            for _ in 0..20 {
                if barrier.wait().is_leader() {
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
            sender.send(()).expect("the receiver lives");
        });
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), 50);
    assert_eq!(rounds.load(Ordering::Relaxed), 20);
}

#[test]
fn goroutines_that_sleep_and_yield_migrate() {
    let before = gaggle_rt::migrations();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..64 {
        let sender = sender.clone();
        go(move || {
            // Until the scheduler has moved it once, however long that takes. Yielding alone would not
            // do: when every P has its share of them, no M ever comes to steal.
            while gaggle_rt::own_migrations() == 0 {
                Green::yield_now();
                std::thread::sleep(Duration::from_micros(20));
            }
            sender.send(()).expect("the receiver lives");
        });
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), 64);
    assert!(
        gaggle_rt::migrations() > before,
        "some went on on another OS thread"
    );
}
