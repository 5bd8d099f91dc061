//! Threads by the thousand: starting, yielding, sleeping, parking.

use peer_common::{BATCH, Lateness, Options, Report, milliseconds, rss_bytes, sum_below};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Counts threads down and wakes who waits for the last; it lives as long as the process.
#[derive(Default)]
struct Group {
    left: AtomicU64,
    last: Mutex<bool>,
    ended: Condvar,
}

impl Group {
    fn leaked(count: u64) -> &'static Group {
        Box::leak(Box::new(Group {
            left: AtomicU64::new(count),
            ..Group::default()
        }))
    }

    fn done(&self) {
        // AcqRel: what each thread did happens before the last one's wake-up.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.last.lock().expect("no panic") = true;
            self.ended.notify_all();
        }
    }

    fn wait(&self) {
        let last = self.last.lock().expect("no panic");
        let last = self.ended.wait_while(last, |last| !*last);
        assert!(*last.expect("no panic"));
    }
}

/// Starts one thread; to be timed from outside.
pub fn noop(options: &Options) -> Option<Report> {
    options.default_only()?;
    let begin = Instant::now();
    assert_eq!(thread::spawn(|| 42).join().expect("no panic"), 42);
    Some(Report::new(begin.elapsed()).with("ms", milliseconds(begin.elapsed())))
}

/// N threads that only say that they are done; by handles, or a batch at a time, in the variants.
pub fn spawn_threads(options: &Options) -> Option<Duration> {
    let count = options.size();
    let begin = Instant::now();
    match options.variant.as_str() {
        "default" => spawn_all(count),
        "batch" => {
            let mut left = count;
            while left > 0 {
                let now = left.min(BATCH);
                spawn_all(now);
                left -= now;
            }
        }
        "join" => {
            let handles: Vec<_> = (0..count)
                .map(|index| thread::spawn(move || index))
                .collect();
            let values = handles
                .into_iter()
                .map(|handle| handle.join().expect("no panic"));
            assert_eq!(values.sum::<u64>(), sum_below(count));
        }
        _ => return None,
    }
    Some(begin.elapsed())
}

/// See [`spawn_threads`].
pub fn spawn(options: &Options) -> Option<Report> {
    let wall = spawn_threads(options)?;
    Some(Report::of_operations(options.size(), wall))
}

fn spawn_all(count: u64) {
    let group = Group::leaked(count);
    for _ in 0..count {
        thread::spawn(|| group.done());
    }
    group.wait();
}

/// Two threads that yield N times each.
pub fn yield_now(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let threads = [(); 2].map(|()| {
        thread::spawn(move || {
            let mut done = 0;
            while done < count {
                thread::yield_now();
                done += 1;
            }
            done
        })
    });
    let done: u64 = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(done, 2 * count);
    Some(Report::of_operations(2 * count, wall))
}

/// N threads that sleep.
pub fn sleepers(options: &Options) -> Option<Report> {
    options.default_only()?;
    let (count, time) = (options.size(), Duration::from_secs(options.seconds));
    let (late, group) = (Lateness::leaked(), Group::leaked(count));
    let before = rss_bytes();
    let begin = Instant::now();
    for _ in 0..count {
        thread::spawn(move || {
            let begin = Instant::now();
            sleep(time);
            late.note(begin.elapsed().saturating_sub(time));
            group.done();
        });
    }
    let spawned = begin.elapsed();
    group.wait();
    let wall = begin.elapsed();
    let times = (spawned, wall);
    Some(Report::of_sleepers((count, time), times, before, late))
}

/// N threads that wait for one condition variable.
pub fn parked(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let closed: &'static (Mutex<bool>, Condvar) = Box::leak(Box::default());
    let inside: &'static AtomicU64 = Box::leak(Box::default());
    let group = Group::leaked(count);
    let before = rss_bytes();
    let begin = Instant::now();
    for _ in 0..count {
        thread::spawn(|| {
            // Relaxed: a count, published to nobody but its reader below.
            inside.fetch_add(1, Ordering::Relaxed);
            let open = closed.0.lock().expect("no panic");
            drop(closed.1.wait_while(open, |closed| !*closed));
            group.done();
        });
    }
    // Relaxed: see above.
    while inside.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(1));
    }
    let parked = begin.elapsed();
    sleep(Duration::from_millis(100));
    let each = rss_bytes().saturating_sub(before) as f64 / count as f64;
    let begin_release = Instant::now();
    *closed.0.lock().expect("no panic") = true;
    closed.1.notify_all();
    group.wait();
    let release = begin_release.elapsed();
    let report = Report::of_parked(each, parked, release, begin.elapsed());
    Some(report.named("condvar"))
}
