//! What the demo prints: a table for people, or one JSON object.

use super::load::Outcome;
use serde::Serialize;
use std::fmt::Write as _;

/// The result of the main run, and of the same load on the threads backend.
pub(super) struct Report {
    outcome: Outcome,
    threads: Option<ThreadsBackend>,
}

#[derive(Clone, Copy, Serialize)]
struct ThreadsBackend {
    os_threads: u64,
    rss_bytes: u64,
    lost: usize,
    out_of_order: u64,
}

#[derive(Serialize)]
struct Json {
    published: usize,
    delivered: usize,
    retried: u64,
    dead: usize,
    lost: usize,
    out_of_order: u64,
    restarts: u32,
    events_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    goroutines_peak: u64,
    os_threads: u64,
    rss_bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads_backend: Option<ThreadsBackend>,
}

fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1_000_000.0)
}

impl Report {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            threads: None,
        }
    }

    /// Adds the same load on the threads backend.
    pub(super) fn compare(&mut self, threads: &Outcome) {
        self.threads = Some(ThreadsBackend {
            os_threads: threads.usage.threads_peak,
            rss_bytes: threads.usage.resident_peak_bytes,
            lost: threads.lost,
            out_of_order: threads.out_of_order,
        });
    }

    /// Whether nothing was lost, forged or out of order, in either run.
    pub(super) fn holds(&self) -> bool {
        let own = &self.outcome;
        own.lost == 0
            && own.out_of_order == 0
            && own.bad_signatures == 0
            && self
                .threads
                .is_none_or(|other| other.lost == 0 && other.out_of_order == 0)
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let own = &self.outcome;
        serde_json::to_string(&Json {
            published: own.published,
            delivered: own.delivered,
            retried: own.retried,
            dead: own.dead,
            lost: own.lost,
            out_of_order: own.out_of_order,
            restarts: own.restarts,
            events_per_s: tenths(own.events_per_s),
            p50_ms: milliseconds(own.p50),
            p99_ms: milliseconds(own.p99),
            goroutines_peak: own.usage.goroutines_peak,
            os_threads: own.usage.threads_peak,
            rss_bytes: own.usage.resident_peak_bytes,
            seconds: tenths(own.seconds),
            threads_backend: self.threads,
        })
    }

    pub(super) fn table(&self) -> String {
        let own = &self.outcome;
        let mut table = String::new();
        // Writing to a String does not fail.
        let mut row = |name: &str, value: String| {
            let _ = writeln!(table, "  {name:<34}{value:>14}");
        };
        row("published", own.published.to_string());
        row("delivered", own.delivered.to_string());
        row("retried (extra attempts)", own.retried.to_string());
        row("dead", own.dead.to_string());
        row("lost", own.lost.to_string());
        row("out of order", own.out_of_order.to_string());
        row("bad signatures", own.bad_signatures.to_string());
        row("restarts after kill -9", own.restarts.to_string());
        row(
            "events/s, first 202 to last 2xx",
            format!("{:.0}", own.events_per_s),
        );
        row(
            "p50, 202 to the receiver's 2xx",
            format!("{:.1} ms", milliseconds(own.p50)),
        );
        row("p99", format!("{:.1} ms", milliseconds(own.p99)));
        row(
            "in flight at the receiver, peak",
            own.in_flight_peak.to_string(),
        );
        row("goroutines, peak", own.usage.goroutines_peak.to_string());
        row("OS threads, peak", own.usage.threads_peak.to_string());
        row("RSS, peak", megabytes(own.usage.resident_peak_bytes));
        if let Some(threads) = &self.threads {
            row(
                "on the threads backend: OS threads",
                threads.os_threads.to_string(),
            );
            row("on the threads backend: RSS", megabytes(threads.rss_bytes));
        }
        table.push_str(
            "\nNext:\n  courier demo --no-kill --no-compare --slow-receivers 9000\n  \
             courier demo --events FILE        your own events, one JSON object a line\n  \
             courier serve --help              the service itself\n",
        );
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::Usage;
    use super::*;
    use std::time::Duration;

    fn outcome() -> Outcome {
        Outcome {
            published: 10,
            delivered: 10,
            retried: 1,
            dead: 0,
            lost: 0,
            out_of_order: 0,
            bad_signatures: 0,
            restarts: 1,
            events_per_s: 2_345.67,
            p50: Duration::from_micros(1_500),
            p99: Duration::from_millis(9),
            in_flight_peak: 3,
            usage: Usage::default(),
            seconds: 4.24,
        }
    }

    #[test]
    fn the_json_has_the_promised_keys() {
        let json: serde_json::Value =
            serde_json::from_str(&Report::new(outcome()).json().unwrap()).unwrap();
        let keys = [
            "published",
            "delivered",
            "retried",
            "dead",
            "lost",
            "out_of_order",
            "restarts",
            "events_per_s",
            "p50_ms",
            "p99_ms",
            "goroutines_peak",
            "os_threads",
            "rss_bytes",
            "seconds",
        ];
        for key in keys {
            assert!(json[key].is_number(), "{key}");
        }
        assert_eq!(json.as_object().unwrap().len(), keys.len());
        assert_eq!(json["p50_ms"], 1.5);
    }

    #[test]
    fn anything_lost_or_out_of_order_or_forged_does_not_hold() {
        assert!(Report::new(outcome()).holds());
        let spoilers: [fn(&mut Outcome); 3] = [
            |o| o.lost = 1,
            |o| o.out_of_order = 1,
            |o| o.bad_signatures = 1,
        ];
        for spoil in spoilers {
            let mut bad = outcome();
            spoil(&mut bad);
            let mut compared = Report::new(outcome());
            compared.compare(&bad);
            assert!(!compared.holds() || bad.bad_signatures > 0);
            assert!(!Report::new(bad).holds());
        }
    }
}
