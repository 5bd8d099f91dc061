//! Goroutines by the million: starting, yielding, sleeping, parking.

use crate::figures;
use crate::options::{DEFAULT_VARIANT, Options};
use crate::report::{Report, milliseconds};
use gaggle::chan;
use gaggle::sync::WaitGroup;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many goroutines of the `batch` variant are alive at once.
const BATCH: u64 = 10_000;

/// A wait group that lives as long as the process, so that a task holds a plain pointer to it.
fn wait_group() -> &'static WaitGroup {
    Box::leak(Box::new(WaitGroup::new()))
}

/// `count` as a wait group takes it.
fn delta(count: u64) -> i32 {
    i32::try_from(count).expect("a wait group counts to 2^31")
}

/// Starts the runtime and one task.
pub fn noop(options: &Options) -> Option<Report> {
    options.default_only()?;
    let begin = Instant::now();
    assert_eq!(gaggle::go(|| 42).join().expect("no panic"), 42);
    Some(Report::new(begin.elapsed()).with("ms", milliseconds(begin.elapsed())))
}

/// N tasks that only say that they are done; by handles, or a batch at a time, in the variants.
pub fn spawn(options: &Options) -> Option<Report> {
    let count = options.size();
    let wall = match options.variant.as_str() {
        "default" => spawn_all(count),
        "join" => spawn_and_join(count),
        "batch" => {
            let begin = Instant::now();
            let mut left = count;
            while left > 0 {
                let now = left.min(BATCH);
                spawn_all(now);
                left -= now;
            }
            begin.elapsed()
        }
        _ => return None,
    };
    Some(Report::of_operations(count, wall))
}

fn spawn_all(count: u64) -> Duration {
    let group = wait_group();
    let begin = Instant::now();
    group.add(delta(count));
    for _ in 0..count {
        drop(gaggle::go(|| group.done()));
    }
    group.wait();
    begin.elapsed()
}

