//! `gaggle-bench WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]` runs one
//! workload and prints one line of JSON about it.
//!
//! The measuring code runs in a goroutine, on a runtime that has started. Each result is checked, and a
//! wrong one aborts. Status 3: there is no such workload or variant. The keys that every line has are
//! `peer ver workload variant n procs backend`, one or more of `ns_per_op ops_per_s ms`, and `secs
//! peak_rss_bytes cpu_s`; a workload adds its own.

mod channels;
mod compute;
mod latency;
mod locks;
mod servers;
mod tasks;
mod timers;

use peer_common::{Options, Report, Workload, cpu_time};
use std::process::ExitCode;

/// What runs a workload; `None`: it has no such variant.
type Run = fn(&Options) -> Option<Report>;

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
    const PEER: &str = "gaggle";
    let (run, options) = match peer_common::chosen(PEER, WORKLOADS, tasks::size_of_variant) {
        Ok(chosen) => chosen,
        Err(status) => return status,
    };
    // Without a number the runtime finds its own.
    if options.processors > 0 {
        let builder = gaggle::runtime::Builder::new().max_procs(options.processors);
        builder
            .configure()
            .expect("nothing has started the runtime yet");
    }
    let cpu = cpu_time();
    let report = gaggle::run(|| run(&options)).map(|report| {
        let (processors, backend) = (
            gaggle::runtime::gomaxprocs(None),
            gaggle::runtime::backend_name(),
        );
        report
            .of_version(env!("CARGO_PKG_VERSION"))
            .on(processors, backend)
            .after_cpu_time(cpu)
    });
    peer_common::print(PEER, &options, report)
}
