//! `peer-may WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]`: the bench's
//! workloads on may's stackful coroutines, with its own channels and locks, and may_minihttp for HTTP.
//!
//! may has no bounded channel: `unbounded` in the variant says that its senders never wait, so that its
//! memory compares with nobody's. The measuring code runs in a coroutine. Status 3: there is no such
//! workload or variant.

mod channels;
mod compute;
mod latency;
mod locks;
mod servers;
mod tasks;

use may::coroutine::Builder;
use may::go;
use peer_common::{Options, Report, Workload, version_of};
use std::process::ExitCode;

/// What does a workload; `None`: it has no such variant.
type Run = fn(&Options) -> Option<Report>;

/// The stack of the coroutine that measures, in words.
const MEASURING_STACK_WORDS: usize = 1 << 16;

/// How many stacks there are from the start where many coroutines come and go: with may's own 100, trees
/// and batches would measure `mmap`.
const STACKS_KEPT: usize = 20_000;

const WORKLOADS: &[Workload<Run>] = &[
    Workload::new("spawn", 200_000, 0, tasks::spawn),
    Workload::new("yield", 5_000_000, 1, tasks::yield_now_twice),
    Workload::new("sleepers", 10_000, 0, tasks::sleepers),
    Workload::new("parked", 10_000, 0, tasks::parked),
    Workload::new("noop", 1, 0, tasks::noop),
    Workload::new("pingpong", 1_000_000, 0, channels::pingpong),
    Workload::new("chan_spsc", 10_000_000, 0, channels::spsc),
    Workload::new("chan_mpmc4x4", 10_000_000, 0, channels::mpmc),
    Workload::new("select", 2_000_000, 1, channels::select),
    Workload::new("select_buf", 2_000_000, 1, channels::select),
    Workload::new("workerpool", 1_000_000, 0, channels::worker_pool),
    Workload::new("pipeline", 1_000_000, 0, channels::pipeline),
    Workload::new("mutex", 10_000_000, 2, locks::mutex),
    Workload::new("rwmutex", 10_000_000, 2, locks::rw_lock),
    Workload::new("fib", 32, 0, compute::fibonacci),
    Workload::new("nqueens", 11, 0, compute::queens),
    Workload::new("hogs", 100, 0, latency::hogs),
    Workload::new("blocking", 100, 2, latency::blocking),
    Workload::new("http_hello", 0, 1, servers::http_hello),
    Workload::new("http_db", 0, 1, servers::http_db),
    Workload::new("echo", 0, 1, servers::echo),
];

fn main() -> ExitCode {
    peer_common::main("may", WORKLOADS, |run, options| {
        may::config().set_workers(options.processors);
        if ["spawn", "fib", "nqueens"].contains(&options.workload.as_str()) {
            may::config().set_pool_capacity(STACKS_KEPT);
        }
        let options = options.clone();
        let builder = Builder::new().stack_size(MEASURING_STACK_WORDS);
        let measured = go!(builder, move || run(&options)).expect("a coroutine can be started");
        let report = measured.join().expect("no panic")?;
        Some(report.of_version(version_of("may")))
    })
}
