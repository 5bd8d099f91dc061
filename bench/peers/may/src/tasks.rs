//! Coroutines by the thousand: starting, yielding, sleeping, parking.

use may::coroutine::{sleep, yield_now};
use may::go;
use may::sync::SyncFlag;
use peer_common::{BATCH, Lateness, Options, Report, milliseconds, rss_bytes};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts coroutines down and wakes who waits for the last; it lives as long as the process.
struct Group {
    left: AtomicU64,
    last: SyncFlag,
}

impl Group {
    fn leaked(count: u64) -> &'static Group {
        Box::leak(Box::new(Group {
            left: AtomicU64::new(count),
            last: SyncFlag::new(),
        }))
    }

    fn done(&self) {
        // AcqRel: what each did happens before the last one's wake-up.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.last.fire();
        }
    }

    fn wait(&self) {
        self.last.wait();
    }
}

/// Starts one coroutine; to be timed from outside.
pub fn noop(options: &Options) -> Option<Report> {
    options.default_only()?;
    let begin = Instant::now();
    assert_eq!(go!(|| 42).join().expect("no panic"), 42);
    Some(Report::new(begin.elapsed()).with("ms", milliseconds(begin.elapsed())))
}

/// N coroutines that only say that they are done, a batch at a time: it cannot hold a million.
pub fn spawn(options: &Options) -> Option<Report> {
    if options.variant != "batch" {
        return None;
    }
    let count = options.size();
    let begin = Instant::now();
    let mut left = count;
    while left > 0 {
        let now = left.min(BATCH);
        let group = Group::leaked(now);
        for _ in 0..now {
            go!(|| group.done());
        }
        group.wait();
        left -= now;
    }
    Some(Report::of_operations(count, begin.elapsed()))
}

/// Two coroutines that yield N times each.
pub fn yield_now_twice(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let handles = [(); 2].map(|()| {
        go!(move || {
            let mut done = 0;
            while done < count {
                yield_now();
                done += 1;
            }
            done
        })
    });
    let done: u64 = handles
        .into_iter()
        .map(|handle| handle.join().expect("no panic"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(done, 2 * count);
    Some(Report::of_operations(2 * count, wall))
}

/// N coroutines that sleep.
pub fn sleepers(options: &Options) -> Option<Report> {
    options.default_only()?;
    let (count, time) = (options.size(), Duration::from_secs(options.seconds));
    let (late, group) = (Lateness::leaked(), Group::leaked(count));
    let before = rss_bytes();
    let begin = Instant::now();
    for _ in 0..count {
        go!(move || {
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

/// N coroutines that wait for one flag.
pub fn parked(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let flag: &'static SyncFlag = Box::leak(Box::new(SyncFlag::new()));
    let inside: &'static AtomicU64 = Box::leak(Box::default());
    let group = Group::leaked(count);
    let before = rss_bytes();
    let begin = Instant::now();
    for _ in 0..count {
        go!(|| {
            // Relaxed: a count, published to nobody but its reader below.
            inside.fetch_add(1, Ordering::Relaxed);
            flag.wait();
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
    let fired = Instant::now();
    flag.fire();
    group.wait();
    let release = fired.elapsed();
    let report = Report::of_parked(each, parked, release, begin.elapsed());
    Some(report.named("flag"))
}
