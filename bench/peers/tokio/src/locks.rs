//! Locks, contended.

use crate::Running;
use peer_common::{Options, Report};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// T tasks, each of which does `$turn`, with `$lock` and `$index` bound, N/T times; `$total` reads the
/// counter at the end.
macro_rules! contend {
    ($options:ident, $new:expr, |$lock:ident, $index:ident| $turn:expr, |$end:ident| $total:expr, $expected:expr) => {
        Some(Box::pin(async move {
            let tasks = $options.tasks;
            let each = $options.size() / tasks;
            let shared = Arc::new($new);
            let begin = Instant::now();
            let handles: Vec<_> = (0..tasks)
                .map(|_| {
                    let $lock = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let mut sum = 0u64;
                        for $index in 0..each {
                            sum = sum.wrapping_add($turn);
                        }
                        black_box(sum);
                    })
                })
                .collect();
            for handle in handles {
                handle.await.expect("no panic");
            }
            let wall = begin.elapsed();
            let $end = shared;
            assert_eq!($total, $expected(tasks, each));
            Report::of_operations(tasks * each, wall).with("tasks", tasks as f64)
        }) as Running)
    };
}

/// Adds one and answers nothing worth adding up.
fn add_one(counter: &mut u64) -> u64 {
    *counter += 1;
    0
}

/// T tasks that lock, add one and unlock, N times in all.
pub fn mutex(options: Options) -> Option<Running> {
    let expected = |tasks: u64, each: u64| tasks * each;
    match options.variant.as_str() {
        "default" => contend!(
            options,
            tokio::sync::Mutex::new(0u64),
            |lock, _index| add_one(&mut *lock.lock().await),
            |lock| *lock.lock().await,
            expected
        ),
        "parking_lot" => contend!(
            options,
            parking_lot::Mutex::new(0u64),
            |lock, _index| add_one(&mut lock.lock()),
            |lock| *lock.lock(),
            expected
        ),
        "std" => contend!(
            options,
            std::sync::Mutex::new(0u64),
            |lock, _index| add_one(&mut lock.lock().expect("no panic")),
            |lock| *lock.lock().expect("no panic"),
            expected
        ),
        _ => None,
    }
}

/// The same with a read-write lock, one write among ten.
pub fn rw_lock(options: Options) -> Option<Running> {
    let expected = |tasks: u64, each: u64| tasks * each.div_ceil(10);
    match options.variant.as_str() {
        "default" => contend!(
            options,
            tokio::sync::RwLock::new(0u64),
            |lock, index| if index % 10 == 0 {
                add_one(&mut *lock.write().await)
            } else {
                *lock.read().await
            },
            |lock| *lock.read().await,
            expected
        ),
        "parking_lot" => contend!(
            options,
            parking_lot::RwLock::new(0u64),
            |lock, index| if index % 10 == 0 {
                add_one(&mut lock.write())
            } else {
                *lock.read()
            },
            |lock| *lock.read(),
            expected
        ),
        "std" => contend!(
            options,
            std::sync::RwLock::new(0u64),
            |lock, index| if index % 10 == 0 {
                add_one(&mut lock.write().expect("no panic"))
            } else {
                *lock.read().expect("no panic")
            },
            |lock| *lock.read().expect("no panic"),
            expected
        ),
        _ => None,
    }
}
