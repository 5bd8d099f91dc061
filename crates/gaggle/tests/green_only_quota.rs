//! GOMAXPROCS under a real CPU quota: in a control group that the test makes, where the machine lets it.
//! Green backend only: on OS threads the number limits nothing.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Microseconds in which the quota may be used up.
const PERIOD: &str = "100000";

/// Which version a hierarchy of control groups is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group of the test's own, taken away at its end.
struct Group {
    folder: PathBuf,
    version: Version,
    /// Version 2: the file by which the hierarchy's root lets its groups have quotas, where it did not before.
    enabled_by: Option<PathBuf>,
}

impl Group {
    /// Makes it in the first mounted hierarchy of that version that lets it be made with a quota.
    fn make(version: Version) -> io::Result<Group> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut last = io::Error::other("no such hierarchy is mounted");
        for line in mounts.lines() {
            // proc_pid_mountinfo(5): the mount point is the fifth, the kind comes after a lone hyphen.
            let (before, after) = line.split_once(" - ").unwrap_or((line, ""));
            let point = before.split(' ').nth(4).unwrap_or_default();
            let mut words = after.split(' ');
            let found = match words.next() {
                Some("cgroup2") => Version::Two,
                Some("cgroup") if after.split([' ', ',']).any(|word| word == "cpu") => Version::One,
                _ => continue,
            };
            if found == version {
                match Self::make_at(Path::new(point), version) {
                    Ok(group) => return Ok(group),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// As [`Group::make`], in the hierarchy of version 2, mounted where this thread and its children alone see
    /// it: there it may be written to although a container shows it read-only.
    fn make_in_private() -> io::Result<Group> {
        let point = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cgroup2");
        fs::create_dir_all(&point)?;
        let answer = |failed: i32| match failed {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        // SAFETY: it concerns the calling thread, which the test has started for this.
        answer(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        let (root, nothing) = (c"/".as_ptr(), std::ptr::null());
        // SAFETY: strings that end in a zero byte; the kernel ignores the others for these flags.
        answer(unsafe { libc::mount(nothing, root, nothing, flags, std::ptr::null()) })?;
        let kind = c"cgroup2".as_ptr();
        let target = std::ffi::CString::new(point.as_os_str().as_encoded_bytes())?;
        // SAFETY: as above.
        answer(unsafe { libc::mount(kind, target.as_ptr(), kind, 0, std::ptr::null()) })?;
        // The mount ends with this thread and its children.
        Self::make_at(&point, Version::Two)
    }

    fn make_at(point: &Path, version: Version) -> io::Result<Group> {
        let mut group = Group {
            folder: point.join(format!("gaggle-number-{}", std::process::id())),
            version,
            enabled_by: None,
        };
        if version == Version::Two {
            let controllers = fs::read_to_string(point.join("cgroup.controllers"))?;
            let has_cpu = |names: &str| names.split_whitespace().any(|name| name == "cpu");
            if !has_cpu(&controllers) {
                return Err(io::Error::other(format!(
                    "its controllers are [{}]: version 1 has `cpu`",
                    controllers.trim()
                )));
            }
            let switch = point.join("cgroup.subtree_control");
            if !has_cpu(&fs::read_to_string(&switch)?) {
                fs::write(&switch, "+cpu")?;
                group.enabled_by = Some(switch);
            }
        }
        fs::create_dir(&group.folder)?;
        group.set_quota("50000")?;
        Ok(group)
    }

    /// Lets it use so many microseconds of CPU in each period.
    fn set_quota(&self, quota: &str) -> io::Result<()> {
        let write = |file: &str, text: &str| fs::write(self.folder.join(file), text);
        match (self.version, quota) {
            (Version::Two, "-1") => write("cpu.max", &format!("max {PERIOD}")),
            (Version::Two, _) => write("cpu.max", &format!("{quota} {PERIOD}")),
            (Version::One, _) => {
                write("cpu.cfs_period_us", PERIOD)?;
                write("cpu.cfs_quota_us", quota)
            }
        }
    }

    fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
        if let Some(switch) = &self.enabled_by {
            let _ = fs::write(switch, "-cpu");
        }
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

/// The parent's half: a child in `group` says GOMAXPROCS, which is what the quota makes it, each time.
fn follows(name: &str, group: &Group) {
    // As if there were eight processors: on two, all quotas come to the same.
    let variables = [
        ("GAGGLE_MAXPROCS", None),
        ("GAGGLE_TEST_PROCESSORS", Some("8")),
    ];
    let mut child = support::child(name, &variables)
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
            group.set_quota(quota).expect("a quota can be changed");
            assert_eq!(numbers.next(), Some(number), "quota {quota} of {PERIOD}");
        }
    }));
    child.kill().expect("it runs until it is ended");
    child.wait().expect("it was started");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn number_follows_the_quota_of_a_real_group() {
    let name = "number_follows_the_quota_of_a_real_group";
    if support::is_child(name) {
        say_numbers();
    } else if gaggle::runtime::backend_name() == "green" {
        match Group::make(Version::One) {
            Ok(group) => follows(name, &group),
            Err(error) => println!("skipped: cgroup v1: none can be made here: {error}"),
        }
    }
}

#[test]
fn number_follows_the_quota_of_a_real_group_of_version_two() {
    let name = "number_follows_the_quota_of_a_real_group_of_version_two";
    if support::is_child(name) {
        say_numbers();
    } else if gaggle::runtime::backend_name() == "green" {
        // A thread of its own, which may leave the others' view of the mounts.
        let skipped = std::thread::spawn(move || {
            let group = Group::make(Version::Two).or_else(|mounted| {
                let both = |private| format!("{mounted}; mounted by the test: {private}");
                Group::make_in_private().map_err(both)
            });
            match group {
                Ok(group) => {
                    follows(name, &group);
                    None
                }
                Err(why) => Some(why),
            }
        })
        .join()
        .expect("the number follows");
        if let Some(why) = skipped {
            println!("skipped: cgroup v2: none can be made here: {why}");
        }
    }
}
