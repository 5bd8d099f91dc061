//! How late a ticker is while others hog the processors, or block their threads.

use peer_common::{LOAD, Options, Report, Ticks, calibrate, hog, milliseconds, nanosleep_load};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

struct Ticker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Ticks>,
}

impl Ticker {
    fn start(period: Duration) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            let mut ticks = Ticks::new(period);
            // Relaxed: it carries nothing but itself; the join publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                sleep(ticks.planned().saturating_duration_since(Instant::now()));
                ticks.woke();
            }
            ticks
        });
        Ticker { stop, thread }
    }

    fn finish(self, report: Report) -> Report {
        // Relaxed: see the load in `start`.
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic").add_to(report)
    }
}

/// N threads of 100 ms of computing each, beside a ticker of 10 ms.
pub fn hogs(options: &Options) -> Option<Report> {
    options.default_only()?;
    let rounds = calibrate();
    let expected = hog(rounds);
    let ticker = Ticker::start(Duration::from_millis(10));
    sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let threads: Vec<_> = (0..options.size())
        .map(|_| spawn(move || hog(rounds)))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().expect("no panic"), expected);
    }
    let wall = begin.elapsed();
    let report = Report::new(wall).with("ms", milliseconds(wall));
    Some(ticker.finish(report))
}

/// N threads that block for 100 ms beside a ticker of 1 ms.
pub fn blocking(options: &Options) -> Option<Report> {
    options.default_only()?;
    let ticker = Ticker::start(Duration::from_millis(1));
    sleep(Duration::from_millis(50));
    let begin = Instant::now();
    let threads: Vec<_> = (0..options.size()).map(|_| spawn(nanosleep_load)).collect();
    sleep(LOAD / 2);
    let alive = peer_common::threads();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let wall = begin.elapsed();
    let report = Report::new(wall)
        .with("ms", milliseconds(wall))
        .with("threads", alive as f64);
    Some(ticker.finish(report))
}
