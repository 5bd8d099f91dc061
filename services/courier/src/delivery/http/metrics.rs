//! What `/metrics` shows, in the Prometheus text format (version 0.0.4).

use crate::usecase::counters::{Counter, Counters};
use crate::usecase::dispatch::Dispatcher;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the peaks are looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// The operating system's view of this process, from `/proc/self/status`. Zeros where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ProcessStatus {
    threads: u64,
    resident_bytes: u64,
    resident_peak_bytes: u64,
}

impl ProcessStatus {
    fn read() -> Self {
        std::fs::read_to_string("/proc/self/status")
            .map(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let number = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .unwrap_or(0_u64)
        };
        Self {
            threads: number("Threads:"),
            resident_bytes: number("VmRSS:") * 1024,
            resident_peak_bytes: number("VmHWM:") * 1024,
        }
    }
}

/// The numbers of the use cases and of the process.
pub struct Metrics {
    counters: Arc<Counters>,
    dispatcher: Arc<Dispatcher>,
    goroutines_peak: AtomicU64,
    threads_peak: AtomicU64,
}

impl Metrics {
    /// Shows these.
    pub fn new(counters: Arc<Counters>, dispatcher: Arc<Dispatcher>) -> Self {
        Self {
            counters,
            dispatcher,
            goroutines_peak: AtomicU64::new(0),
            threads_peak: AtomicU64::new(0),
        }
    }

    /// Looks at the peaks from time to time, for ever. Blocks this goroutine.
    pub fn sample(&self) {
        loop {
            self.look();
            std::thread::sleep(SAMPLE);
        }
    }

    fn look(&self) -> (u64, ProcessStatus) {
        let goroutines = gaggle::runtime::num_goroutine() as u64;
        let status = ProcessStatus::read();
        // Relaxed: statistics; they order nothing and have no partner.
        self.goroutines_peak
            .fetch_max(goroutines, Ordering::Relaxed);
        self.threads_peak
            .fetch_max(status.threads, Ordering::Relaxed);
        (goroutines, status)
    }

    /// The page.
    pub fn text(&self, unfinished: u64) -> String {
        let mut page = String::with_capacity(4_096);
        for (name, help, value) in self.counters() {
            sample(&mut page, name, "counter", help, value);
        }
        for (name, help, value) in self.gauges(unfinished) {
            sample(&mut page, name, "gauge", help, value);
        }
        page
    }

    fn counters(&self) -> [Row; 11] {
        let c = &self.counters;
        let row = |name, help, counter: &Counter| (name, help, counter.value());
        [
            row(
                "courier_messages_published_total",
                "Messages stored.",
                &c.messages_published,
            ),
            row(
                "courier_messages_replayed_total",
                "Requests answered from an earlier one with the same Idempotency-Key.",
                &c.messages_replayed,
            ),
            row(
                "courier_queue_full_total",
                "Messages refused because the queue was full.",
                &c.queue_full,
            ),
            row(
                "courier_attempts_total",
                "Attempts to deliver that were begun.",
                &c.attempts,
            ),
            row(
                "courier_delivered_total",
                "Deliveries answered 2xx.",
                &c.delivered,
            ),
            row(
                "courier_attempts_failed_total",
                "Attempts that failed and will be made again.",
                &c.attempts_failed,
            ),
            row("courier_dead_total", "Deliveries given up.", &c.dead),
            row(
                "courier_endpoints_disabled_total",
                "Endpoints disabled by a 410.",
                &c.endpoints_disabled,
            ),
            row(
                "courier_stale_results_total",
                "Results that came after their lease was taken back.",
                &c.stale_results,
            ),
            row(
                "courier_store_errors_total",
                "Store operations of the dispatcher that failed.",
                &c.store_errors,
            ),
            row(
                "courier_stuck_lanes_total",
                "Lanes that the sweeper found stuck.",
                &c.stuck_lanes,
            ),
        ]
    }

    fn gauges(&self, unfinished: u64) -> [Row; 8] {
        let (goroutines, status) = self.look();
        // Relaxed: statistics; they order nothing and have no partner.
        let goroutines_peak = self.goroutines_peak.load(Ordering::Relaxed);
        let threads_peak = self.threads_peak.load(Ordering::Relaxed);
        [
            (
                "courier_deliveries_unfinished",
                "Deliveries that are neither delivered nor dead.",
                unfinished,
            ),
            (
                "courier_deliveries_in_flight",
                "Deliveries that a worker has.",
                self.dispatcher.in_flight() as u64,
            ),
            ("gaggle_goroutines", "Goroutines that exist.", goroutines),
            (
                "gaggle_goroutines_peak",
                "The most goroutines seen at once.",
                goroutines_peak,
            ),
            (
                "process_threads",
                "Threads of the operating system.",
                status.threads,
            ),
            (
                "process_threads_peak",
                "The most threads of the operating system seen at once.",
                threads_peak,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory.",
                status.resident_bytes,
            ),
            (
                "process_resident_memory_peak_bytes",
                "The most resident memory at once.",
                status.resident_peak_bytes,
            ),
        ]
    }
}

/// A metric's name, its help and its value.
type Row = (&'static str, &'static str, u64);

fn sample(page: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String does not fail.
    let _ = writeln!(
        page,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_is_read_by_name() {
        let text = "Name:\tcourier\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t7\n";
        assert_eq!(
            ProcessStatus::parse(text),
            ProcessStatus {
                threads: 7,
                resident_bytes: 10_240 * 1024,
                resident_peak_bytes: 20_480 * 1024,
            }
        );
        assert_eq!(ProcessStatus::parse("nonsense"), ProcessStatus::default());
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let status = ProcessStatus::read();
        assert!(status.threads >= 1);
        assert!(status.resident_peak_bytes >= status.resident_bytes / 2);
        assert!(status.resident_bytes > 0);
    }
}
