//! Quotas read from trees as machines of each kind show them, and from a real control group.

use super::*;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path as FilePath;
use std::process::Command;
use tempfile::TempDir;

/// A tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().expect("a folder for the test");
    for (name, content) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("its folder");
        fs::write(path, content).expect("the file");
    }
    root
}

fn quota_in(root: &TempDir) -> Option<u32> {
    Quotas::find_under(root.path().as_os_str().as_bytes()).read()
}

fn quota_of(files: &[(&str, &str)]) -> Option<u32> {
    quota_in(&tree(files))
}

const CGROUP: &str = "proc/self/cgroup";
const MOUNTS: &str = "proc/self/mountinfo";
const MOUNT_V2: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
const MOUNT_V1: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime shared:14 - cgroup cgroup rw,cpuset
34 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
";

#[test]
fn version_two_own_group_is_rounded_up() {
    let quota = |max| {
        quota_of(&[
            (MOUNTS, MOUNT_V2),
            (CGROUP, "0::/system.slice/web.service\n"),
            ("sys/fs/cgroup/system.slice/web.service/cpu.max", max),
        ])
    };
    assert_eq!(quota("150000 100000\n"), Some(2));
    assert_eq!(quota("200000 100000\n"), Some(2));
    assert_eq!(quota("200001 100000\n"), Some(3));
    assert_eq!(quota("5000 100000\n"), Some(1));
    assert_eq!(quota("max 100000\n"), None);
}

#[test]
fn version_two_smallest_of_all_ancestors_counts() {
    let files = |outer, middle, inner| {
        quota_of(&[
            (MOUNTS, MOUNT_V2),
            (CGROUP, "0::/outer/middle/inner\n"),
            ("sys/fs/cgroup/outer/cpu.max", outer),
            ("sys/fs/cgroup/outer/middle/cpu.max", middle),
            ("sys/fs/cgroup/outer/middle/inner/cpu.max", inner),
        ])
    };
    let (three, five, none) = ("300000 100000\n", "250000 50000\n", "max 100000\n");
    assert_eq!(files(three, five, none), Some(3));
    assert_eq!(files(five, three, none), Some(3));
    assert_eq!(files(none, five, three), Some(3));
    assert_eq!(files(five, none, none), Some(5));
    assert_eq!(files(none, none, none), None);
}

#[test]
fn container_with_a_namespace_sees_its_group_as_the_root() {
    let quota = quota_of(&[
        (MOUNTS, MOUNT_V2),
        (CGROUP, "0::/\n"),
        ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
    ]);
    assert_eq!(quota, Some(4));
}

