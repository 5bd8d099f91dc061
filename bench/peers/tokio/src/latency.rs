//! How late a ticker is while others hog the processors, or block their threads.

use crate::Running;
use peer_common::{LOAD, Options, Report, Ticks, calibrate, hog, milliseconds, nanosleep_load};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

struct Ticker {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Ticks>,
}

impl Ticker {
    fn start(period: Duration) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut ticks = Ticks::new(period);
            // Relaxed: it carries nothing but itself; the join publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                sleep_until(ticks.planned().into()).await;
                ticks.woke();
            }
            ticks
        });
        Ticker { stop, task }
    }

    async fn finish(self, report: Report) -> Report {
        // Relaxed: see the load in `start`.
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic").add_to(report)
    }
}

/// N tasks of 100 ms of computing each, without a call, beside a ticker of 10 ms.
pub fn hogs(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let rounds = calibrate();
        let expected = hog(rounds);
        let ticker = Ticker::start(Duration::from_millis(10));
        sleep(Duration::from_millis(100)).await;
        let begin = Instant::now();
        let tasks: Vec<_> = (0..options.size())
            .map(|_| tokio::spawn(async move { hog(rounds) }))
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), expected);
        }
        let wall = begin.elapsed();
        let report = Report::new(wall).with("ms", milliseconds(wall));
        ticker.finish(report).await
    }))
}

/// N tasks that block for 100 ms beside a ticker of 1 ms: on tokio's threads for that, on a worker that
/// hands its tasks over, or on a worker that nobody told.
pub fn blocking(options: Options) -> Option<Running> {
    let (start, name): (fn() -> JoinHandle<()>, _) = match options.variant.as_str() {
        "default" => (
            || tokio::task::spawn_blocking(nanosleep_load),
            "spawn_blocking",
        ),
        "block_in_place" => (
            || tokio::spawn(async { tokio::task::block_in_place(nanosleep_load) }),
            "block_in_place",
        ),
        "inline" => (|| tokio::spawn(async { nanosleep_load() }), "inline"),
        _ => return None,
    };
    Some(Box::pin(async move {
        let ticker = Ticker::start(Duration::from_millis(1));
        sleep(Duration::from_millis(50)).await;
        let begin = Instant::now();
        let tasks: Vec<_> = (0..options.size()).map(|_| start()).collect();
        sleep(LOAD / 2).await;
        let threads = peer_common::threads();
        for task in tasks {
            task.await.expect("no panic");
        }
        let wall = begin.elapsed();
        let report = Report::new(wall)
            .with("ms", milliseconds(wall))
            .with("threads", threads as f64);
        ticker.finish(report).await.named(name)
    }))
}
