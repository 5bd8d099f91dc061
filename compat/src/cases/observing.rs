//! Spans and log lines.

use crate::at_once::{Failure, at_once, expect_same};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn sorted(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

pub fn tracing(count: usize) -> Result<(), Failure> {
    let lines = Lines::default();
    let target = lines.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time()
        .with_writer(move || target.clone())
        .init();
    at_once(count, |number| {
        let outer = tracing::info_span!("request", number).entered();
        std::thread::sleep(Duration::from_millis(2));
        let inner = tracing::info_span!("query", number).entered();
        std::thread::sleep(Duration::from_millis(2));
        tracing::info!("rows {number}");
        drop(inner);
        std::thread::sleep(Duration::from_millis(2));
        tracing::info!("sent {number}");
        drop(outer);
        tracing::info!("left {number}");
        Ok(())
    })?;
    let expected = (0..count).flat_map(|number| {
        let request = format!("request{{number={number}}}:");
        [
            format!("{request}query{{number={number}}}: rows {number}"),
            format!("{request} sent {number}"),
            format!("left {number}"),
        ]
    });
    let trimmed = lines
        .sorted()
        .into_iter()
        .map(|line| line.trim().to_string());
    expect_same(sorted(trimmed), sorted(expected))
}

pub fn log(count: usize) -> Result<(), Failure> {
    let lines = Lines::default();
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .format(|line, record| writeln!(line, "{}", record.args()))
        .target(env_logger::Target::Pipe(Box::new(lines.clone())))
        .init();
    at_once(count, |number| {
        for line in 0..20 {
            log::info!("goroutine {number}, line {line}");
        }
        Ok(())
    })?;
    let expected = (0..count)
        .flat_map(|number| (0..20).map(move |line| format!("goroutine {number}, line {line}")));
    expect_same(lines.sorted(), sorted(expected))
}
