//! Many goroutines at once in one process: what they cost, and that each of them comes to its end.
//!
//! These are the small forms. `gaggle-bench sleepers --variant join --n 1000000` and
//! `gaggle-bench parked --variant deep` are the large ones.
#![cfg(target_os = "linux")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs `body` on the green backend, in a child process, so that no other test's memory counts.
fn alone(name: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        support::pass_as_child(name);
    }
}

/// The number after `key` in this process's status, as the kernel says it.
fn of_status(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}

fn resident_bytes() -> usize {
    of_status("VmRSS:") * 1024
}

/// A gate that all wait for, and how many have come there.
struct Gate {
    arrived: AtomicUsize,
    open: gaggle::chan::Receiver<()>,
}

impl Gate {
    fn new() -> (Arc<Gate>, gaggle::chan::Sender<()>) {
        let (opener, open) = gaggle::chan::unbuffered();
        let arrived = AtomicUsize::new(0);
        (Arc::new(Gate { arrived, open }), opener)
    }

    /// Blocks the goroutine until the gate is opened.
    fn pass(&self) {
        // Relaxed: a count, which publishes nothing.
        self.arrived.fetch_add(1, Ordering::Relaxed);
        assert!(self.open.recv().is_err(), "nothing is ever sent");
    }

    /// Blocks until `count` have come to the gate.
    fn await_arrival_of(&self, count: usize) {
        // Relaxed: see `pass`.
        while self.arrived.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn fifty_thousand_sleep_at_once_and_all_are_joined() {
    alone("fifty_thousand_sleep_at_once_and_all_are_joined", || {
        const COUNT: usize = 50_000;
        let before = resident_bytes();
        let (gate, opener) = Gate::new();
        let handles: Vec<_> = (0..COUNT)
            .map(|index| {
                let gate = gate.clone();
                gaggle::go(move || {
                    gate.pass();
                    // All are due at about the same time.
                    std::thread::sleep(Duration::from_millis(200));
                    index
                })
            })
            .collect();
        gate.await_arrival_of(COUNT);
        assert!(gaggle::runtime::num_goroutine() >= COUNT);
        let each = (resident_bytes() - before) / COUNT;
        // A page for frames, storage and control block; the handle, the packet, the record.
        assert!(each <= 10_000, "{each} bytes for each");
        let opened = Instant::now();
        opener.close();
        let sum: usize = handles
            .into_iter()
            .map(|handle| handle.join().expect("no goroutine panics"))
            .sum();
        assert_eq!(sum, COUNT * (COUNT - 1) / 2, "each ended once");
        assert!(opened.elapsed() >= Duration::from_millis(200), "they slept");
        let threads = of_status("Threads:");
        assert!(threads < 100, "{threads} OS threads");
    });
}

/// Uses `bytes` of stack.
#[inline(never)]
fn recurse(bytes: usize) -> u64 {
    let frame = black_box([bytes as u64; 128]);
    let below = match bytes.checked_sub(size_of_val(&frame)) {
        Some(left) => recurse(left),
        None => 0,
    };
    below + black_box(&frame)[0]
}

#[test]
fn five_thousand_that_were_deep_once_become_small_while_they_rest() {
    let name = "five_thousand_that_were_deep_once_become_small_while_they_rest";
    alone(name, || {
        const COUNT: usize = 5_000;
        const DEEP_BYTES: usize = 32 << 10;
        let before = resident_bytes();
        let (gate, opener) = Gate::new();
        let handles: Vec<_> = (0..COUNT)
            .map(|_| {
                let gate = gate.clone();
                gaggle::go(move || {
                    let sum = recurse(DEEP_BYTES);
                    gate.pass();
                    // What was given back can be used again.
                    assert_eq!(recurse(DEEP_BYTES), sum);
                })
            })
            .collect();
        gate.await_arrival_of(COUNT);
        // How long that takes is measured by the bench; never is what this test would find.
        while (resident_bytes() - before) / COUNT > 10_000 {
            std::thread::sleep(Duration::from_millis(20));
        }
        opener.close();
        for handle in handles {
            handle.join().expect("no goroutine panics");
        }
    });
}
