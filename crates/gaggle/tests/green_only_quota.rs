//! GOMAXPROCS under a real CPU quota: in a control group that the test makes, where the machine lets it.
//! Green backend only: on OS threads the number limits nothing.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const NAME: &str = "number_follows_the_quota_of_a_real_group";
/// Microseconds in which the quota may be used up.
const PERIOD: &str = "100000";

/// A control group of the test's own, taken away at its end.
struct Group {
    folder: PathBuf,
    is_version_two: bool,
}

impl Group {
    /// Makes it in the first hierarchy that lets it be made with a quota.
    fn make() -> io::Result<Group> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut last = io::Error::other("no hierarchy with quotas is mounted");
        for line in mounts.lines() {
            // proc_pid_mountinfo(5): the mount point is the fifth, the kind comes after a lone hyphen.
            let (before, after) = line.split_once(" - ").unwrap_or((line, ""));
            let point = before.split(' ').nth(4).unwrap_or_default();
            let mut words = after.split(' ');
            let is_version_two = match words.next() {
                Some("cgroup2") => true,
                Some("cgroup") if after.split([' ', ',']).any(|word| word == "cpu") => false,
                _ => continue,
            };
            let folder = Path::new(point).join(format!("gaggle-number-{}", std::process::id()));
            let group = Group {
                folder,
                is_version_two,
            };
            match fs::create_dir(&group.folder).and_then(|()| group.set_quota("50000")) {
                Ok(()) => return Ok(group),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Lets it use so many microseconds of CPU in each period.
    fn set_quota(&self, quota: &str) -> io::Result<()> {
        let write = |file: &str, text: &str| fs::write(self.folder.join(file), text);
        if self.is_version_two {
            return write("cpu.max", &format!("{quota} {PERIOD}"));
        }
        write("cpu.cfs_period_us", PERIOD)?;
        write("cpu.cfs_quota_us", quota)
    }

    fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The child's half: says GOMAXPROCS as soon as it is in the group, and each time that it changes.
fn say_numbers() {
    // The parent puts this process into the group, then writes a line.
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("the parent writes");
    assert_eq!(gaggle::runtime::backend_name(), "green");
    let mut said = 0;
    loop {
        let now = gaggle::runtime::gomaxprocs(None);
        if now != said {
            println!("\nnumber {now}");
            io::stdout().flush().expect("the parent reads");
            said = now;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn number_follows_the_quota_of_a_real_group() {
    if support::is_child(NAME) {
        return say_numbers();
    }
    if gaggle::runtime::backend_name() != "green" {
        return;
    }
    let group = match Group::make() {
        Ok(group) => group,
        Err(error) => {
            println!("skipped: no control group can be made here: {error}");
            return;
        }
    };
    // As if there were eight processors: on two, all quotas come to the same.
    let variables = [
        ("GAGGLE_MAXPROCS", None),
        ("GAGGLE_TEST_PROCESSORS", Some("8")),
    ];
    let mut child = support::child(NAME, &variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary runs again");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        group.add(child.id()).expect("the group takes it");
        let mut to_child = child.stdin.take().expect("it is piped");
        to_child.write_all(b"go\n").expect("the child reads");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut numbers = output.lines().filter_map(|line| {
            let line = line.expect("text");
            line.strip_prefix("number ")?.parse::<usize>().ok()
        });
        // Half a processor: two at least.
        assert_eq!(numbers.next(), Some(2));
        for (quota, number) in [("250000", 3), ("50000", 2), ("-1", 8)] {
            let quota = if group.is_version_two && quota == "-1" {
                "max"
            } else {
                quota
            };
            group.set_quota(quota).expect("a quota can be changed");
            assert_eq!(numbers.next(), Some(number), "quota {quota} of {PERIOD}");
        }
    }));
    child.kill().expect("it runs until it is ended");
    child.wait().expect("it was started");
    drop(group);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
