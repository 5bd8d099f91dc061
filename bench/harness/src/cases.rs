//! What is measured: each workload's sizes, its contenders, and what of its line is compared.

use std::fmt;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// `gaggle-bench`.
    Gaggle,
    /// `peers/go`.
    Go,
    /// `peers/tokio`.
    Tokio,
    /// `peers/may`.
    May,
    /// `peers/threads`.
    Threads,
}

impl Peer {
    /// All, ours first.
    pub const ALL: [Peer; 5] = [
        Peer::Gaggle,
        Peer::Go,
        Peer::Tokio,
        Peer::May,
        Peer::Threads,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Gaggle => "gaggle",
            Peer::Go => "go",
            Peer::Tokio => "tokio",
            Peer::May => "may",
            Peer::Threads => "threads",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program and the way in which it does a workload.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The program.
    pub peer: Peer,
    /// Its `--variant`.
    pub variant: &'static str,
    /// What tables and plots call it.
    pub label: &'static str,
    /// Its size is the workload's divided by this, where the whole would take minutes or is too many.
    pub divisor: u64,
}

const fn by(peer: Peer, variant: &'static str, label: &'static str) -> Contender {
    Contender {
        peer,
        variant,
        label,
        divisor: 1,
    }
}

impl Contender {
    const fn less(self, divisor: u64) -> Contender {
        Contender { divisor, ..self }
    }

    const fn doing(self, variant: &'static str) -> Contender {
        Contender { variant, ..self }
    }
}

const GAGGLE: Contender = by(Peer::Gaggle, "default", "gaggle");
const GO: Contender = by(Peer::Go, "default", "go");
const TOKIO: Contender = by(Peer::Tokio, "default", "tokio");
const KANAL: Contender = by(Peer::Tokio, "kanal", "tokio kanal");
const FLUME: Contender = by(Peer::Tokio, "flume", "tokio flume");
const PARKING_LOT: Contender = by(Peer::Tokio, "parking_lot", "tokio parking_lot");
const MAY: Contender = by(Peer::May, "default", "may");
const THREADS: Contender = by(Peer::Threads, "default", "threads");
const THREADS_PARKING_LOT: Contender = by(Peer::Threads, "parking_lot", "threads parking_lot");
const RAYON: Contender = by(Peer::Threads, "default", "rayon");

/// What a figure is.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its key in the line.
    pub key: &'static str,
    /// What it is, in a few words.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// Every figure that is compared.
pub const METRICS: &[Metric] = &[
    less("ns_per_op", "time each", "ns"),
    less("ms", "time", "ms"),
    less("rss_bytes_per_unit", "memory each", "B"),
    less("overrun_ms", "overrun", "ms"),
    less("release_ms", "release", "ms"),
    less("late_p50_us", "p50 late", "us"),
    less("late_p99_us", "p99 late", "us"),
    less("late_max_us", "max late", "us"),
    less("late_max_ms", "max late", "ms"),
    less("cpu_us_per_op", "server CPU each", "us"),
    less("peak_rss_bytes", "peak memory", "B"),
    less("binary_bytes", "stripped binary", "B"),
    Metric {
        key: "ops_per_s",
        name: "rate",
        unit: "1/s",
        more_is_better: true,
    },
];

const fn less(key: &'static str, name: &'static str, unit: &'static str) -> Metric {
    Metric {
        key,
        name,
        unit,
        more_is_better: false,
    }
}

impl Metric {
    /// The figure of this key.
    pub fn of(key: &str) -> Option<Metric> {
        METRICS.iter().copied().find(|metric| metric.key == key)
    }
}

/// How a workload is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program prints its line and ends.
    Program,
    /// The program is started several times and timed from outside.
    Startup,
    /// A server that wrk loads.
    Http,
    /// A server that our own client loads.
    Echo,
}