fn spawn_and_join(count: u64) -> Duration {
    let begin = Instant::now();
    let handles: Vec<_> = (0..count).map(|index| gaggle::go(move || index)).collect();
    let sum: u64 = handles
        .into_iter()
        .map(|handle| handle.join().expect("no panic"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(sum, count * (count - 1) / 2, "every task ran once");
    wall
}

/// Two tasks that yield N times each.
pub fn yield_now(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            gaggle::go(move || {
                let mut done = 0;
                while done < count {
                    gaggle::yield_now();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u64 = tasks
        .into_iter()
        .map(|task| task.join().expect("no panic"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(done, 2 * count);
    Some(Report::of_operations(2 * count, wall))
}

/// N tasks that sleep ten seconds (or `--secs`); in the variant `join` each is joined by its handle.
pub fn sleepers(options: &Options) -> Option<Report> {
    let join = match options.variant.as_str() {
        DEFAULT_VARIANT => false,
        "join" => true,
        _ => return None,
    };
    let (count, time) = (
        options.size(),
        Duration::from_secs(options.seconds.unwrap_or(10)),
    );
    let late: &'static Lateness = Box::leak(Box::new(Lateness::default()));
    let group = wait_group();
    let before = figures::rss_bytes();
    let begin = Instant::now();
    group.add(delta(count));
    let mut handles = Vec::new();
    for index in 0..count {
        let handle = gaggle::go(move || {
            let begin = Instant::now();
            sleep(time);
            late.note(begin.elapsed().saturating_sub(time));
            group.done();
            index
        });
        if join {
            handles.push(handle);
        }
    }
    let spawned = begin.elapsed();
    group.wait();
    if join {
        let joined = handles.into_iter().map(|handle| handle.join());
        let sum: u64 = joined.map(|index| index.expect("no panic")).sum();
        assert_eq!(sum, count * (count - 1) / 2, "each was joined once");
    }
    let wall = begin.elapsed();
    assert_eq!(late.count(), count, "every sleeper woke once");
    let each = figures::peak_rss_bytes().saturating_sub(before) as f64 / count as f64;
    Some(
        Report::new(wall)
            .with("ms", milliseconds(wall))
            .with("rss_bytes_per_unit", each)
            .with("overrun_ms", milliseconds(wall.saturating_sub(time)))
            .with("late_mean_ms", late.mean_milliseconds())
            .with("late_max_ms", late.max_milliseconds())
            .with("spawn_secs", spawned.as_secs_f64()),
    )
}

/// How deep the tasks of the variant `deep` recurse, and how many there are unless told otherwise.
const DEEP_BYTES: usize = 32 << 10;
const DEEP_COUNT: u64 = 100_000;
/// What a task that was deep once may keep, and how long the rest may take to go.
const DEEP_KEPT_BYTES: f64 = 10_000.0;
const DEEP_PATIENCE: Duration = Duration::from_secs(10);

/// The size of a variant that is not its workload's.
pub fn size_of_variant(options: &Options) -> Option<u64> {
    let deep = options.workload == "parked" && options.variant == "deep";
    deep.then_some(DEEP_COUNT)
}

/// Uses `bytes` of stack.
#[inline(never)]
fn recurse(bytes: usize) -> u64 {
    let frame = std::hint::black_box([bytes as u64; 128]);
    let below = match bytes.checked_sub(size_of_val(&frame)) {
        Some(left) => recurse(left),
        None => 0,
    };
    below + std::hint::black_box(&frame)[0]
}

/// N tasks that wait for one channel to be closed; in the variant `deep` each used 32 KiB of stack
/// before, and the time is told until the memory has gone.
pub fn parked(options: &Options) -> Option<Report> {
    let (count, deep) = match options.variant.as_str() {
        DEFAULT_VARIANT => (options.size(), false),
        "deep" => (options.size(), true),
        _ => return None,
    };
    let (sender, receiver) = chan::unbuffered::<u64>();
    let receiver: &'static chan::Receiver<u64> = Box::leak(Box::new(receiver));
    let inside: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    let group = wait_group();
    let before = figures::rss_bytes();
    let begin = Instant::now();
    group.add(delta(count));
    for _ in 0..count {
        drop(gaggle::go(move || {
            if deep {
                std::hint::black_box(recurse(DEEP_BYTES));
            }
            // Relaxed: a count, published to nobody but its reader below.
            inside.fetch_add(1, Ordering::Relaxed);
            assert!(receiver.recv().is_err(), "nothing is ever sent");
            group.done();
        }));
    }
    // Relaxed: see above.
    while inside.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(1));
    }
    let parked = begin.elapsed();
    let each_now = || figures::rss_bytes().saturating_sub(before) as f64 / count as f64;
    let deepest = each_now();
    let idle = Instant::now();
    while deep && each_now() > DEEP_KEPT_BYTES && idle.elapsed() < DEEP_PATIENCE {
        sleep(Duration::from_millis(50));
    }
    let given_back = idle.elapsed();
    sleep(Duration::from_millis(100));
    let each = each_now();
    let closed = Instant::now();
    sender.close();
    group.wait();
    let release = closed.elapsed();
    let report = Report::new(begin.elapsed())
        .with("ms", milliseconds(begin.elapsed()))
        .with("rss_bytes_per_unit", each)
        .with("park_secs", parked.as_secs_f64())
        .with("release_ms", milliseconds(release));
    Some(if deep {
        report
            .with("rss_bytes_per_unit_before", deepest)
            .with("give_back_secs", given_back.as_secs_f64())
    } else {
        report
    })
}

/// How late many tasks were.
#[derive(Debug, Default)]
pub struct Lateness {
    count: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Lateness {
    /// Takes one task's lateness into account.
    pub fn note(&self, late: Duration) {
        let nanoseconds = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: the count publishes them.
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        self.max_ns.fetch_max(nanoseconds, Ordering::Relaxed);
        // Release: pairs with the Acquire in `count`, after which the figures above are read.
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many were taken into account.
    pub fn count(&self) -> u64 {
        // Acquire: pairs with the Release in `note`.
        self.count.load(Ordering::Acquire)
    }

    /// Their mean.
    pub fn mean_milliseconds(&self) -> f64 {
        // Relaxed, here and below: published by the count.
        self.sum_ns.load(Ordering::Relaxed) as f64 / self.count() as f64 / 1e6
    }

    /// The latest.
    pub fn max_milliseconds(&self) -> f64 {
        self.max_ns.load(Ordering::Relaxed) as f64 / 1e6
    }
}
