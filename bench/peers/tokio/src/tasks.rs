//! Tasks by the million: starting, yielding, sleeping, parking.

use crate::Running;
use peer_common::{BATCH, Lateness, Options, Report, milliseconds, rss_bytes, sum_below};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// Counts tasks down and wakes who waits for the last; it lives as long as the process.
#[derive(Default)]
struct Group {
    left: AtomicU64,
    last: Notify,
}

impl Group {
    fn leaked() -> &'static Group {
        Box::leak(Box::default())
    }

    fn add(&self, count: u64) {
        // Relaxed: the spawns that follow publish it.
        self.left.fetch_add(count, Ordering::Relaxed);
    }

    fn done(&self) {
        // AcqRel: what each task did happens before the last one's wake-up.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.last.notify_one();
        }
    }

    async fn wait(&self) {
        self.last.notified().await;
        // Acquire: pairs with the AcqRel in `done`.
        assert_eq!(self.left.load(Ordering::Acquire), 0);
    }
}

/// Starts the runtime and one task; to be timed from outside.
pub fn noop(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async {
        let begin = Instant::now();
        assert_eq!(tokio::spawn(async { 42 }).await.expect("no panic"), 42);
        Report::new(begin.elapsed()).with("ms", milliseconds(begin.elapsed()))
    }))
}

/// N tasks that only say that they are done; by handles, or a batch at a time, in the variants.
pub fn spawn(options: Options) -> Option<Running> {
    let count = options.size();
    let timed = move |begin: Instant| Report::of_operations(count, begin.elapsed());
    match options.variant.as_str() {
        "default" => Some(Box::pin(async move {
            let begin = Instant::now();
            spawn_all(count).await;
            timed(begin)
        })),
        "batch" => Some(Box::pin(async move {
            let begin = Instant::now();
            let mut left = count;
            while left > 0 {
                let now = left.min(BATCH);
                spawn_all(now).await;
                left -= now;
            }
            timed(begin)
        })),
        "join" => Some(Box::pin(async move {
            let begin = Instant::now();
            let handles: Vec<_> = (0..count)
                .map(|index| tokio::spawn(async move { index }))
                .collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.expect("no panic");
            }
            let report = timed(begin);
            assert_eq!(sum, sum_below(count));
            report
        })),
        _ => None,
    }
}

async fn spawn_all(count: u64) {
    let group = Group::leaked();
    group.add(count);
    for _ in 0..count {
        tokio::spawn(async { group.done() });
    }
    group.wait().await;
}

/// Two tasks that yield N times each.
pub fn yield_now(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let count = options.size();
        let begin = Instant::now();
        let tasks = [(); 2].map(|()| {
            tokio::spawn(async move {
                let mut done = 0;
                while done < count {
                    tokio::task::yield_now().await;
                    done += 1;
                }
                done
            })
        });
        let mut done = 0;
        for task in tasks {
            done += task.await.expect("no panic");
        }
        let wall = begin.elapsed();
        assert_eq!(done, 2 * count);
        Report::of_operations(2 * count, wall)
    }))
}

/// N tasks that sleep.
pub fn sleepers(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let (count, time) = (options.size(), Duration::from_secs(options.seconds));
        let (late, group) = (Lateness::leaked(), Group::leaked());
        let before = rss_bytes();
        let begin = Instant::now();
        group.add(count);
        for _ in 0..count {
            tokio::spawn(async move {
                let begin = Instant::now();
                sleep(time).await;
                late.note(begin.elapsed().saturating_sub(time));
                group.done();
            });
        }
        let spawned = begin.elapsed();
        group.wait().await;
        let wall = begin.elapsed();
        Report::of_sleepers((count, time), (spawned, wall), before, late)
    }))
}

/// N tasks that wait for one channel to be closed.
pub fn parked(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let count = options.size();
        let (sender, receiver) = watch::channel(());
        let inside: &'static AtomicU64 = Box::leak(Box::default());
        let group = Group::leaked();
        let before = rss_bytes();
        let begin = Instant::now();
        group.add(count);
        for _ in 0..count {
            let mut receiver = receiver.clone();
            tokio::spawn(async move {
                // Relaxed: a count, published to nobody but its reader below.
                inside.fetch_add(1, Ordering::Relaxed);
                assert!(receiver.changed().await.is_err(), "nothing is ever sent");
                group.done();
            });
        }
        // Relaxed: see above.
        while inside.load(Ordering::Relaxed) < count {
            sleep(Duration::from_millis(1)).await;
        }
        let parked = begin.elapsed();
        sleep(Duration::from_millis(100)).await;
        let each = rss_bytes().saturating_sub(before) as f64 / count as f64;
        let closed = Instant::now();
        drop(sender);
        group.wait().await;
        let release = closed.elapsed();
        Report::of_parked(each, parked, release, begin.elapsed()).named("watch")
    }))
}