/// A workload with its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name on the command line.
    pub workload: &'static str,
    /// Ours and the peers' variant, if not the default: part of the case's name.
    pub variant: &'static str,
    /// How it is run.
    pub kind: Kind,
    /// Which plot it is in.
    pub group: &'static str,
    /// `--n`, whole and quick; 0: it has none.
    pub sizes: (u64, u64),
    /// `--procs`, one case each.
    pub procs: &'static [u64],
    /// `--tasks`, or connections; one case each, if any.
    pub tasks: &'static [u64],
    /// The keys that are compared, the most important first.
    pub metrics: &'static [&'static str],
    /// Who takes part, ours first.
    pub contenders: &'static [Contender],
}

const PROGRAM: Case = Case {
    workload: "",
    variant: "",
    kind: Kind::Program,
    group: "",
    sizes: (0, 0),
    procs: &[1, 2],
    tasks: &[],
    metrics: &["ns_per_op"],
    contenders: &[GAGGLE, GO, TOKIO],
};

const TASKS: Case = Case {
    group: "tasks",
    ..PROGRAM
};

const CHANNEL: Case = Case {
    group: "channels",
    contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS],
    ..PROGRAM
};

const LOCK: Case = Case {
    group: "locks",
    sizes: (10_000_000, 2_000_000),
    procs: &[2],
    tasks: &[8, 64],
    contenders: &[
        GAGGLE,
        GO,
        TOKIO,
        PARKING_LOT,
        MAY,
        THREADS,
        THREADS_PARKING_LOT,
    ],
    ..PROGRAM
};

const COMPUTE: Case = Case {
    group: "compute",
    metrics: &["ms"],
    contenders: &[GAGGLE, GO, TOKIO, MAY, RAYON],
    ..PROGRAM
};

const LATE: Case = Case {
    group: "latency",
    procs: &[2],
    sizes: (100, 20),
    metrics: &["late_p50_us", "late_p99_us", "late_max_us", "ms"],
    contenders: &[
        GAGGLE,
        GO,
        TOKIO,
        MAY,
        by(Peer::May, "chan", "may chan"),
        THREADS,
    ],
    ..PROGRAM
};

const SERVER: Case = Case {
    kind: Kind::Http,
    group: "servers",
    procs: &[1],
    metrics: &["ops_per_s", "late_p50_us", "late_p99_us", "cpu_us_per_op"],
    contenders: &[
        GAGGLE,
        GO,
        by(Peer::Tokio, "default", "tokio hyper"),
        by(Peer::Tokio, "axum", "tokio axum"),
        MAY,
    ],
    ..PROGRAM
};

