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

pub(crate) const fn by(peer: Peer, variant: &'static str, label: &'static str) -> Contender {
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

pub(crate) const GAGGLE: Contender = by(Peer::Gaggle, "default", "gaggle");
pub(crate) const GO: Contender = by(Peer::Go, "default", "go");
pub(crate) const TOKIO: Contender = by(Peer::Tokio, "default", "tokio");
pub(crate) const KANAL: Contender = by(Peer::Tokio, "kanal", "tokio kanal");
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
    less("rss_bytes", "idle memory", "B"),
    less("binary_bytes", "stripped binary", "B"),
    less("other_libraries", "libraries beside libc's", ""),
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

/// How large the workloads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As their figures are quoted: hours for all.
    Whole,
    /// So that all of them, with the curves, take less than half an hour.
    Standard,
    /// A minute or two for a few.
    Quick,
}

impl Scale {
    /// As the lines name it.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Whole => "whole",
            Scale::Standard => "standard",
            Scale::Quick => "quick",
        }
    }

    /// The one of the three numbers that is this scale's.
    pub fn of(self, [whole, standard, quick]: [u64; 3]) -> u64 {
        match self {
            Scale::Whole => whole,
            Scale::Standard => standard,
            Scale::Quick => quick,
        }
    }
}

/// How a workload is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program prints its line and ends.
    Program,
    /// The program is started several times and timed from outside.
    Startup,
    /// As `Startup`, but it is a server that does nothing else, and the time ends with its first answer.
    Hello,
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
    /// `--n` at each [`Scale`]; 0: it has none.
    pub sizes: [u64; 3],
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
    sizes: [0; 3],
    procs: &[1, 2],
    tasks: &[],
    metrics: &["ns_per_op"],
    contenders: &[GAGGLE, GO, TOKIO],
};

pub(crate) const TASKS: Case = Case {
    group: "tasks",
    ..PROGRAM
};

pub(crate) const CHANNEL: Case = Case {
    group: "channels",
    contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS],
    ..PROGRAM
};

