//! Figures of the runtime, by name: what Go's `runtime/metrics` package is.

use crate::backend::{self, Dispatch};
use gaggle_core::contract::Runtime;

/// What a metric's value is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A number.
    Uint64(u64),
    /// How often something was within each of several ranges.
    Histogram(MetricHistogram),
}

/// How often something was within each of several ranges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricHistogram {
    /// How often it was in each range.
    pub counts: Vec<u64>,
    /// The ranges' bounds, one more than there are ranges: range `n` is from `bounds[n]` to below
    /// `bounds[n + 1]`. The last may be infinite. Empty where the backend does not measure.
    pub bounds: Vec<f64>,
}

/// What kind of value a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// [`MetricValue::Uint64`].
    Uint64,
    /// [`MetricValue::Histogram`].
    Histogram,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// Its name, with its unit after the colon: Go's where the meaning is the same, else beginning with
    /// `/gaggle/`.
    pub name: &'static str,
    /// What it measures, in a sentence.
    pub description: &'static str,
    /// What kind of value it has.
    pub kind: MetricKind,
    /// Whether it only ever grows.
    pub cumulative: bool,
}

/// One metric, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What it is.
    pub description: MetricDescription,
    /// What it was when it was read.
    pub value: MetricValue,
}

type Read = fn() -> MetricValue;

const fn number(
    name: &'static str,
    cumulative: bool,
    description: &'static str,
    read: Read,
) -> (MetricDescription, Read) {
    let kind = MetricKind::Uint64;
    let description = MetricDescription {
        name,
        description,
        kind,
        cumulative,
    };
    (description, read)
}

const ALL: [(MetricDescription, Read); 10] = [
    number(
        "/gaggle/panics/unseen:goroutines",
        true,
        "Count of goroutines that panicked and were joined by nobody.",
        || MetricValue::Uint64(crate::join::unseen_panics()),
    ),
    number(
        "/gaggle/sched/hand-offs:events",
        true,
        "Count of processors that went on without the OS thread of a blocking call; 0 on the threads backend.",
        || MetricValue::Uint64(backend::counts().hand_offs),
    ),
    number(
        "/gaggle/sched/migrations:events",
        true,
        "Count of goroutines that went on on another OS thread than before; 0 on the threads backend.",
        || MetricValue::Uint64(backend::counts().migrations),
    ),
    number(
        "/gaggle/sched/revocations:events",
        true,
        "Count of processors taken from system calls that no hook saw; 0 on the threads backend.",
        || MetricValue::Uint64(backend::counts().revocations),
    ),
    number(
        "/gaggle/sched/suspensions:events",
        true,
        "Count of goroutines suspended because they overran their turn; 0 on the threads backend.",
        || MetricValue::Uint64(backend::counts().suspensions),
    ),
    number(
        "/sched/gomaxprocs:threads",
        false,
        "The current setting of gomaxprocs: how many processors run goroutines at the same time.",
        || MetricValue::Uint64(Dispatch::processors() as u64),
    ),
    number(
        "/sched/goroutines-created:goroutines",
        true,
        "Count of goroutines created since the start.",
        || MetricValue::Uint64(backend::counts().created),
    ),
    number(
        "/sched/goroutines:goroutines",
        false,
        "Count of live goroutines.",
        || MetricValue::Uint64(Dispatch::task_count() as u64),
    ),
    (
        MetricDescription {
            name: "/sched/latencies:seconds",
            description: "Distribution of the time that goroutines have spent in the scheduler in a runnable state before running, of a sample of them; empty on the threads backend.",
            kind: MetricKind::Histogram,
            cumulative: true,
        },
        || {
            let (counts, bounds) = backend::latencies();
            MetricValue::Histogram(MetricHistogram { counts, bounds })
        },
    ),
    number(
        "/sched/threads/total:threads",
        false,
        "Count of the OS threads that run goroutines, or are kept for that.",
        || MetricValue::Uint64(backend::counts().threads),
    ),
];

/// What metrics there are, in the order of their names. Never blocks.
///
/// # Examples
/// ```
/// let all = gaggle::runtime::metric_descriptions();
/// assert!(all.iter().any(|metric| metric.name == "/sched/goroutines:goroutines"));
/// ```
pub fn metric_descriptions() -> Vec<MetricDescription> {
    ALL.iter().map(|&(description, _)| description).collect()
}

/// Reads all metrics, in the order of their names. Never blocks; each is read by itself, so they are no
/// picture of one instant.
///
/// Names and meanings are those of Go's `runtime/metrics` where it has the metric.
///
/// # Examples
/// ```
/// use gaggle::runtime::{MetricValue, metrics};
///
/// let live = metrics().into_iter().find(|metric| metric.description.name == "/sched/goroutines:goroutines");
/// assert!(matches!(live.unwrap().value, MetricValue::Uint64(_)));
/// ```
pub fn metrics() -> Vec<Metric> {
    let read = |&(description, read): &(MetricDescription, Read)| Metric {
        description,
        value: read(),
    };
    ALL.iter().map(read).collect()
}
