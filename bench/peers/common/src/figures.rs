//! What the operating system says about this process.

use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// The CPU time that the whole process has used, in user mode and in the kernel.
pub fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage knows this process");
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(u64::try_from(microseconds).expect("time is not negative"))
        })
        .sum()
}

/// Resident memory now, in bytes.
pub fn rss_bytes() -> u64 {
    status("VmRSS:") * 1024
}

/// The most memory that was ever resident, in bytes.
pub fn peak_rss_bytes() -> u64 {
    status("VmHWM:") * 1024
}

/// How many OS threads there are.
pub fn threads() -> u64 {
    status("Threads:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).expect("a number")
}