const LOCK: Case = Case {
    group: "locks",
    sizes: [10_000_000, 3_000_000, 2_000_000],
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

pub(crate) const COMPUTE: Case = Case {
    group: "compute",
    metrics: &["ms"],
    contenders: &[GAGGLE, GO, TOKIO, MAY, RAYON],
    ..PROGRAM
};

pub(crate) const LATE: Case = Case {
    group: "latency",
    procs: &[2],
    sizes: [100, 30, 20],
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

pub(crate) const SERVER: Case = Case {
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

/// Of the three forms of `spawn`.
const SPAWNED: [u64; 3] = [1_000_000, 500_000, 200_000];

/// Of the forms of `blocking`: who blocks a worker takes a second for twenty.
const BLOCKED: [u64; 3] = [100, 20, 20];

/// Round trips within one process.
pub(crate) const TCP: Case = Case {
    workload: "tcp",
    group: "servers",
    kind: Kind::Program,
    sizes: [1_000_000, 50_000, 50_000],
    procs: &[1, 2],
    tasks: &[64],
    metrics: &["ns_per_op", "late_p50_us", "late_p99_us"],
    contenders: &[GAGGLE, GO, TOKIO, THREADS],
    ..PROGRAM
};

/// Every workload, in the order of the table.
pub const CASES: &[Case] = &[
    Case {
        workload: "spawn",
        sizes: SPAWNED,
        contenders: &[GAGGLE, GO, TOKIO, THREADS.less(50)],
        ..TASKS
    },
    Case {
        workload: "spawn",
        variant: "batch",
        sizes: SPAWNED,
        contenders: &[
            GAGGLE.doing("batch"),
            GO.doing("batch"),
            TOKIO.doing("batch"),
            MAY.doing("batch").less(5),
            THREADS.doing("batch").less(50),
        ],
        ..TASKS
    },
    Case {
        workload: "spawn",
        variant: "join",
        sizes: SPAWNED,
        contenders: &[
            GAGGLE.doing("join"),
            GO.doing("join"),
            TOKIO.doing("join"),
            THREADS.doing("join").less(50),
        ],
        ..TASKS
    },
    Case {
        workload: "yield",
        sizes: [5_000_000, 2_000_000, 1_000_000],
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(10)],
        ..TASKS
    },
    Case {
        workload: "pingpong",
        sizes: [1_000_000, 500_000, 200_000],
        contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS.less(25)],
        ..CHANNEL
    },
    Case {
        workload: "chan_spsc",
        sizes: [10_000_000, 5_000_000, 2_000_000],
        ..CHANNEL
    },
    Case {
        workload: "chan_mpmc4x4",
        sizes: [10_000_000, 3_000_000, 1_000_000],
        ..CHANNEL
    },
    Case {
        workload: "select",
        sizes: [2_000_000, 1_000_000, 400_000],
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "select_buf",
        sizes: [2_000_000, 1_000_000, 400_000],
        procs: &[1],
        contenders: &[GAGGLE, GO, TOKIO, MAY, THREADS.less(5)],
        ..CHANNEL
    },
    Case {
        workload: "workerpool",
        sizes: [1_000_000, 1_000_000, 200_000],
        ..CHANNEL
    },
    Case {
        workload: "pipeline",
        sizes: [1_000_000, 300_000, 100_000],
        contenders: &[GAGGLE, GO, TOKIO, KANAL, FLUME, MAY, THREADS.less(25)],
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
        sizes: [32; 3],
        ..COMPUTE
    },
    Case {
        workload: "nqueens",
        sizes: [11; 3],
        ..COMPUTE
    },
    Case {
        workload: "sleepers",
        group: "memory",
        sizes: [100_000, 100_000, 20_000],
        procs: &[2],
        metrics: &["rss_bytes_per_unit", "overrun_ms"],
        contenders: &[GAGGLE, GO, TOKIO, MAY.less(10), THREADS.less(10)],
        ..PROGRAM
    },
    Case {
        workload: "parked",
        group: "memory",
        // The curve has the million.
        sizes: [1_000_000, 100_000, 100_000],
        procs: &[2],
        metrics: &["rss_bytes_per_unit", "release_ms"],
        contenders: &[GAGGLE, GO, TOKIO, MAY.less(100), THREADS.less(100)],
        ..PROGRAM
    },
    Case {
        workload: "timers_stop",
        group: "timers",
        sizes: [1_000_000, 1_000_000, 200_000],
        procs: &[2],
        metrics: &["ns_per_op", "rss_bytes_per_unit"],
        contenders: &[GAGGLE, GO, by(Peer::Go, "newtimer", "go NewTimer"), TOKIO],
        ..PROGRAM
    },
    Case {
        workload: "timers_fire",
        group: "timers",
        sizes: [1_000_000, 200_000, 200_000],
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
        sizes: BLOCKED,
        ..LATE
    },
    Case {
        workload: "blocking",
        variant: "inline",
        sizes: BLOCKED,
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
    TCP,
    Case {
        workload: "hello",
        kind: Kind::Hello,
        group: "startup",
        procs: &[0],
        metrics: &["ms", "rss_bytes", "binary_bytes", "other_libraries"],
        contenders: &[GAGGLE, GO, by(Peer::Tokio, "default", "tokio hyper")],
        ..PROGRAM
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

/// What is run under a quota of half the machine: computing, and round trips. Each with the number of
/// processors that the runtime makes of the quota (0), with one, and with all.
pub const QUOTAS: &[Case] = &[
    Case {
        workload: "hogs",
        procs: &[0, 1, 2],
        sizes: [20, 10, 10],
        metrics: &["late_p50_us", "late_p99_us", "late_max_us", "ms"],
        contenders: &[GAGGLE, GO, TOKIO],
        ..LATE
    },
    Case {
        procs: &[0, 1, 2],
        contenders: &[GAGGLE, GO, TOKIO],
        ..TCP
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curves::SWEEPS;

    #[test]
    fn every_case_begins_with_ours_and_compares_what_is_known() {
        let swept = SWEEPS.iter().map(|sweep| &sweep.case);
        for case in CASES.iter().chain(QUOTAS).chain(swept) {
            assert_eq!(case.contenders[0].peer, Peer::Gaggle, "{}", case.workload);
            assert_eq!(case.contenders[0].label, "gaggle", "{}", case.workload);
            assert!(case.contenders.len() > 1, "{}", case.workload);
            for key in case.metrics {
                assert!(Metric::of(key).is_some(), "{}: {key}", case.workload);
            }
        }
    }

    #[test]
    fn a_smaller_scale_is_never_larger() {
        for case in CASES {
            let [whole, standard, quick] = case.sizes;
            assert!(quick <= standard && standard <= whole, "{}", case.workload);
        }
    }
}
