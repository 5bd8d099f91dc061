//! `gaggle-bench WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]` runs one
//! workload and prints one line of JSON about it.
//!
//! The measuring code runs in a goroutine, on a runtime that has started. Each result is checked, and a
//! wrong one aborts. Status 3: there is no such workload or variant. The keys that every line has are
//! `peer ver workload variant n procs backend`, one or more of `ns_per_op ops_per_s ms`, and `secs
//! peak_rss_bytes cpu_s`; a workload adds its own.

mod channels;
mod compute;
mod figures;
mod latency;
mod locks;
mod options;
mod report;
mod servers;
mod tasks;
mod timers;

use options::Options;
use report::Report;
use std::process::ExitCode;

/// The status that says that a workload or variant is unknown.
const UNKNOWN: u8 = 3;

/// What runs a workload; `None`: it has no such variant.
type Run = fn(&Options) -> Option<Report>;

/// Every workload: its name, its size, its number of processors unless told otherwise (0: as many as
/// the machine has), and its function.
const WORKLOADS: &[(&str, u64, usize, Run)] = &[
    ("spawn", 1_000_000, 0, tasks::spawn),
    ("yield", 5_000_000, 1, tasks::yield_now),
    ("sleepers", 100_000, 0, tasks::sleepers),
    ("parked", 1_000_000, 0, tasks::parked),
    ("noop", 1, 0, tasks::noop),
    ("pingpong", 1_000_000, 0, channels::pingpong),
    ("chan_spsc", 10_000_000, 0, channels::spsc),
    ("chan_mpmc4x4", 10_000_000, 0, channels::mpmc),
    ("select", 2_000_000, 1, channels::select_rendezvous),
    ("select_buf", 2_000_000, 1, channels::select_buffered),
    ("workerpool", 1_000_000, 0, channels::worker_pool),
    ("pipeline", 1_000_000, 0, channels::pipeline),
    ("mutex", 10_000_000, 2, locks::mutex),
    ("rwmutex", 10_000_000, 2, locks::rw_lock),
    ("fib", 32, 0, compute::fibonacci),
    ("nqueens", 11, 0, compute::queens),
    ("hogs", 100, 2, latency::hogs),
    ("blocking", 100, 2, latency::blocking),
    ("timers_stop", 1_000_000, 0, timers::stop),
    ("timers_fire", 1_000_000, 0, timers::fire),
    ("http_hello", 0, 1, servers::http_hello),
    ("http_db", 0, 1, servers::http_db),
    ("echo", 0, 1, servers::echo),
];

fn main() -> ExitCode {
    let options = match Options::from_arguments() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("gaggle-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let found = WORKLOADS
        .iter()
        .find(|(name, ..)| *name == options.workload);
    let Some(&(_, size, processors, run)) = found else {
        let names: Vec<_> = WORKLOADS.iter().map(|(name, ..)| *name).collect();
        eprintln!(
            "gaggle-bench: no workload {:?}; there are: {}",
            options.workload,
            names.join(" ")
        );
        return ExitCode::from(UNKNOWN);
    };
    let options = Options {
        n: options
            .n
            .or(tasks::size_of_variant(&options))
            .or(Some(size)),
        ..options
    };
    let processors = options
        .processors
        .or((processors > 0).then_some(processors));
    if let Some(processors) = processors {
        let builder = gaggle::runtime::Builder::new().max_procs(processors);
        builder
            .configure()
            .expect("nothing has started the runtime yet");
    }
    let cpu = figures::cpu_time();
    let Some(report) = gaggle::run(|| run(&options)) else {
        eprintln!(
            "gaggle-bench: {} has no variant {:?}",
            options.workload, options.variant
        );
        return ExitCode::from(UNKNOWN);
    };
    println!("{}", report.line(&options, figures::cpu_time() - cpu));
    ExitCode::SUCCESS
}
