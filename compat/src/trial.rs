//! The trial of one crate: a process that does the work, and one that watches it.

use crate::at_once::{Failure, allow_many_descriptors};
use crate::cases::{self, Case};
use crate::row::{Row, WORKS};
use crate::servers::Servers;
use gaggle::runtime::{MetricValue, metrics};
use serde::Deserialize;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A trial that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How far apart the looks at the OS threads are.
const LOOK: Duration = Duration::from_millis(1);
/// What the line with the hand-offs begins with.
const HAND_OFFS: &str = "hand-offs: ";

/// Does the work of a crate in this process, and prints how many hand-offs that took.
pub fn be_tried(name: &str, goroutines: usize) -> Result<bool, Failure> {
    let case = cases::find(name).ok_or_else(|| format!("no crate named {name} is tried here"))?;
    allow_many_descriptors()?;
    let before = hand_offs();
    gaggle::run(|| (case.run)(goroutines))?;
    println!("{HAND_OFFS}{}", hand_offs() - before);
    Ok(true)
}

fn hand_offs() -> u64 {
    let name = "/gaggle/sched/hand-offs:events";
    let read = metrics()
        .into_iter()
        .find(|metric| metric.description.name == name);
    match read.map(|metric| metric.value) {
        Some(MetricValue::Uint64(number)) => number,
        _ => 0,
    }
}

/// Tries one crate in a process of its own.
///
/// # Errors
/// When the process cannot be started or watched; what the crate did is in the row.
pub fn try_one(case: &Case, goroutines: usize, servers: &Servers) -> Result<Row, Failure> {
    let backend = std::env::var("GAGGLE_BACKEND").unwrap_or_else(|_| "green".to_string());
    let output = tempfile::tempfile()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--own", case.name, "--goroutines", &goroutines.to_string()]);
    command
        .env("GAGGLE_BACKEND", backend)
        .env("GAGGLE_MAXPROCS", "2");
    command.envs(servers.environment());
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let mut threads = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        threads = threads.max(threads_of(child.id()));
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(LOOK);
    };
    let said = read_from_start(output)?;
    let verdict = match status {
        None => format!("hangs: nothing after {} s", PATIENCE.as_secs()),
        Some(status) if status.success() => WORKS.to_string(),
        Some(status) => {
            eprintln!("{}:\n{said}", case.name);
            let last = said.lines().rev().find(|line| line.starts_with("error: "));
            format!(
                "fails: {}",
                last.map_or_else(|| status.to_string(), str::to_string)
            )
        }
    };
    let hand_offs = said
        .lines()
        .find_map(|line| line.strip_prefix(HAND_OFFS)?.parse().ok());
    Ok(Row {
        name: case.name,
        version: version_of(case.name)?,
        what: case.what,
        threads,
        hand_offs: hand_offs.unwrap_or(0),
        milliseconds: began.elapsed().as_millis(),
        verdict,
    })
}

fn read_from_start(mut file: std::fs::File) -> Result<String, Failure> {
    use std::io::{Read, Seek};
    file.rewind()?;
    let mut said = Vec::new();
    file.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// How many OS threads a process has now; 0 once it has gone.
fn threads_of(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The version of a crate that this program is built with.
fn version_of(name: &str) -> Result<String, Failure> {
    let lock: Lock = toml::from_str(include_str!("../Cargo.lock"))?;
    let find = |name: &str| lock.package.iter().find(|locked| locked.name == name);
    let own = find(env!("CARGO_PKG_NAME")).ok_or("Cargo.lock does not name this program")?;
    // A dependency is a name, and its version where there are several of that name.
    let mut words = own.dependencies.iter().map(|line| line.split(' '));
    let words = words.find_map(|mut words| (words.next() == Some(name)).then_some(words));
    match words
        .ok_or_else(|| format!("{name} is no dependency"))?
        .next()
    {
        Some(version) => Ok(version.to_string()),
        None => Ok(find(name).ok_or("Cargo.lock is not whole")?.version.clone()),
    }
}
