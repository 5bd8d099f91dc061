//! Goroutines by the million: starting, yielding, sleeping, parking.

use gaggle::chan;
use gaggle::sync::WaitGroup;
use peer_common::{BATCH, DEFAULT_VARIANT, Lateness, Options, Report, milliseconds};
use peer_common::{rss_bytes, sum_below};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

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
    assert_eq!(sum, sum_below(count), "every task ran once");
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
    let (count, time) = (options.size(), Duration::from_secs(options.seconds));
    let late = Lateness::leaked();
    let group = wait_group();
    let before = rss_bytes();
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
        assert_eq!(sum, sum_below(count), "each was joined once");
    }
    let wall = begin.elapsed();
    let times = (spawned, wall);
    Some(Report::of_sleepers((count, time), times, before, late))
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
    let before = rss_bytes();
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
    let each_now = || rss_bytes().saturating_sub(before) as f64 / count as f64;
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
    let report = Report::of_parked(each, parked, release, begin.elapsed());
    Some(if deep {
        report
            .with("rss_bytes_per_unit_before", deepest)
            .with("give_back_secs", given_back.as_secs_f64())
    } else {
        report
    })
}
