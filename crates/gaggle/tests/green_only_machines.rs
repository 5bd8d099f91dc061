//! The OS threads that run goroutines: how many there may be.
//!
//! Each test runs in a process of its own. On the threads backend there is one for each goroutine.
#![cfg(target_os = "linux")]

mod support;

use gaggle::runtime::backend_name;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, mpsc};
use support::{is_child, run_child, said};

/// Goroutines that block their OS threads until the answered file is closed.
fn block_machines(count: usize) -> (Vec<gaggle::JoinHandle<()>>, File) {
    let path = std::env::temp_dir().join(format!("gaggle-machines-{}", std::process::id()));
    let held = File::create(&path).expect("a file for the test");
    held.lock().expect("nobody else has it");
    let named = Arc::new(File::open(&path).expect("it is there"));
    std::fs::remove_file(&path).expect("it is ours");
    let handles = (0..count)
        .map(|_| {
            let named = named.clone();
            gaggle::go(move || {
                // Opened anew, so that it is another holder of the lock that waits.
                let path = format!("/proc/self/fd/{}", named.as_raw_fd());
                let own = File::open(path).expect("it is open");
                own.lock().expect("it comes in the end");
            })
        })
        .collect();
    (handles, held)
}

#[test]
fn needing_one_more_os_thread_than_allowed_is_gos_fatal_error() {
    let name = "needing_one_more_os_thread_than_allowed_is_gos_fatal_error";
    if is_child(name) {
        let (handles, _held) = block_machines(10);
        for handle in handles {
            let _ = handle.join(); // the process ends meanwhile
        }
    } else if backend_name() == "green" {
        let output = run_child(
            name,
            &[
                ("GAGGLE_MAXTHREADS", Some("4")),
                ("GAGGLE_MAXPROCS", Some("2")),
            ],
        );
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let words = "runtime: program exceeds 4-thread limit\nfatal error: thread exhaustion";
        assert!(stderr.contains(words), "{}", said(&output));
    }
}

#[test]
fn goroutines_that_compute_make_no_more_os_threads_than_allowed() {
    let name = "goroutines_that_compute_make_no_more_os_threads_than_allowed";
    if is_child(name) {
        let (say, hear) = mpsc::channel();
        for _ in 0..20 {
            let say = say.clone();
            gaggle::go(move || {
                let mut state = 1u64;
                for _ in 0..3_000_000 {
                    state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005));
                }
                say.send(state).expect("the test hears");
            });
        }
        drop(say);
        assert_eq!(hear.iter().count(), 20);
        assert!(gaggle::testing::figures().machines <= 4);
    } else if backend_name() == "green" {
        let output = run_child(
            name,
            &[
                ("GAGGLE_MAXTHREADS", Some("4")),
                ("GAGGLE_MAXPROCS", Some("2")),
                ("GAGGLE_TEST_SLICE_MICROSECONDS", Some("300")),
            ],
        );
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn limit_that_is_no_number_is_refused() {
    let name = "limit_that_is_no_number_is_refused";
    if is_child(name) {
        backend_name();
    } else {
        for value in ["0", "many", "-1"] {
            let output = run_child(name, &[("GAGGLE_MAXTHREADS", Some(value))]);
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("GAGGLE_MAXTHREADS"), "{}", said(&output));
        }
    }
}

/// The numbers of the Ms whose OS threads exist.
fn machines_alive() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the kernel lists threads");
    let mut numbers: Vec<u32> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter_map(|name| name.trim().strip_prefix("gaggle-m")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn surplus_os_threads_end_and_their_records_are_used_again() {
    let name = "surplus_os_threads_end_and_their_records_are_used_again";
    /// GOMAXPROCS and the spares that stay.
    const KEPT: usize = 2 + 4;
    /// Goroutines that block, and with them what can be needed meanwhile.
    const BLOCKED: usize = 30;
    if is_child(name) {
        for _ in 0..5 {
            let (handles, held) = block_machines(BLOCKED);
            while machines_alive().len() < BLOCKED {
                std::thread::yield_now();
            }
            drop(held);
            for handle in handles {
                handle.join().expect("no panic");
            }
            while machines_alive().len() > KEPT || gaggle::testing::figures().machines > KEPT {
                std::thread::yield_now();
            }
            assert_eq!(gaggle::go(|| 7).join().ok(), Some(7));
        }
        // As many records were made as OS threads were needed at the same time, not five times that.
        let (handles, held) = block_machines(BLOCKED);
        while machines_alive().len() < BLOCKED {
            std::thread::yield_now();
        }
        let last = machines_alive().pop().expect("there are some");
        assert!((last as usize) < 3 * BLOCKED, "M {last} was made");
        drop(held);
        for handle in handles {
            handle.join().expect("no panic");
        }
    } else if backend_name() == "green" {
        let output = run_child(
            name,
            &[
                ("GAGGLE_MAXPROCS", Some("2")),
                ("GAGGLE_TEST_IDLE_MILLISECONDS", Some("20")),
            ],
        );
        assert!(output.status.success(), "{}", said(&output));
    }
}
