//! `peer-tokio WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]`: the bench's
//! workloads on tokio's multi-threaded runtime, with tokio's own channels and locks, and by variant with
//! kanal's and flume's channels and parking_lot's locks.
//!
//! The measuring code runs in a task. Status 3: there is no such workload or variant.

mod channels;
mod compute;
mod latency;
mod locks;
mod queues;
mod servers;
mod tasks;
mod timers;

use peer_common::{Options, Report, Workload, version_of};
use std::pin::Pin;
use std::process::ExitCode;

/// A workload under way.
type Running = Pin<Box<dyn Future<Output = Report> + Send>>;
/// What starts one; `None`: it has no such variant.
type Run = fn(Options) -> Option<Running>;

const WORKLOADS: &[Workload<Run>] = &[
    Workload::new("spawn", 1_000_000, 0, tasks::spawn),
    Workload::new("yield", 5_000_000, 1, tasks::yield_now),
    Workload::new("sleepers", 100_000, 0, tasks::sleepers),
    Workload::new("parked", 1_000_000, 0, tasks::parked),
    Workload::new("noop", 1, 0, tasks::noop),
    Workload::new("pingpong", 1_000_000, 0, channels::pingpong),
    Workload::new("chan_spsc", 10_000_000, 0, channels::spsc),
    Workload::new("chan_mpmc4x4", 10_000_000, 0, channels::mpmc),
    Workload::new("select", 2_000_000, 1, channels::select_rendezvous),
    Workload::new("select_buf", 2_000_000, 1, channels::select_buffered),
    Workload::new("workerpool", 1_000_000, 0, channels::worker_pool),
    Workload::new("pipeline", 1_000_000, 0, channels::pipeline),
    Workload::new("mutex", 10_000_000, 2, locks::mutex),
    Workload::new("rwmutex", 10_000_000, 2, locks::rw_lock),
    Workload::new("fib", 32, 0, compute::fibonacci),
    Workload::new("nqueens", 11, 0, compute::queens),
    Workload::new("hogs", 100, 0, latency::hogs),
    Workload::new("blocking", 100, 2, latency::blocking),
    Workload::new("timers_stop", 1_000_000, 0, timers::stop),
    Workload::new("timers_fire", 1_000_000, 0, timers::fire),
    Workload::new("http_hello", 0, 1, servers::http_hello),
    Workload::new("http_db", 0, 1, servers::http_db),
    Workload::new("echo", 0, 1, servers::echo),
    Workload::new("tcp", 100_000, 0, servers::tcp),
];

fn main() -> ExitCode {
    peer_common::main("tokio", WORKLOADS, |run, options| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.processors)
            .enable_all()
            .build()
            .expect("the runtime starts");
        let running = run(options.clone())?;
        let report = runtime.block_on(async { tokio::spawn(running).await.expect("no panic") });
        Some(report.of_version(version(&options.variant)))
    })
}

/// tokio's version, and that of what the variant takes besides.
fn version(variant: &str) -> String {
    let tokio = version_of("tokio");
    match variant {
        "kanal" | "flume" | "parking_lot" | "axum" => {
            format!("{tokio} {variant} {}", version_of(variant))
        }
        _ => tokio.to_owned(),
    }
}