#[test]
fn process_outside_its_namespace_has_no_quota_that_can_be_seen() {
    let quota = quota_of(&[
        (MOUNTS, MOUNT_V2),
        (CGROUP, "0::/../../other\n"),
        ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/other/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(quota, None);
}

#[test]
fn container_without_a_namespace_is_found_below_the_root_of_its_mount() {
    let mounts =
        "34 31 0:32 /docker/4711 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n";
    let quota = |group| {
        quota_of(&[
            (MOUNTS, mounts),
            (CGROUP, group),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n"),
            (
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us",
                "100000\n",
            ),
        ])
    };
    assert_eq!(quota("4:cpu,cpuacct:/docker/4711\n"), Some(3));
    assert_eq!(quota("4:cpu,cpuacct:/docker/4711/job\n"), Some(1));
    // What only begins with the same letters is another group.
    assert_eq!(quota("4:cpu,cpuacct:/docker/47110\n"), None);
}

#[test]
fn version_one_ancestors_count_and_minus_one_is_no_limit() {
    let group = "sys/fs/cgroup/cpu,cpuacct/batch";
    let files = |outer: &str, inner: &str| {
        quota_of(&[
            (MOUNTS, MOUNT_V1),
            (
                CGROUP,
                "6:cpuset:/sets\n4:cpu,cpuacct:/batch/job\n0::/init.scope\n",
            ),
            (&format!("{group}/cpu.cfs_quota_us"), outer),
            (&format!("{group}/cpu.cfs_period_us"), "50000\n"),
            (&format!("{group}/job/cpu.cfs_quota_us"), inner),
            (&format!("{group}/job/cpu.cfs_period_us"), "100000\n"),
        ])
    };
    assert_eq!(files("-1\n", "-1\n"), None);
    assert_eq!(files("200000\n", "-1\n"), Some(4));
    assert_eq!(files("-1\n", "700000\n"), Some(7));
    assert_eq!(files("200000\n", "350000\n"), Some(4));
}

#[test]
fn cpuacct_and_cpuset_alone_are_not_the_cpu_controller() {
    let mounts = "34 31 0:32 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct,cpuset\n";
    let quota = quota_of(&[
        (MOUNTS, mounts),
        (CGROUP, "4:cpuacct,cpuset:/\n"),
        ("sys/fs/cgroup/cpuacct/cpu.cfs_quota_us", "100000\n"),
        ("sys/fs/cgroup/cpuacct/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(quota, None);
}

#[test]
fn hybrid_takes_the_smaller_of_both_versions() {
    let mounts =
        format!("{MOUNT_V1}35 31 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
    let files = |one, two| {
        quota_of(&[
            (MOUNTS, &mounts),
            (CGROUP, "4:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", one),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/c/cpu.max", two),
        ])
    };
    assert_eq!(files("600000\n", "max 100000\n"), Some(6));
    assert_eq!(files("600000\n", "300000 100000\n"), Some(3));
    assert_eq!(files("-1\n", "300000 100000\n"), Some(3));
}

#[test]
fn of_several_mounts_the_one_with_most_ancestors_is_read() {
    let mounts = "\
40 31 0:26 /outer/inner /container rw - cgroup2 cgroup2 rw
31 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
";
    let quota = quota_of(&[
        (MOUNTS, mounts),
        (CGROUP, "0::/outer/inner\n"),
        ("container/cpu.max", "500000 100000\n"),
        ("sys/fs/cgroup/outer/inner/cpu.max", "500000 100000\n"),
        ("sys/fs/cgroup/outer/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(quota, Some(3));
}

#[test]
fn names_with_spaces_colons_and_a_removed_group_are_understood() {
    let mounts = "31 22 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
    let quota = quota_of(&[
        (MOUNTS, mounts),
        (CGROUP, "0::/a b:c/gone (deleted)\n"),
        ("mnt/my groups/a b:c/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(quota, Some(3));
}

#[test]
fn what_cannot_be_read_or_understood_is_no_limit() {
    assert_eq!(quota_of(&[]), None);
    assert_eq!(quota_of(&[(MOUNTS, MOUNT_V2)]), None);
    assert_eq!(
        quota_of(&[(MOUNTS, "nonsense\n\n - \n"), (CGROUP, "0::/\n")]),
        None
    );
    for content in [
        "",
        "\n",
        "100000\n",
        "-5 100000\n",
        "0 100000\n",
        "7 0\n",
        "a b\n",
    ] {
        let quota = quota_of(&[
            (MOUNTS, MOUNT_V2),
            (CGROUP, "nonsense\n0::/a\n"),
            ("sys/fs/cgroup/a/cpu.max", content),
        ]);
        assert_eq!(quota, None, "{content:?}");
    }
    // A folder in the file's place opens and cannot be read; its ancestors still count.
    let quota = quota_of(&[
        (MOUNTS, MOUNT_V2),
        (CGROUP, "0::/a\n"),
        ("sys/fs/cgroup/a/cpu.max/x", ""),
        ("sys/fs/cgroup/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(quota, Some(3));
}

#[test]
fn lines_longer_than_any_path_are_left_out() {
    let long = "x".repeat(50_000);
    let mounts = format!("{long}\n{MOUNT_V2}{long}");
    let quota = quota_of(&[
        (MOUNTS, &mounts),
        (CGROUP, &format!("0::/{long}\n0::/\n")),
        ("sys/fs/cgroup/cpu.max", "300000 100000\n"),
    ]);
    assert_eq!(quota, Some(3));
}

#[test]
fn change_of_quota_and_of_group_is_seen_at_the_next_read() {
    let root = tree(&[
        (MOUNTS, MOUNT_V2),
        (CGROUP, "0::/a\n"),
        ("sys/fs/cgroup/a/cpu.max", "300000 100000\n"),
        ("sys/fs/cgroup/b/cpu.max", "700000 100000\n"),
    ]);
    let quotas = Quotas::find_under(root.path().as_os_str().as_bytes());
    assert_eq!(quotas.read(), Some(3));
    let write = |name, content| fs::write(root.path().join(name), content).expect("the file");
    write("sys/fs/cgroup/a/cpu.max", "500000 100000\n");
    assert_eq!(quotas.read(), Some(5));
    write(CGROUP, "0::/b\n");
    assert_eq!(quotas.read(), Some(7));
}

#[test]
fn processors_are_the_least_of_all_but_two_by_quota() {
    assert_eq!(processors(8, || None), 8);
    assert_eq!(processors(8, || Some(3)), 3);
    assert_eq!(processors(8, || Some(1)), 2);
    assert_eq!(processors(4, || Some(100)), 4);
    assert_eq!(processors(3, || Some(1)), 2);
    for few in [1, 2] {
        assert_eq!(processors(few, || panic!("it cannot matter")), few);
    }
}

/// Tells the child's half of the next test that it is one.
const CHILD: &str = "GAGGLE_TEST_QUOTA_CHILD";

/// The child's half: joins the group whose folder is named, and says what it may use then.
fn join_and_say(folder: &str) {
    fs::write(
        FilePath::new(folder).join("cgroup.procs"),
        std::process::id().to_string(),
    )
    .expect("the child joins the group");
    println!("quota {:?}", Quotas::find().read());
}

/// A control group of its own with a quota of 2.5 processors, on top of one with 3.5.
struct Group(std::path::PathBuf);

impl Group {
    fn make() -> io::Result<Self> {
        let name = format!("gaggle-quota-{}", std::process::id());
        let quotas = Quotas::find();
        let mut last = io::Error::other("no control group hierarchy is mounted");
        for hierarchy in &quotas.hierarchies {
            let point = FilePath::new(std::ffi::OsStr::from_bytes(&hierarchy.point));
            let group = Group(point.join(&name));
            match group.fill(hierarchy.version) {
                Ok(()) => return Ok(group),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn fill(&self, version: Version) -> io::Result<()> {
        let inner = self.inner();
        fs::create_dir_all(&inner)?;
        for (folder, quota) in [(&self.0, "350000"), (&inner, "250000")] {
            match version {
                Version::Two => fs::write(folder.join("cpu.max"), format!("{quota} 100000"))?,
                Version::One => {
                    fs::write(folder.join("cpu.cfs_period_us"), "100000")?;
                    fs::write(folder.join("cpu.cfs_quota_us"), quota)?;
                }
            }
        }
        Ok(())
    }

    fn inner(&self) -> std::path::PathBuf {
        self.0.join("inner")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.inner());
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn quota_of_a_real_group_is_read() {
    if let Ok(folder) = std::env::var(CHILD) {
        return join_and_say(&folder);
    }
    let group = match Group::make() {
        Ok(group) => group,
        Err(error) => {
            println!("skipped: cgroup: none can be made here: {error}");
            return;
        }
    };
    let program = std::env::current_exe().expect("a test knows its own binary");
    let output = Command::new(program)
        .args(["--exact", "quota::tests::quota_of_a_real_group_is_read"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, group.inner())
        .output()
        .expect("the test binary runs again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("quota Some(3)"), "{said}");
}

#[test]
fn affinity_mask_of_the_process_is_counted() {
    let all = std::thread::available_parallelism().expect("std counts them, too");
    let own = affinity().expect("the kernel tells");
    assert!(
        own as usize >= usize::from(all),
        "std subtracts quotas, too"
    );
}
