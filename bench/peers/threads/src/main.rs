//! `peer-threads WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]`: the bench's
//! workloads on plain OS threads: crossbeam's channels, std's locks (by variant parking_lot's), and for the
//! trees that compute, rayon.
//!
//! On one processor the process is pinned to one core. Status 3: there is no such workload or variant.

mod channels;
mod compute;
mod latency;
mod locks;
mod servers;
mod tasks;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use peer_common::{Options, Report, Workload};
use std::process::ExitCode;

/// What does a workload; `None`: it has no such variant.
type Run = fn(&Options) -> Option<Report>;

const WORKLOADS: &[Workload<Run>] = &[
    Workload::new("spawn", 50_000, 0, tasks::spawn),
    Workload::new("yield", 500_000, 1, tasks::yield_now),
    Workload::new("sleepers", 10_000, 0, tasks::sleepers),
    Workload::new("parked", 10_000, 0, tasks::parked),
    Workload::new("noop", 1, 0, tasks::noop),
    Workload::new("pingpong", 200_000, 0, channels::pingpong),
    Workload::new("chan_spsc", 10_000_000, 0, channels::spsc),
    Workload::new("chan_mpmc4x4", 10_000_000, 0, channels::mpmc),
    Workload::new("select", 400_000, 1, channels::select_rendezvous),
    Workload::new("select_buf", 400_000, 1, channels::select_buffered),
    Workload::new("workerpool", 1_000_000, 0, channels::worker_pool),
    Workload::new("pipeline", 200_000, 0, channels::pipeline),
    Workload::new("mutex", 10_000_000, 2, locks::mutex),
    Workload::new("rwmutex", 10_000_000, 2, locks::rw_lock),
    Workload::new("fib", 32, 0, compute::fibonacci),
    Workload::new("nqueens", 11, 0, compute::queens),
    Workload::new("hogs", 100, 0, latency::hogs),
    Workload::new("blocking", 100, 2, latency::blocking),
    Workload::new("echo", 0, 1, servers::echo),
    Workload::new("tcp", 100_000, 0, servers::tcp),
];

fn main() -> ExitCode {
    peer_common::main("threads", WORKLOADS, |run, options| {
        if options.processors == 1 {
            pin();
        }
        // The measuring code is a thread like the others.
        let options = options.clone();
        let measured = std::thread::spawn(move || run(&options));
        measured.join().expect("no panic")
    })
}

/// Keeps this process's threads, those to come too, on the first core that it may use.
fn pin() {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own).expect("it is our own");
    let first = (0..CpuSet::count()).find(|core| allowed.is_set(*core) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.expect("a core runs this"))
        .expect("it fits a set");
    sched_setaffinity(own, &one).expect("it is among those allowed");
}
