//! Messages: through one channel, through chains of them, and by select.

use gaggle::chan::{self, Receiver, Sender};
use gaggle::{JoinHandle, go, select};
use peer_common::{ARMS, CAPACITY, Options, Report, SIDE, STAGES, WORKERS, sum_below};
use std::time::Instant;

/// Sends the numbers of `range` and drops the sender.
fn send_all(sender: Sender<u64>, range: std::ops::Range<u64>) -> JoinHandle<()> {
    go(move || {
        for value in range {
            sender.send(value).expect("somebody receives");
        }
    })
}

/// Sums what comes until the channel is closed.
fn sum_all(receiver: Receiver<u64>) -> JoinHandle<u64> {
    go(move || receiver.iter().sum())
}

/// N round trips through two rendezvous channels.
pub fn pingpong(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (ping, pinged) = chan::unbuffered::<u64>();
    let (pong, ponged) = chan::unbuffered::<u64>();
    let begin = Instant::now();
    let echo = go(move || {
        for value in pinged.iter() {
            pong.send(value + 1).expect("the other task receives");
        }
    });
    let player = go(move || {
        let mut value = 0;
        for _ in 0..count {
            ping.send(value).expect("the other task receives");
            value = ponged.recv().expect("the other task answers");
        }
        value
    });
    let value = player.join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(value, count);
    echo.join().expect("no panic");
    Some(Report::of_operations(count, wall))
}

/// One sender, one receiver, a buffered channel.
pub fn spsc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let (sender, receiver) = chan::bounded(CAPACITY);
    let begin = Instant::now();
    drop(send_all(sender, 0..count));
    let sum = sum_all(receiver).join().expect("no panic");
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count));
    Some(Report::of_operations(count, wall))
}

/// Four senders, four receivers, one buffered channel.
pub fn mpmc(options: &Options) -> Option<Report> {
    options.default_only()?;
    let each = options.size() / SIDE;
    let (sender, receiver) = chan::bounded(CAPACITY);
    let begin = Instant::now();
    let sums: Vec<_> = (0..SIDE).map(|_| sum_all(receiver.clone())).collect();
    for _ in 0..SIDE {
        drop(send_all(sender.clone(), 0..each));
    }
    drop(sender);
    let sum: u64 = sums
        .into_iter()
        .map(|sum| sum.join().expect("no panic"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(sum, SIDE * sum_below(each));
    Some(Report::of_operations(SIDE * each, wall))
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
        (0..ARMS).map(|_| chan::bounded::<u64>(capacity)).unzip();
    for sender in &senders {
        drop(send_all(sender.clone(), 0..each));
    }
    let receiver = go(move || {
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
    Some(Report::of_operations(ARMS * each, wall))
}

/// Eight workers between a producer and the main task.
pub fn worker_pool(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let (job, jobs) = chan::bounded(CAPACITY);
    let (result, results) = chan::bounded(CAPACITY);
    for _ in 0..WORKERS {
        let (jobs, result) = (jobs.clone(), result.clone());
        drop(go(move || {
            for job in jobs.iter() {
                result.send(2 * job).expect("the main task receives");
            }
        }));
    }
    drop(send_all(job, 0..count));
    let sum: u64 = (0..count)
        .map(|_| results.recv().expect("a worker sends"))
        .sum();
    let wall = begin.elapsed();
    assert_eq!(sum, 2 * sum_below(count));
    Some(Report::of_operations(count, wall))
}

/// A source, four stages that add one, and the main task, joined by rendezvous channels.
pub fn pipeline(options: &Options) -> Option<Report> {
    options.default_only()?;
    let count = options.size();
    let begin = Instant::now();
    let (source, mut last) = chan::unbuffered();
    drop(send_all(source, 0..count));
    for _ in 0..STAGES {
        let (sender, receiver) = chan::unbuffered();
        let from = std::mem::replace(&mut last, receiver);
        drop(go(move || {
            for value in from.iter() {
                sender.send(value + 1).expect("the next stage receives");
            }
        }));
    }
    let sum: u64 = last.iter().sum();
    let wall = begin.elapsed();
    assert_eq!(sum, sum_below(count) + STAGES * count);
    Some(Report::of_operations(count, wall))
}
