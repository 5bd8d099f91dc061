//! Messages: through one channel, through chains of them, and by select; all by crossbeam.

use crossbeam_channel::{Receiver, Sender, bounded, select};
use peer_common::{ARMS, CAPACITY, Options, Report, SIDE, STAGES, WORKERS, sum_below, version_of};
use std::ops::Range;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// The report of `count` operations.
fn report(count: u64, wall: Duration) -> Report {
    let version = format!("crossbeam-channel {}", version_of("crossbeam-channel"));
    Report::of_operations(count, wall).of_version(version)
}

fn send_all(sender: Sender<u64>, range: Range<u64>) -> JoinHandle<()> {
    spawn(move || {
        for value in range {
            sender.send(value).expect("somebody receives");
        }
    })
}

fn sum_all(receiver: Receiver<u64>) -> JoinHandle<u64> {
    spawn(move || receiver.iter().sum())
}

/// N round trips through two rendezvous channels.
pub fn pingpong(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (ping, pinged) = bounded::<u64>(0);
    let (pong, ponged) = bounded::<u64>(0);
    let begin = Instant::now();
    spawn(move || {
        for value in pinged.iter() {
            pong.send(value + 1).expect("the other thread receives");
        }
    });
    let player = spawn(move || {
        let mut value = 0;
        for _ in 0..count {
            ping.send(value).expect("the other thread receives");
            value = ponged.recv().expect("the other thread answers");
        }
        value
    });
    let value = player.join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(value, count);
    Some(report(count, wall))
}

/// One sender, one receiver.
pub fn spsc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (sender, receiver) = bounded(CAPACITY);
    let begin = Instant::now();
    drop(send_all(sender, 0..count));
    let sum = sum_all(receiver).join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count));
    Some(report(count, wall))
}

/// Four senders, four receivers.
pub fn mpmc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / SIDE;
    let (sender, receiver) = bounded(CAPACITY);
    let begin = Instant::now();
    let sums: Vec<_> = (0..SIDE).map(|_| sum_all(receiver.clone())).collect();
    for _ in 0..SIDE {
        drop(send_all(sender.clone(), 0..each));
    }
    drop(sender);
    let sums = sums.into_iter().map(|sum| sum.join().expect("no panic"));
    let sum: u64 = sums.sum();
    let wall = begin.elapsed();
    assert_eq!(sum, SIDE * sum_below(each));
    Some(report(SIDE * each, wall))
}

/// Selects over eight rendezvous channels.
pub fn select_rendezvous(options: &Options) -> Option<Report> {
    select_over(options, 0)
}

/// Selects over eight buffered channels.
pub fn select_buffered(options: &Options) -> Option<Report> {
    select_over(options, CAPACITY)
}

fn select_over(options: &Options, capacity: usize) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / ARMS;
    let begin = Instant::now();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..ARMS).map(|_| bounded::<u64>(capacity)).unzip();
    for sender in &senders {
        drop(send_all(sender.clone(), 0..each));
    }
    let receiver = spawn(move || {
        let [a, b, c, d, e, f, g, h] = &receivers[..] else {
            unreachable!("there are eight")
        };
        let mut sum = 0;
        for _ in 0..ARMS * each {
            let received = select! {
                recv(a) -> value => value,
                recv(b) -> value => value,
                recv(c) -> value => value,
                recv(d) -> value => value,
                recv(e) -> value => value,
                recv(f) -> value => value,
                recv(g) -> value => value,
                recv(h) -> value => value,
            };
            sum += received.expect("the channels stay open");
        }
        sum
    });
    let sum = receiver.join().expect("no panic");
    let wall = begin.elapsed();
    drop(senders);
    assert_eq!(sum, ARMS * sum_below(each));
    Some(report(ARMS * each, wall))
}

/// Eight workers between a producer and this thread.
pub fn worker_pool(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let (job, jobs) = bounded(CAPACITY);
    let (result, results) = bounded(CAPACITY);
    for _ in 0..WORKERS {
        let (jobs, result): (Receiver<u64>, Sender<u64>) = (jobs.clone(), result.clone());
        spawn(move || {
            for job in jobs.iter() {
                result.send(2 * job).expect("the main thread receives");
            }
        });
    }
    drop(send_all(job, 0..count));
    let received = (0..count).map(|_| results.recv().expect("a worker sends"));
    let sum: u64 = received.sum();
    let wall = begin.elapsed();
    assert_eq!(sum, 2 * sum_below(count));
    Some(report(count, wall))
}

/// A source, four stages that add one, and this thread.
pub fn pipeline(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let (source, mut last) = bounded(0);
    drop(send_all(source, 0..count));
    for _ in 0..STAGES {
        let (sender, receiver) = bounded(0);
        let from = std::mem::replace(&mut last, receiver);
        spawn(move || {
            for value in from.iter() {
                sender.send(value + 1).expect("the next stage receives");
            }
        });
    }
    let sum: u64 = last.iter().sum();
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count) + STAGES * count);
    Some(report(count, wall))
}
