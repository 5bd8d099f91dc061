//! The line of JSON.

use crate::figures;
use crate::options::Options;
use serde_json::{Map, Value};
use std::time::Duration;

/// What a workload measured.
#[derive(Debug)]
pub struct Report {
    seconds: f64,
    own: Vec<(&'static str, f64)>,
}

impl Report {
    /// Of a workload that took `wall`.
    pub fn new(wall: Duration) -> Report {
        Report {
            seconds: wall.as_secs_f64(),
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

    /// Adds a key.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: f64) -> Report {
        self.own.push((key, value));
        self
    }

    /// The line, in the order that every peer prints.
    pub fn line(&self, options: &Options, cpu: Duration) -> String {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
        put("peer", "gaggle".into());
        put("ver", env!("CARGO_PKG_VERSION").into());
        put("workload", options.workload.as_str().into());
        put("variant", options.variant.as_str().into());
        put("n", options.n.into());
        put("procs", gaggle::runtime::gomaxprocs(None).into());
        put("backend", gaggle::runtime::backend_name().into());
        for (key, value) in &self.own {
            put(key, number(*value));
        }
        put("secs", number(self.seconds));
        put("peak_rss_bytes", figures::peak_rss_bytes().into());
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
