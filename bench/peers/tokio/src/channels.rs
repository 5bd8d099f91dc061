//! Messages: through one channel, through chains of them, and by select.

use crate::Running;
use crate::queues::{Flume, Kanal, Mpsc, MutexMpsc, Queue, Receiver, Sender, SharedQueue};
use peer_common::{ARMS, CAPACITY, Options, Report, SIDE, STAGES, WORKERS, sum_below};
use std::ops::Range;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The workload `$run` on the channel that the variant names, `$own` being tokio's.
macro_rules! by_variant {
    ($options:expr, $run:ident, $own:ty) => {
        match $options.variant.as_str() {
            "default" => Some(Box::pin($run::<$own>($options))),
            "kanal" => Some(Box::pin($run::<Kanal>($options))),
            "flume" => Some(Box::pin($run::<Flume>($options))),
            _ => None,
        }
    };
}

/// N round trips through two rendezvous channels.
pub fn pingpong(options: Options) -> Option<Running> {
    by_variant!(options, pingpong_on, Mpsc)
}

/// One sender, one receiver.
pub fn spsc(options: Options) -> Option<Running> {
    by_variant!(options, spsc_on, Mpsc)
}

/// Four senders, four receivers.
pub fn mpmc(options: Options) -> Option<Running> {
    by_variant!(options, mpmc_on, MutexMpsc)
}

/// Eight workers between a producer and this task.
pub fn worker_pool(options: Options) -> Option<Running> {
    by_variant!(options, worker_pool_on, MutexMpsc)
}

/// A source, four stages that add one, and this task.
pub fn pipeline(options: Options) -> Option<Running> {
    by_variant!(options, pipeline_on, Mpsc)
}

/// The report, with the name of what stands for a rendezvous or a shared receiver.
fn report<Q: Queue>(options: &Options, begin: Instant, count: u64) -> Report {
    let report = Report::of_operations(count, begin.elapsed());
    match Q::NAME {
        Some("mpsc") if ["pingpong", "pipeline"].contains(&options.workload.as_str()) => {
            report.named("mpsc_cap1")
        }
        Some(name) => report.named(name),
        None => report,
    }
}

async fn send_all(sender: impl Sender, range: Range<u64>) {
    for value in range {
        sender.send(value).await;
    }
}

fn sum_all(mut receiver: impl Receiver) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut sum = 0;
        while let Some(value) = receiver.receive().await {
            sum += value;
        }
        sum
    })
}

async fn pingpong_on<Q: Queue>(options: Options) -> Report {
    let count = options.size();
    let (ping, mut pinged) = Q::new(0);
    let (pong, mut ponged) = Q::new(0);
    let begin = Instant::now();
    tokio::spawn(async move {
        while let Some(value) = pinged.receive().await {
            pong.send(value + 1).await;
        }
    });
    let player = tokio::spawn(async move {
        let mut value = 0;
        for _ in 0..count {
            ping.send(value).await;
            value = ponged.receive().await.expect("the other task answers");
        }
        value
    });
    let value = player.await.expect("no panic");
    let report = report::<Q>(&options, begin, count);
    assert_eq!(value, count);
    report
}

async fn spsc_on<Q: Queue>(options: Options) -> Report {
    let count = options.size();
    let (sender, receiver) = Q::new(CAPACITY);
    let begin = Instant::now();
    tokio::spawn(send_all(sender, 0..count));
    let sum = sum_all(receiver).await.expect("no panic");
    let report = report::<Q>(&options, begin, count);
    assert_eq!(sum, sum_below(count));
    report
}

async fn mpmc_on<Q: SharedQueue>(options: Options) -> Report {
    let each = options.size() / SIDE;
    let (sender, receiver) = Q::new(CAPACITY);
    let begin = Instant::now();
    let sums: Vec<_> = (0..SIDE).map(|_| sum_all(receiver.clone())).collect();
    for _ in 0..SIDE {
        tokio::spawn(send_all(sender.clone(), 0..each));
    }
    drop(sender);
    let mut sum = 0;
    for one in sums {
        sum += one.await.expect("no panic");
    }
    let report = report::<Q>(&options, begin, SIDE * each);
    assert_eq!(sum, SIDE * sum_below(each));
    report
}

async fn worker_pool_on<Q: SharedQueue>(options: Options) -> Report {
    let count = options.size();
    let begin = Instant::now();
    let (job, jobs) = Q::new(CAPACITY);
    let (result, mut results) = Q::new(CAPACITY);
    for _ in 0..WORKERS {
        let (mut jobs, result) = (jobs.clone(), result.clone());
        tokio::spawn(async move {
            while let Some(job) = jobs.receive().await {
                result.send(2 * job).await;
            }
        });
    }
    tokio::spawn(send_all(job, 0..count));
    let mut sum = 0;
    for _ in 0..count {
        sum += results.receive().await.expect("a worker sends");
    }
    let report = report::<Q>(&options, begin, count);
    assert_eq!(sum, 2 * sum_below(count));
    report
}

async fn pipeline_on<Q: Queue>(options: Options) -> Report {
    let count = options.size();
    let begin = Instant::now();
    let (source, mut last) = Q::new(0);
    tokio::spawn(send_all(source, 0..count));
    for _ in 0..STAGES {
        let (sender, receiver) = Q::new(0);
        let mut from = std::mem::replace(&mut last, receiver);
        tokio::spawn(async move {
            while let Some(value) = from.receive().await {
                sender.send(value + 1).await;
            }
        });
    }
    let mut sum = 0;
    while let Some(value) = last.receive().await {
        sum += value;
    }
    let report = report::<Q>(&options, begin, count);
    assert_eq!(sum, sum_below(count) + STAGES * count);
    report
}

/// Selects over eight channels, each for one value: tokio has no rendezvous.
pub fn select_rendezvous(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        select_over(&options, 1).await.named("mpsc_cap1")
    }))
}

/// Selects over eight buffered channels.
pub fn select_buffered(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        select_over(&options, CAPACITY).await.named("mpsc")
    }))
}

async fn select_over(options: &Options, capacity: usize) -> Report {
    let each = options.size() / ARMS;
    let begin = Instant::now();
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..ARMS).map(|_| mpsc::channel::<u64>(capacity)).unzip();
    for sender in &senders {
        tokio::spawn(send_all(sender.clone(), 0..each));
    }
    let receiver = tokio::spawn(async move {
        let [a, b, c, d, e, f, g, h] = &mut receivers[..] else {
            unreachable!("there are eight")
        };
        let mut sum = 0;
        for _ in 0..ARMS * each {
            let received = tokio::select! {
                value = a.recv() => value,
                value = b.recv() => value,
                value = c.recv() => value,
                value = d.recv() => value,
                value = e.recv() => value,
                value = f.recv() => value,
                value = g.recv() => value,
                value = h.recv() => value,
            };
            sum += received.expect("the channels stay open");
        }
        sum
    });
    let sum = receiver.await.expect("no panic");
    let wall = begin.elapsed();
    drop(senders);
    assert_eq!(sum, ARMS * sum_below(each));
    Report::of_operations(ARMS * each, wall)
}
