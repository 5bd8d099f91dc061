//! Half of the machine: a control group with a quota of processor time, for one run.
//!
//! Version 1 and version 2 of control groups are known; one of them has to be mounted where this process
//! may make a group, as in most containers that run as root.

use crate::child::Stopped;
use crate::machine;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Microseconds in which the quota may be used up: the kernel's own default.
const PERIOD: usize = 100_000;

/// A control group of our own; dropping it takes it away.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes one whose processes together get half of all the processors' time.
    pub fn of_half_the_machine() -> Result<Group, Stopped> {
        let quota = PERIOD * machine::processors() / 2;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut last = io::Error::other("none with quotas is mounted");
        for (point, is_version_two) in mounts.lines().filter_map(hierarchy) {
            match Group::make(point, is_version_two, quota) {
                Ok(group) => return Ok(group),
                Err(error) => last = error,
            }
        }
        Err(Stopped::Failed(format!("no control group: {last}")))
    }

    fn make(point: &str, is_version_two: bool, quota: usize) -> io::Result<Group> {
        let folder = Path::new(point).join(format!("gaggle-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        // From here on it is taken away again, whatever fails.
        let group = Group { folder };
        let write = |file: &str, text: String| fs::write(group.folder.join(file), text);
        if is_version_two {
            write("cpu.max", format!("{quota} {PERIOD}"))?;
        } else {
            write("cpu.cfs_period_us", PERIOD.to_string())?;
            write("cpu.cfs_quota_us", quota.to_string())?;
        }
        Ok(group)
    }

    /// What runs `program` in this group from its first instruction on: a shell that enters and becomes it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0\" && exec \"$@\""])
            .arg(self.folder.join("cgroup.procs"))
            .arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty: what ran in it has ended and was waited for.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where a hierarchy with quotas is mounted, and whether it is of version 2, by a line of
/// proc_pid_mountinfo(5): the mount point is the fifth word, the kind comes after a lone hyphen.
fn hierarchy(line: &str) -> Option<(&str, bool)> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    match after.split(' ').next()? {
        "cgroup2" => Some((point, true)),
        "cgroup" if after.split([' ', ',']).any(|word| word == "cpu") => Some((point, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_with_quotas_are_told_from_others() {
        let line = "28 27 0:24 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        assert_eq!(hierarchy(line), Some(("/sys/fs/cgroup/cpu", false)));
        let line = "28 27 0:24 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw";
        assert_eq!(hierarchy(line), Some(("/sys/fs/cgroup", true)));
        let line = "28 27 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        assert_eq!(hierarchy(line), None);
        assert_eq!(hierarchy("29 1 0:2 / /proc rw - proc proc rw"), None);
    }
}
