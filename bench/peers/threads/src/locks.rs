//! Locks, contended.

use peer_common::{Options, Report, version_of};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// T threads that each do N/T turns; a turn's answers are added up so that its reads are done.
fn contend(options: &Options, turn: impl Fn(u64) -> u64 + Sync) -> Report {
    let (tasks, each) = (options.tasks, each(options));
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..tasks {
            scope.spawn(|| {
                let turns = (0..each).map(&turn);
                black_box(turns.fold(0, u64::wrapping_add));
            });
        }
    });
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

fn parking_lot_version() -> String {
    format!("parking_lot {}", version_of("parking_lot"))
}

/// T threads that lock, add one and unlock, N times in all.
pub fn mutex(options: &Options) -> Option<Report> {
    let expected = options.tasks * each(options);
    match options.variant.as_str() {
        "default" => {
            let lock = std::sync::Mutex::new(0);
            let report = contend(options, |_| add_one(&mut lock.lock().expect("no panic")));
            assert_eq!(lock.into_inner().expect("no panic"), expected);
            Some(report)
        }
        "parking_lot" => {
            let lock = parking_lot::Mutex::new(0);
            let report = contend(options, |_| add_one(&mut lock.lock()));
            assert_eq!(lock.into_inner(), expected);
            Some(report.of_version(parking_lot_version()))
        }
        _ => None,
    }
}

/// The same with a read-write lock, one write among ten.
pub fn rw_lock(options: &Options) -> Option<Report> {
    let expected = options.tasks * each(options).div_ceil(10);
    match options.variant.as_str() {
        "default" => {
            let lock = std::sync::RwLock::new(0);
            let report = contend(options, |index| match index % 10 {
                0 => add_one(&mut lock.write().expect("no panic")),
                _ => *lock.read().expect("no panic"),
            });
            assert_eq!(lock.into_inner().expect("no panic"), expected);
            Some(report)
        }
        "parking_lot" => {
            let lock = parking_lot::RwLock::new(0);
            let report = contend(options, |index| match index % 10 {
                0 => add_one(&mut lock.write()),
                _ => *lock.read(),
            });
            assert_eq!(lock.into_inner(), expected);
            Some(report.of_version(parking_lot_version()))
        }
        _ => None,
    }
}
