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

const fn workload(name: &'static str, size: u64, processors: usize, run: Run) -> Workload<Run> {
    Workload {
        name,
        size,
        processors,
        run,
    }
}

const WORKLOADS: &[Workload<Run>] = &[
    workload("spawn", 1_000_000, 0, tasks::spawn),
    workload("yield", 5_000_000, 1, tasks::yield_now),
    workload("sleepers", 100_000, 0, tasks::sleepers),
    workload("parked", 1_000_000, 0, tasks::parked),
    workload("noop", 1, 0, tasks::noop),
    workload("pingpong", 1_000_000, 0, channels::pingpong),
    workload("chan_spsc", 10_000_000, 0, channels::spsc),
    workload("chan_mpmc4x4", 10_000_000, 0, channels::mpmc),
    workload("select", 2_000_000, 1, channels::select_rendezvous),
    workload("select_buf", 2_000_000, 1, channels::select_buffered),
    workload("workerpool", 1_000_000, 0, channels::worker_pool),
    workload("pipeline", 1_000_000, 0, channels::pipeline),
    workload("mutex", 10_000_000, 2, locks::mutex),
    workload("rwmutex", 10_000_000, 2, locks::rw_lock),
    workload("fib", 32, 0, compute::fibonacci),
    workload("nqueens", 11, 0, compute::queens),
    workload("hogs", 100, 2, latency::hogs),
    workload("blocking", 100, 2, latency::blocking),
    workload("timers_stop", 1_000_000, 0, timers::stop),
    workload("timers_fire", 1_000_000, 0, timers::fire),
    workload("http_hello", 0, 1, servers::http_hello),
    workload("http_db", 0, 1, servers::http_db),
    workload("echo", 0, 1, servers::echo),
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