/// Every workload, in the order of the table.
pub const CASES: &[Case] = &[
    Case {
        workload: "spawn",
        sizes: (1_000_000, 200_000),
        contenders: &[GAGGLE, GO, TOKIO, THREADS.less(20)],
        ..TASKS
    },
    Case {
        workload: "spawn",
        variant: "batch",
        sizes: (1_000_000, 200_000),
        contenders: &[
            GAGGLE.doing("batch"),
            GO.doing("batch"),
            TOKIO.doing("batch"),
            MAY.doing("batch").less(5),
            THREADS.doing("batch").less(20),
        ],
        ..TASKS
    },
    Case {
        workload: "spawn",
        variant: "join",
        sizes: (1_000_000, 200_000),
        contenders: &[
            GAGGLE.doing("join"),
            GO.doing("join"),
            TOKIO.doing("join"),
            THREADS.doing("join").less(20),
        ],
        ..TASKS
    },
    Case {
        workload: "yield",
        sizes: (5_000_000, 1_000_000),
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(10)],
        ..TASKS
    },
    Case {
        workload: "pingpong",
        sizes: (1_000_000, 200_000),
        contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "chan_spsc",
        sizes: (10_000_000, 2_000_000),
        ..CHANNEL
    },
    Case {
        workload: "chan_mpmc4x4",
        sizes: (10_000_000, 1_000_000),
        ..CHANNEL
    },
    Case {
        workload: "select",
        sizes: (2_000_000, 400_000),
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "select_buf",
        sizes: (2_000_000, 400_000),
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "workerpool",
        sizes: (1_000_000, 200_000),
        ..CHANNEL
    },
    Case {
        workload: "pipeline",
        sizes: (1_000_000, 100_000),
        contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "mutex",
        ..LOCK
    },
    Case {
        workload: "rwmutex",
        ..LOCK
    },
    Case {
        workload: "fib",
        sizes: (32, 32),
        ..COMPUTE
    },
    Case {
        workload: "nqueens",
        sizes: (11, 11),
        ..COMPUTE
    },
    Case {
        workload: "sleepers",
        group: "memory",
        sizes: (100_000, 20_000),
        procs: &[2],
        metrics: &["rss_bytes_per_unit", "overrun_ms"],
        contenders: &[GAGGLE, GO, TOKIO, MAY.less(10), THREADS.less(10)],
        ..PROGRAM
    },
    Case {
        workload: "parked",
        group: "memory",
        sizes: (1_000_000, 100_000),
        procs: &[2],
        metrics: &["rss_bytes_per_unit", "release_ms"],
        contenders: &[GAGGLE, GO, TOKIO, MAY.less(100), THREADS.less(100)],
        ..PROGRAM
    },
    Case {
        workload: "timers_stop",
        group: "timers",
        sizes: (1_000_000, 200_000),
        procs: &[2],
        metrics: &["ns_per_op", "rss_bytes_per_unit"],
        contenders: &[GAGGLE, GO, by(Peer::Go, "newtimer", "go NewTimer"), TOKIO],
        ..PROGRAM
    },
    Case {
        workload: "timers_fire",
        group: "timers",
        sizes: (1_000_000, 200_000),
        procs: &[2],
        metrics: &["ns_per_op", "late_max_ms"],
        contenders: &[
            GAGGLE,
            by(Peer::Gaggle, "after_func", "gaggle after_func"),
            by(Peer::Go, "sleep", "go sleep"),
            by(Peer::Go, "default", "go AfterFunc"),
            TOKIO,
        ],
        ..PROGRAM
    },
    Case {
        workload: "hogs",
        ..LATE
    },
    Case {
        workload: "blocking",
        ..LATE
    },
    Case {
        workload: "blocking",
        variant: "inline",
        contenders: &[
            GAGGLE.doing("inline"),
            GO.doing("inline"),
            TOKIO.doing("inline"),
        ],
        ..LATE
    },
    Case {
        workload: "http_hello",
        tasks: &[64, 1000],
        ..SERVER
    },
    Case {
        workload: "http_db",
        tasks: &[10_000],
        ..SERVER
    },
    Case {
        workload: "echo",
        kind: Kind::Echo,
        tasks: &[10_000],
        metrics: &["rss_bytes_per_unit", "ns_per_op", "late_p99_us"],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS],
        ..SERVER
    },
    Case {
        workload: "startup",
        kind: Kind::Startup,
        group: "startup",
        procs: &[2],
        metrics: &["ms", "peak_rss_bytes", "binary_bytes"],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS],
        ..PROGRAM
    },
];

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
            sizes: (32, 32),
            ..COMPUTE
        },
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
    Sweep {
        name: "mpmc_by_procs",
        case: Case {
            workload: "chan_mpmc4x4",
            sizes: (10_000_000, 1_000_000),
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
            metrics: &["ms", "late_p99_us"],
            contenders: &[GAGGLE, GO, TOKIO],
            ..LATE
        },
        axis: Axis::Procs,
        loads: PROCS,
        quick_max: 16,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_begins_with_ours_and_compares_what_is_known() {
        let swept = SWEEPS.iter().map(|sweep| &sweep.case);
        for case in CASES.iter().chain(swept) {
            assert_eq!(case.contenders[0].peer, Peer::Gaggle, "{}", case.workload);
            assert_eq!(case.contenders[0].label, "gaggle", "{}", case.workload);
            assert!(case.contenders.len() > 1, "{}", case.workload);
            for key in case.metrics {
                assert!(Metric::of(key).is_some(), "{}: {key}", case.workload);
            }
        }
    }

    #[test]
    fn quick_is_never_larger() {
        for case in CASES {
            assert!(case.sizes.1 <= case.sizes.0, "{}", case.workload);
        }
    }
}
