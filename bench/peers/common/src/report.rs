//! The line of JSON.

use crate::figures;
use crate::lateness::Lateness;
use crate::options::Options;
use serde_json::{Map, Value};
use std::time::Duration;

/// What a workload measured.
#[derive(Clone, Debug)]
pub struct Report {
    seconds: f64,
    version: String,
    variant: Option<&'static str>,
    place: Option<(usize, &'static str)>,
    cpu_before: Duration,
    own: Vec<(&'static str, f64)>,
}

impl Report {
    /// Of a workload that took `wall`.
    pub fn new(wall: Duration) -> Report {
        Report {
            seconds: wall.as_secs_f64(),
            version: String::new(),
            variant: None,
            place: None,
            cpu_before: Duration::ZERO,
            own: Vec::new(),
        }
    }

    /// Of a workload that did `operations` in `wall`.
    pub fn of_operations(operations: u64, wall: Duration) -> Report {
        let (seconds, operations) = (wall.as_secs_f64(), operations as f64);
        Report::new(wall)
            .with("ns_per_op", seconds * 1e9 / operations)
            .with("ops_per_s", operations / seconds)
    }

    /// Of a workload that computed the same thing several times.
    ///
    /// # Panics
    /// Without a time.
    pub fn of_runs(mut times: Vec<Duration>) -> Report {
        times.sort();
        let middle = times.len() / 2;
        let median = (times[middle - 1] + times[middle]) / 2;
        Report::new(times.iter().sum())
            .with("ms", milliseconds(median))
            .with("ms_min", milliseconds(times[0]))
    }

    /// Of `count` tasks that slept for `time` each: started in `spawned` and ended after `wall`, with `before` bytes
    /// of memory in use at first.
    pub fn of_sleepers(
        (count, time): (u64, Duration),
        (spawned, wall): (Duration, Duration),
        before: u64,
        late: &Lateness,
    ) -> Report {
        assert_eq!(late.count(), count, "every sleeper woke once");
        let grown = figures::peak_rss_bytes().saturating_sub(before);
        let report = Report::new(wall)
            .with("ms", milliseconds(wall))
            .with("rss_bytes_per_unit", grown as f64 / count as f64)
            .with("overrun_ms", milliseconds(wall.saturating_sub(time)));
        late.add_to(report)
            .with("spawn_secs", spawned.as_secs_f64())
    }

    /// Of tasks that took `each` bytes, waited after `parked`, were released in `release`, and all that in `wall`.
    pub fn of_parked(each: f64, parked: Duration, release: Duration, wall: Duration) -> Report {
        Report::new(wall)
            .with("ms", milliseconds(wall))
            .with("rss_bytes_per_unit", each)
            .with("park_secs", parked.as_secs_f64())
            .with("release_ms", milliseconds(release))
    }

    /// Adds a key.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: f64) -> Report {
        self.own.push((key, value));
        self
    }

    /// Says what the default variant is, where the peer cannot do exactly what the workload asks for.
    #[must_use]
    pub fn named(mut self, variant: &'static str) -> Report {
        self.variant = Some(variant);
        self
    }

    /// Says which version of which library did it.
    #[must_use]
    pub fn of_version(mut self, version: impl Into<String>) -> Report {
        self.version = version.into();
        self
    }

    /// Says how many processors there really were, and on which backend.
    #[must_use]
    pub fn on(mut self, processors: usize, backend: &'static str) -> Report {
        self.place = Some((processors, backend));
        self
    }

    /// Leaves out the CPU time that had been used before.
    #[must_use]
    pub fn after_cpu_time(mut self, cpu_before: Duration) -> Report {
        self.cpu_before = cpu_before;
        self
    }

    /// The line, in the order that every peer prints.
    pub fn line(&self, peer: &str, options: &Options) -> String {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
        put("peer", peer.into());
        put("ver", self.version.as_str().into());
        put("workload", options.workload.as_str().into());
        let variant = self.variant.unwrap_or(&options.variant);
        put("variant", variant.into());
        put("n", options.n.into());
        let processors = self.place.map_or(options.processors, |(number, _)| number);
        put("procs", processors.into());
        if let Some((_, backend)) = self.place {
            put("backend", backend.into());
        }
        for (key, value) in &self.own {
            put(key, number(*value));
        }
        put("secs", number(self.seconds));
        put("peak_rss_bytes", figures::peak_rss_bytes().into());
        let cpu = figures::cpu_time() - self.cpu_before;
        put("cpu_s", number(cpu.as_secs_f64()));
        Value::Object(line).to_string()
    }
}

/// Four digits behind the point are more than any measurement here is worth.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return (value as i64).into();
    }
    ((value * 1e4).round() / 1e4).into()
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
