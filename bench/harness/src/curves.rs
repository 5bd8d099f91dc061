//! The curves: a workload at several loads.
//!
//! `fib_by_procs` is bound by the processors, `tcp_by_procs` and `blocking_by_procs` by the kernel and by
//! waiting: what one gains by more of them, and what the others do.

use crate::cases::{
    CHANNEL, COMPUTE, Case, GAGGLE, GO, KANAL, LATE, Peer, SERVER, TASKS, TCP, TOKIO, by,
};

/// What a curve is drawn against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The size.
    Tasks,
    /// The number of connections.
    Connections,
    /// The number of processors.
    Procs,
}

/// A workload at several loads.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Its name, and its plot's.
    pub name: &'static str,
    /// What is measured at each load; its `procs` has one number.
    pub case: Case,
    /// What varies.
    pub axis: Axis,
    /// The loads; the quick form leaves out those above `quick_max`.
    pub loads: &'static [u64],
    /// See there.
    pub quick_max: u64,
}

const POWERS: &[u64] = &[100, 1000, 10_000, 100_000, 1_000_000];
const PROCS: &[u64] = &[1, 2, 4, 8, 16];

/// Every curve.
pub const SWEEPS: &[Sweep] = &[
    Sweep {
        name: "parked_by_tasks",
        case: Case {
            workload: "parked",
            procs: &[2],
            metrics: &["rss_bytes_per_unit", "release_ms"],
            ..TASKS
        },
        axis: Axis::Tasks,
        loads: POWERS,
        quick_max: 100_000,
    },
    Sweep {
        name: "spawn_by_tasks",
        case: Case {
            workload: "spawn",
            procs: &[2],
            ..TASKS
        },
        axis: Axis::Tasks,
        loads: POWERS,
        quick_max: 1_000_000,
    },
    Sweep {
        name: "http_by_connections",
        case: Case {
            workload: "http_hello",
            contenders: &[GAGGLE, GO, by(Peer::Tokio, "default", "tokio hyper")],
            ..SERVER
        },
        axis: Axis::Connections,
        loads: &[100, 1000, 10_000],
        quick_max: 10_000,
    },
    Sweep {
        name: "fib_by_procs",
        case: Case {
            workload: "fib",
            sizes: [32; 3],
            ..COMPUTE
        },
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
    Sweep {
        name: "tcp_by_procs",
        case: TCP,
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
    Sweep {
        name: "mpmc_by_procs",
        case: Case {
            workload: "chan_mpmc4x4",
            sizes: [10_000_000, 3_000_000, 1_000_000],
            contenders: &[GAGGLE, GO, KANAL],
            ..CHANNEL
        },
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
    Sweep {
        name: "blocking_by_procs",
        case: Case {
            workload: "blocking",
            sizes: [100, 20, 20],
            metrics: &["ms", "late_p99_us"],
            contenders: &[GAGGLE, GO, TOKIO],
            ..LATE
        },
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
];
