//! Locks, contended.
//!
//! The variant `std` is the same with std's lock, which works on goroutines as it is.

use gaggle::sync::{Mutex, RwLock};
use peer_common::{DEFAULT_VARIANT, Options, Report};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// T tasks that lock, add one and unlock, N times in all.
pub fn mutex(options: &Options) -> Option<Report> {
    match options.variant.as_str() {
        DEFAULT_VARIANT => {
            let counter = Arc::new(Mutex::new(0u64));
            let report = contend(options, |_| {
                let counter = Arc::clone(&counter);
                move |_| *counter.lock() += 1
            });
            assert_eq!(*counter.lock(), operations(options));
            Some(report)
        }
        "std" => {
            let counter = Arc::new(std::sync::Mutex::new(0u64));
            let report = contend(options, |_| {
                let counter = Arc::clone(&counter);
                move |_| *counter.lock().expect("no panic") += 1
            });
            assert_eq!(*counter.lock().expect("no panic"), operations(options));
            Some(report)
        }
        _ => None,
    }
}

/// The same with a read-write lock, one write among ten.
pub fn rw_lock(options: &Options) -> Option<Report> {
    let writes = options.tasks * (options.size() / options.tasks).div_ceil(10);
    match options.variant.as_str() {
        DEFAULT_VARIANT => {
            let counter = Arc::new(RwLock::new(0u64));
            let report = contend(options, |_| {
                let (counter, mut sum) = (Arc::clone(&counter), 0u64);
                move |index| {
                    if index % 10 == 0 {
                        *counter.write() += 1;
                    } else {
                        sum = black_box(sum.wrapping_add(*counter.read()));
                    }
                }
            });
            assert_eq!(*counter.read(), writes);
            Some(report)
        }
        "std" => {
            let counter = Arc::new(std::sync::RwLock::new(0u64));
            let report = contend(options, |_| {
                let (counter, mut sum) = (Arc::clone(&counter), 0u64);
                move |index| {
                    if index % 10 == 0 {
                        *counter.write().expect("no panic") += 1;
                    } else {
                        sum = black_box(sum.wrapping_add(*counter.read().expect("no panic")));
                    }
                }
            });
            assert_eq!(*counter.read().expect("no panic"), writes);
            Some(report)
        }
        _ => None,
    }
}

/// How often all tasks together do it.
fn operations(options: &Options) -> u64 {
    options.size() / options.tasks * options.tasks
}

/// Runs what `operation_of` makes for each task, N times in all.
fn contend<F>(options: &Options, operation_of: impl Fn(u64) -> F) -> Report
where
    F: FnMut(u64) + Send + 'static,
{
    let tasks = options.tasks;
    let each = options.size() / tasks;
    let begin = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let mut operation = operation_of(task);
            gaggle::go(move || {
                for index in 0..each {
                    operation(index);
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    Report::of_operations(tasks * each, begin.elapsed()).with("tasks", tasks as f64)
}
