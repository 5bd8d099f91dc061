//! How late tasks were: a million of them, or one ticker.

use crate::report::Report;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How late many tasks were.
#[derive(Debug, Default)]
pub struct Lateness {
    count: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Lateness {
    /// One that lives as long as the process.
    pub fn leaked() -> &'static Lateness {
        Box::leak(Box::default())
    }

    /// Takes one task's lateness into account.
    pub fn note(&self, late: Duration) {
        let nanoseconds = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: the count publishes them.
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        self.max_ns.fetch_max(nanoseconds, Ordering::Relaxed);
        // Release: pairs with the Acquire in `count`, after which the figures above are read.
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many were taken into account.
    pub fn count(&self) -> u64 {
        // Acquire: pairs with the Release in `note`.
        self.count.load(Ordering::Acquire)
    }

    /// Adds their mean and the latest to a report.
    pub fn add_to(&self, report: Report) -> Report {
        // Relaxed, both: published by the count.
        let mean = self.sum_ns.load(Ordering::Relaxed) as f64 / self.count() as f64;
        let max = self.max_ns.load(Ordering::Relaxed) as f64;
        report
            .with("late_mean_ms", mean / 1e6)
            .with("late_max_ms", max / 1e6)
    }
}

/// What becomes of the plan of a ticker that wants to wake at fixed times.
#[derive(Debug)]
pub struct Ticks {
    period: Duration,
    planned: Instant,
    late: Vec<Duration>,
    woken: u64,
}

impl Ticks {
    /// The first is due one period from now.
    pub fn new(period: Duration) -> Ticks {
        Ticks {
            period,
            planned: Instant::now() + period,
            late: Vec::with_capacity(100_000),
            woken: 0,
        }
    }

    /// When the next is due.
    pub fn planned(&self) -> Instant {
        self.planned
    }

    /// The ticker woke: every tick that is due was this late.
    pub fn woke(&mut self) {
        let now = Instant::now();
        self.woken += 1;
        while self.planned <= now {
            self.late.push(now - self.planned);
            self.planned += self.period;
        }
    }

    /// Adds how late the planned ticks were to a report.
    pub fn add_to(mut self, report: Report) -> Report {
        self.late.sort();
        let at = |share: f64| {
            let last = self.late.len() - 1;
            self.late[(last as f64 * share).round() as usize].as_secs_f64() * 1e6
        };
        report
            .with("late_p50_us", at(0.5))
            .with("late_p99_us", at(0.99))
            .with("late_max_us", at(1.0))
            .with("ticks_planned", self.late.len() as f64)
            .with("ticks_woken", self.woken as f64)
    }
}
