//! std's locks, contended.

use crate::options::Options;
use crate::report::Report;
use std::hint::black_box;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

/// How many tasks contend unless `--tasks` says otherwise.
const TASKS: u64 = 8;

/// T tasks that lock, add one and unlock, N times in all.
pub fn mutex(options: &Options) -> Option<Report> {
    options.default_only()?;
    let tasks = options.tasks.unwrap_or(TASKS);
    let each = options.size() / tasks;
    let counter = Arc::new(Mutex::new(0u64));
    let begin = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let counter = Arc::clone(&counter);
            gaggle::go(move || {
                for _ in 0..each {
                    *counter.lock().expect("no panic") += 1;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    let wall = begin.elapsed();
    assert_eq!(*counter.lock().expect("no panic"), tasks * each);
    Some(Report::of_operations(tasks * each, wall).with("tasks", tasks as f64))
}

/// The same with a read-write lock, one write among ten.
pub fn rw_lock(options: &Options) -> Option<Report> {
    options.default_only()?;
    let tasks = options.tasks.unwrap_or(TASKS);
    let each = options.size() / tasks;
    let counter = Arc::new(RwLock::new(0u64));
    let begin = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let counter = Arc::clone(&counter);
            gaggle::go(move || {
                let mut sum = 0u64;
                for index in 0..each {
                    if index % 10 == 0 {
                        *counter.write().expect("no panic") += 1;
                    } else {
                        sum = sum.wrapping_add(*counter.read().expect("no panic"));
                    }
                }
                black_box(sum);
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    let wall = begin.elapsed();
    assert_eq!(
        *counter.read().expect("no panic"),
        tasks * each.div_ceil(10)
    );
    Some(Report::of_operations(tasks * each, wall).with("tasks", tasks as f64))
}
