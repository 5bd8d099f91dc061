//! What the operating system says about this machine, its load, and other processes.

use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// `/proc/stat` counts in hundredths of a second on every Linux that there is.
const TICK: Duration = Duration::from_millis(10);

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the machine, its programs and our sources are, as the table's head says it.
pub fn description(root: &Path) -> Map<String, Value> {
    let mut found = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        let value = value.filter(|value| !value.is_empty());
        found.insert(key.to_owned(), value.unwrap_or("unknown".to_owned()).into());
    };
    put("processor", line_of("/proc/cpuinfo", "model name"));
    put("processors", Some(processors().to_string()));
    put("memory", line_of("/proc/meminfo", "MemTotal"));
    put("kernel", said_by(Command::new("uname").arg("-sr")));
    put(
        "libc",
        said_by(Command::new("getconf").arg("GNU_LIBC_VERSION")),
    );
    put("rustc", said_by(Command::new("rustc").arg("--version")));
    let mut git = Command::new("git");
    git.current_dir(root).args(["rev-parse", "--short", "HEAD"]);
    put("commit", said_by(&mut git));
    found
}

/// The date and time now, in UTC.
pub fn now() -> String {
    said_by(Command::new("date").args(["-u", "+%FT%TZ"])).unwrap_or_default()
}

/// What stands behind the colon of the first line that begins so.
fn line_of(file: &str, begin: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(begin))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a program prints, if it ends well.
pub fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}

/// What all the processors have done since the machine began.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// For any process of this machine, and for interrupts.
    pub busy: Duration,
    /// For another machine on the same hardware.
    pub stolen: Duration,
}

impl Load {
    /// Now; nothing, where the system does not tell.
    pub fn now() -> Load {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Load::of(text.lines().next().unwrap_or_default())
    }

    /// The line: `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are in
    /// user and nice already.
    fn of(line: &str) -> Load {
        let ticks: Vec<u32> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default() * TICK;
        Load {
            busy: at(0) + at(1) + at(2) + at(5) + at(6),
            stolen: at(7),
        }
    }
}

/// The processor time of a living process.
pub fn cpu_time_of(process: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let words: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| words.get(index)?.parse::<u32>().ok();
    Some((ticks(11)? + ticks(12)?) * TICK)
}

/// The resident memory of a living process, in bytes.
pub fn rss_of(process: u32) -> Option<u64> {
    let text = line_of(&format!("/proc/{process}/status"), "VmRSS")?;
    let kibibytes: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_waiting_and_stolen() {
        let load = Load::of("cpu  100 20 30 4000 500 6 7 80 90 10");
        assert_eq!(load.busy, Duration::from_millis(1630));
        assert_eq!(load.stolen, Duration::from_millis(800));
        assert!(Load::now().busy > Duration::ZERO);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        assert!(rss_of(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_time_of(std::process::id()).is_some());
        assert_eq!(rss_of(u32::MAX), None);
    }
}
