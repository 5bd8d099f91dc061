//! The number of processors while goroutines run: by `gomaxprocs`, and as the machine allows.
//!
//! Each test runs in a process of its own. On the threads backend the number limits nothing.
#![cfg(target_os = "linux")]

mod support;

use gaggle::runtime::{backend_name, gomaxprocs};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Runs `body` on the green backend in a child process with these variables.
fn in_child(name: &str, environment: &[(&str, Option<&str>)], body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(backend_name(), "green");
        body();
    } else if backend_name() == "green" {
        let output = support::run_child(name, environment);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// xorshift64*, so that the seed that a failure prints gives the same changes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// What the goroutines of the next test share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    rounds: [AtomicU64; 4],
    ended: AtomicUsize,
}

impl Load {
    /// Starts a goroutine that does `round` until it is told to stop.
    fn start(
        self: &Arc<Self>,
        kind: usize,
        mut round: impl FnMut() + Send + 'static,
    ) -> gaggle::JoinHandle<()> {
        let load = self.clone();
        gaggle::go(move || {
            while !load.stop.load(Ordering::Relaxed) {
                round();
                load.rounds[kind].fetch_add(1, Ordering::Relaxed);
            }
            load.ended.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Eight goroutines that compute, park on a mutex, wait for each other's bytes, and sleep.
    fn start_all(self: &Arc<Self>) -> Vec<gaggle::JoinHandle<()>> {
        let shared = Arc::new(Mutex::new(0u64));
        let mut handles = Vec::new();
        for _ in 0..8 {
            handles.push(self.start(0, || {
                let sum =
                    (0..2_000u64).fold(0u64, |sum, n| std::hint::black_box(sum.rotate_left(5) ^ n));
                std::hint::black_box(sum);
                gaggle::yield_now();
            }));
            let shared = shared.clone();
            handles.push(self.start(1, move || {
                let mut count = shared.lock().expect("nobody panics");
                // The others find it locked, and park.
                gaggle::yield_now();
                *count += 1;
            }));
            let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
            // The echo ends when its partner's end is closed.
            gaggle::go(move || {
                let mut byte = [0];
                while other.read(&mut byte).expect("a byte or the end") == 1 {
                    other.write_all(&byte).expect("the partner waits for it");
                }
            });
            handles.push(self.start(2, move || {
                one.write_all(b"x").expect("the echo reads");
                one.read_exact(&mut [0]).expect("the echo answers");
            }));
            handles.push(self.start(3, || std::thread::sleep(Duration::from_micros(50))));
        }
        handles
    }

    /// Waits until each kind has gone on by some rounds.
    fn wait_for_progress(&self) {
        for rounds in &self.rounds {
            let before = rounds.load(Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) < before + 3 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

/// Loses nothing while the number of processors changes.
fn change_at_random_under_load() {
    let seed = u64::from(std::process::id()) << 16 | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let load = Arc::new(Load::default());
    let handles = load.start_all();
    // From outside, from a goroutine, and from two of them at once.
    for change in 0..150 {
        let wanted = 1 + random.below(64) as usize;
        match change % 3 {
            0 => {
                gomaxprocs(Some(wanted));
            }
            1 => {
                let own = gaggle::go(move || gomaxprocs(Some(wanted)));
                own.join().expect("no panic");
            }
            _ => {
                let both = [wanted, 65 - wanted];
                let both = both.map(|n| gaggle::go(move || gomaxprocs(Some(n))));
                for handle in both {
                    handle.join().expect("no panic");
                }
            }
        }
        load.wait_for_progress();
    }
    load.stop.store(true, Ordering::Relaxed);
    let count = handles.len();
    for handle in handles {
        handle.join().expect("no goroutine panics");
    }
    assert_eq!(load.ended.load(Ordering::Relaxed), count);
}

#[test]
fn random_changes_from_1_to_64_under_load_lose_nothing() {
    in_child(
        "random_changes_from_1_to_64_under_load_lose_nothing",
        &[],
        change_at_random_under_load,
    );
}

/// The first processor's queue is nobody else's until there is another.
#[test]
fn a_program_that_begins_with_one_processor_can_get_more() {
    in_child(
        "a_program_that_begins_with_one_processor_can_get_more",
        &[("GAGGLE_MAXPROCS", Some("1"))],
        || {
            assert_eq!(gomaxprocs(None), 1);
            let meet = |busy: usize| {
                let missing = Arc::new(AtomicUsize::new(busy));
                let handles: Vec<_> = (0..busy)
                    .map(|_| {
                        let missing = missing.clone();
                        gaggle::go(move || {
                            // Each computes until all have begun: on one processor that is the end of turns.
                            missing.fetch_sub(1, Ordering::Relaxed);
                            while missing.load(Ordering::Relaxed) > 0 {
                                std::hint::spin_loop();
                            }
                        })
                    })
                    .collect();
                for handle in handles {
                    handle.join().expect("no panic");
                }
            };
            meet(3);
            let load = Arc::new(Load::default());
            let handles = load.start_all();
            load.wait_for_progress();
            gomaxprocs(Some(4));
            load.wait_for_progress();
            meet(3);
            load.stop.store(true, Ordering::Relaxed);
            for handle in handles {
                handle.join().expect("no goroutine panics");
            }
            change_at_random_under_load();
        },
    );
}

#[test]
fn timers_of_a_dropped_processor_fire_while_the_only_one_left_is_busy() {
    in_child(
        "timers_of_a_dropped_processor_fire_while_the_only_one_left_is_busy",
        &[],
        || {
            let busy = Arc::new(AtomicBool::new(true));
            for _ in 0..20 {
                gomaxprocs(Some(8));
                let (say, hear) = mpsc::channel();
                for _ in 0..200 {
                    let say = say.clone();
                    gaggle::go(move || {
                        say.send(()).expect("the test hears");
                        std::thread::sleep(Duration::from_millis(5));
                        say.send(()).expect("the test hears");
                    });
                }
                // All run, most of them asleep by now, with their timers on whichever processor.
                for _ in 0..200 {
                    hear.recv().expect("each begins");
                }
                gomaxprocs(Some(1));
                // From here on no processor is ever idle, so nobody sleeps until a deadline.
                busy.store(true, Ordering::Relaxed);
                let pair = [(); 2].map(|()| {
                    let busy = busy.clone();
                    gaggle::go(move || {
                        while busy.load(Ordering::Relaxed) {
                            gaggle::yield_now();
                        }
                    })
                });
                for _ in 0..200 {
                    hear.recv().expect("each wakes");
                }
                busy.store(false, Ordering::Relaxed);
                for handle in pair {
                    handle.join().expect("no panic");
                }
            }
        },
    );
}

/// Lets the process's first thread, by which the mask of the process is told, run on `processors` alone.
fn set_affinity(processors: &[usize]) {
    // SAFETY: all bits zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &processor in processors {
        // SAFETY: only sets a bit of the set.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    let process = std::process::id() as libc::pid_t;
    // SAFETY: the kernel reads the set.
    let failed = unsafe { libc::sched_setaffinity(process, size_of_val(&set), &raw const set) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

/// The processors that this process may use now.
fn affinity() -> Vec<usize> {
    // SAFETY: all bits zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let process = std::process::id() as libc::pid_t;
    // SAFETY: the kernel writes the set.
    let failed = unsafe { libc::sched_getaffinity(process, size_of_val(&set), &raw mut set) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: only reads a bit of the set.
        .filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) })
        .collect()
}

#[test]
fn number_follows_the_affinity_mask() {
    let name = "number_follows_the_affinity_mask";
    if support::is_child(name) {
        let all = affinity();
        set_affinity(&all[..1]);
        assert_eq!(backend_name(), "green");
        assert_eq!(gomaxprocs(None), 1);
        set_affinity(&all[..2]);
        while gomaxprocs(None) != 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(gaggle::go(|| gomaxprocs(Some(5))).join().ok(), Some(2));
    } else if affinity().len() < 2 {
        println!("skipped: processors: the machine has one");
    } else if backend_name() == "green" {
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", None)]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}
