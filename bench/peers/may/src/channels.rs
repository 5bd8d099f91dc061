//! Messages through may's channels, all of them unbounded, and by its `cqueue`, which is its select.

use may::sync::{mpmc, mpsc};
use may::{cqueue, go};
use peer_common::{ARMS, Options, Report, SIDE, STAGES, WORKERS, sum_below};
use std::time::Instant;

const UNBOUNDED: &str = "unbounded";

/// N round trips through two channels.
pub fn pingpong(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (ping, pinged) = mpsc::channel::<u64>();
    let (pong, ponged) = mpsc::channel::<u64>();
    let begin = Instant::now();
    go!(move || {
        for value in pinged.iter() {
            pong.send(value + 1).expect("the other coroutine receives");
        }
    });
    let player = go!(move || {
        let mut value = 0;
        for _ in 0..count {
            ping.send(value).expect("the other coroutine receives");
            value = ponged.recv().expect("the other coroutine answers");
        }
        value
    });
    let value = player.join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(value, count);
    Some(Report::of_operations(count, wall).named(UNBOUNDED))
}

/// One sender, one receiver.
pub fn spsc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (sender, receiver) = mpsc::channel::<u64>();
    let begin = Instant::now();
    go!(move || {
        for value in 0..count {
            sender.send(value).expect("somebody receives");
        }
    });
    let sum = go!(move || receiver.iter().sum::<u64>());
    let sum = sum.join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count));
    Some(Report::of_operations(count, wall).named(UNBOUNDED))
}

/// Four senders, four receivers, of which each takes a quarter.
pub fn mpmc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / SIDE;
    let (sender, receiver) = mpmc::channel::<u64>();
    let begin = Instant::now();
    let sums: Vec<_> = (0..SIDE)
        .map(|_| {
            let receiver = receiver.clone();
            go!(move || {
                let received = (0..each).map(|_| receiver.recv().expect("somebody sends"));
                received.sum::<u64>()
            })
        })
        .collect();
    for _ in 0..SIDE {
        let sender = sender.clone();
        go!(move || {
            for value in 0..each {
                sender.send(value).expect("somebody receives");
            }
        });
    }
    let sums = sums.into_iter().map(|sum| sum.join().expect("no panic"));
    let sum: u64 = sums.sum();
    let wall = begin.elapsed();
    assert_eq!(sum, SIDE * sum_below(each));
    Some(Report::of_operations(SIDE * each, wall).named(UNBOUNDED))
}

/// Selects over eight channels: a `cqueue` with a coroutine for each.
pub fn select(options: &Options) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / ARMS;
    let begin = Instant::now();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| mpsc::channel::<u64>()).unzip();
    for sender in &senders {
        let sender = sender.clone();
        go!(move || {
            for value in 0..each {
                sender.send(value).expect("somebody receives");
            }
        });
    }
    let receiver = go!(move || {
        let mut sum = 0;
        cqueue::scope(|queue| {
            for (token, receiver) in receivers.into_iter().enumerate() {
                go!(queue, token, move |events| {
                    for _ in 0..each {
                        let value = receiver.recv().expect("the channels stay open");
                        events.send(usize::try_from(value).expect("64 bits"));
                    }
                });
            }
            for _ in 0..ARMS * each {
                let event = queue.poll(None).expect("a value is to come");
                sum += event.extra as u64;
            }
        });
        sum
    });
    let sum = receiver.join().expect("no panic");
    let wall = begin.elapsed();
    drop(senders);
    assert_eq!(sum, ARMS * sum_below(each));
    Some(Report::of_operations(ARMS * each, wall).named("cqueue-unbounded"))
}

/// Eight workers, of which each takes an eighth, between a producer and this coroutine.
pub fn worker_pool(options: &Options) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / WORKERS;
    let count = each * WORKERS;
    let begin = Instant::now();
    let (job, jobs) = mpmc::channel::<u64>();
    let (result, results) = mpsc::channel::<u64>();
    for _ in 0..WORKERS {
        let (jobs, result) = (jobs.clone(), result.clone());
        go!(move || {
            for _ in 0..each {
                let job = jobs.recv().expect("the producer sends");
                result.send(2 * job).expect("the main task receives");
            }
        });
    }
    go!(move || {
        for value in 0..count {
            job.send(value).expect("a worker receives");
        }
    });
    let received = (0..count).map(|_| results.recv().expect("a worker sends"));
    let sum: u64 = received.sum();
    let wall = begin.elapsed();
    assert_eq!(sum, 2 * sum_below(count));
    Some(Report::of_operations(count, wall).named(UNBOUNDED))
}

/// A source, four stages that add one, and this coroutine.
pub fn pipeline(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let (source, mut last) = mpsc::channel::<u64>();
    go!(move || {
        for value in 0..count {
            source.send(value).expect("the next stage receives");
        }
    });
    for _ in 0..STAGES {
        let (sender, receiver) = mpsc::channel();
        let from = std::mem::replace(&mut last, receiver);
        go!(move || {
            for value in from.iter() {
                sender.send(value + 1).expect("the next stage receives");
            }
        });
    }
    let sum: u64 = last.iter().sum();
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count) + STAGES * count);
    Some(Report::of_operations(count, wall).named(UNBOUNDED))
}
