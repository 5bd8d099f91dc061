//! How late a ticker is while others hog the processors, or block their threads.
//!
//! may resumes who sleeps on a thread of its own for timers, so that its ticker never waits for a worker;
//! the variant `chan` has it wait for a channel, as a coroutine with anything to do would.

use may::coroutine::{JoinHandle, sleep};
use may::go;
use may::sync::mpsc;
use peer_common::{LOAD, Options, Report, Ticks, calibrate, hog, milliseconds, nanosleep_load};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

struct Ticker {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Ticks>,
}

impl Ticker {
    fn start(period: Duration, by_channel: bool) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (sender, receiver) = mpsc::channel();
        if by_channel {
            thread::spawn(move || {
                while sender.send(()).is_ok() {
                    thread::sleep(period);
                }
            });
        }
        let task = go!(move || {
            let mut ticks = Ticks::new(period);
            // Relaxed: it carries nothing but itself; the join publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                if by_channel {
                    receiver.recv().expect("the thread sends");
                } else {
                    sleep(ticks.planned().saturating_duration_since(Instant::now()));
                }
                ticks.woke();
            }
            ticks
        });
        Ticker { stop, task }
    }

    fn finish(self, report: Report) -> Report {
        // Relaxed: see the load in `start`.
        self.stop.store(true, Ordering::Relaxed);
        self.task.join().expect("no panic").add_to(report)
    }
}

fn by_channel(options: &Options) -> Option<bool> {
    match options.variant.as_str() {
        "default" => Some(false),
        "chan" => Some(true),
        _ => None,
    }
}

/// N coroutines of 100 ms of computing each, beside a ticker of 10 ms.
pub fn hogs(options: &Options) -> Option<Report> {
    let by_channel = by_channel(options)?;
    let rounds = calibrate();
    let expected = hog(rounds);
    let ticker = Ticker::start(Duration::from_millis(10), by_channel);
    sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..options.size())
        .map(|_| go!(move || hog(rounds)))
        .collect();
    for task in tasks {
        assert_eq!(task.join().expect("no panic"), expected);
    }
    let wall = begin.elapsed();
    let report = Report::new(wall).with("ms", milliseconds(wall));
    Some(ticker.finish(report))
}

/// N coroutines that block their worker for 100 ms beside a ticker of 1 ms.
pub fn blocking(options: &Options) -> Option<Report> {
    let by_channel = by_channel(options)?;
    let ticker = Ticker::start(Duration::from_millis(1), by_channel);
    sleep(Duration::from_millis(50));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..options.size()).map(|_| go!(nanosleep_load)).collect();
    sleep(LOAD / 2);
    let threads = peer_common::threads();
    for task in tasks {
        task.join().expect("no panic");
    }
    let wall = begin.elapsed();
    let report = Report::new(wall)
        .with("ms", milliseconds(wall))
        .with("threads", threads as f64);
    Some(ticker.finish(report))
}
