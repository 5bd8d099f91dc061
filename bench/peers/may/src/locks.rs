//! may's locks, contended.

use may::go;
use may::sync::{Mutex, RwLock};
use peer_common::{Options, Report};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// T coroutines that each do N/T turns; a turn's answers are added up so that its reads are done.
fn contend(options: &Options, turn: impl Fn(u64) -> u64 + Clone + Send + 'static) -> Report {
    let (tasks, each) = (options.tasks, each(options));
    let begin = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let turn = turn.clone();
            go!(move || {
                black_box((0..each).map(turn).fold(0, u64::wrapping_add));
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    Report::of_operations(tasks * each, begin.elapsed()).with("tasks", tasks as f64)
}

fn each(options: &Options) -> u64 {
    options.size() / options.tasks
}

/// Adds one and answers nothing worth adding up.
fn add_one(counter: &mut u64) -> u64 {
    *counter += 1;
    0
}

/// T coroutines that lock, add one and unlock, N times in all.
pub fn mutex(options: &Options) -> Option<Report> {
    options.default_only()?;
    let lock = Arc::new(Mutex::new(0));
    let own = Arc::clone(&lock);
    let report = contend(options, move |_| {
        add_one(&mut own.lock().expect("no panic"))
    });
    let counted = *lock.lock().expect("no panic");
    assert_eq!(counted, options.tasks * each(options));
    Some(report)
}

/// The same with a read-write lock, one write among ten.
pub fn rw_lock(options: &Options) -> Option<Report> {
    options.default_only()?;
    let lock = Arc::new(RwLock::new(0));
    let own = Arc::clone(&lock);
    let report = contend(options, move |index| match index % 10 {
        0 => add_one(&mut own.write().expect("no panic")),
        _ => *own.read().expect("no panic"),
    });
    let counted = *lock.read().expect("no panic");
    assert_eq!(counted, options.tasks * each(options).div_ceil(10));
    Some(report)
}
