//! How many processors this process may use: its affinity mask, and the CPU quotas of its control
//! groups.
//!
//! Assumption: what cgroups(7), proc_pid_cgroup(5) and proc_pid_mountinfo(5) describe: version 1, version
//! 2, or both at once (hybrid). Check: none is needed, as whatever cannot be read or understood counts as
//! no limit.
//!
//! - Q1: the quotas of the process's own group *and of every ancestor that is mounted* count; the
//!   smallest wins, as it does in the kernel.
//! - Q2: a quota is rounded up to whole processors.
//! - Q3: [`Quotas::read`] allocates nothing and calls no libc function: the monitor calls it. That calls
//!   [`Quotas::find`] as well, but once, holding no lock.
//! - Q4: a process that is moved to another group is followed; a hierarchy that is mounted later is not.
//!
//! A cpuset needs no reading: the kernel answers an affinity mask that is cut to it.
//!
//! Source: Go's internal/runtime/cgroup, which reads the own group only, and std's
//! `available_parallelism`, which rounds down.

use crate::call::raw;

/// Bytes of a path, as the kernel limits it (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// Which version a hierarchy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
    One,
    /// `cpu.max`.
    Two,
}

/// A mounted hierarchy that can limit CPU time.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    /// The group that is seen at `point`, as `/proc/self/cgroup` names groups.
    root: Vec<u8>,
    /// Where it is mounted.
    point: Vec<u8>,
}

/// Where this process's CPU quotas are to be read.
#[derive(Debug)]
pub struct Quotas {
    /// In front of every path; empty but in tests.
    prefix: Vec<u8>,
    hierarchies: Vec<Hierarchy>,
}

impl Quotas {
    /// Finds the hierarchies that are mounted. Blocks for the reading of one file of `/proc`.
    pub fn find() -> Self {
        Self::find_under(b"")
    }

    /// As [`Quotas::find`], in a tree whose root is at `prefix`.
    fn find_under(prefix: &[u8]) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mut path = Path::new();
        if path.push(prefix) && path.push(b"/proc/self/mountinfo") {
            for_each_line(&path, |line| {
                if let Some(found) = hierarchy_of(line) {
                    hierarchies.push(found);
                }
            });
        }
        Quotas {
            prefix: prefix.to_vec(),
            hierarchies,
        }
    }

    /// The smallest quota, in whole processors (Q1, Q2); `None`: there is none.
    pub fn read(&self) -> Option<u32> {
        let mut path = Path::new();
        if self.hierarchies.is_empty()
            || !(path.push(&self.prefix) && path.push(b"/proc/self/cgroup"))
        {
            return None;
        }
        let mut least = None;
        for_each_line(&path, |line| {
            if let Some((version, group)) = group_of(line) {
                let limit = self.limit_of(version, group);
                least = [least, limit].into_iter().flatten().min();
            }
        });
        least
    }

    /// The smallest quota of `group` and its ancestors.
    fn limit_of(&self, version: Version, group: &[u8]) -> Option<u32> {
        // Of several mounts of one hierarchy the one with the shortest root shows most ancestors.
        let (hierarchy, below) = self
            .hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.version == version)
            .filter_map(|hierarchy| Some((hierarchy, below_root(group, &hierarchy.root)?)))
            .min_by_key(|(hierarchy, _)| hierarchy.root.len())?;
        let mut path = Path::new();
        if !(path.push(&self.prefix) && path.push(&hierarchy.point)) {
            return None;
        }
        let top = path.len;
        if !path.push(below) {
            return None;
        }
        let mut least = None;
        loop {
            let limit = match version {
                Version::One => limit_of_version_one(&mut path),
                Version::Two => limit_of_version_two(&mut path),
            };
            least = [least, limit].into_iter().flatten().min();
            if !path.pop_to_parent(top) {
                return least;
            }
        }
    }
}

/// How many processors the affinity mask of the process's first thread has; a cpuset has cut it already.
/// `None` where the kernel does not tell. Allocates nothing.
pub fn affinity() -> Option<u32> {
    // Room for 8,192 processors, the most that Linux is built for on x86-64.
    let mut mask = [0u64; 128];
    // SAFETY: takes no argument.
    let process = unsafe { raw(libc::SYS_getpid, [0; 6]) };
    // SAFETY: the kernel writes at most the given number of bytes into the mask.
    let bytes = unsafe {
        raw(
            libc::SYS_sched_getaffinity,
            [
                process as usize,
                size_of_val(&mask),
                mask.as_mut_ptr() as usize,
                0,
                0,
                0,
            ],
        )
    };
    let count = mask.iter().map(|word| word.count_ones()).sum();
    (bytes > 0 && count > 0).then_some(count)
}

/// The fewest processors that a quota makes: one goroutine that sleeps out the quota should not stop all
/// others (Go's rule).
const BY_QUOTA_MIN: u32 = 2;

/// How many processors are to run goroutines where `affinity` can be used and `quota` answers the limit; it
/// is asked only where it could matter.
pub fn processors(affinity: u32, quota: impl FnOnce() -> Option<u32>) -> u32 {
    if affinity <= BY_QUOTA_MIN {
        return affinity.max(1);
    }
    let quota = quota().map_or(u32::MAX, |quota| quota.max(BY_QUOTA_MIN));
    affinity.min(quota)
}

/// The hierarchy that a line of `mountinfo` mounts, if it is one that can limit CPU time.
fn hierarchy_of(line: &[u8]) -> Option<Hierarchy> {
    // number, parent, device, root, mount point, options, optional fields, "-", type, source, options
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let options = fields.nth(1).unwrap_or_default();
    let version = match kind {
        b"cgroup2" => Version::Two,
        b"cgroup" if is_among(b"cpu", options) => Version::One,
        _ => return None,
    };
    Some(Hierarchy {
        version,
        root: unescape(root),
        point: unescape(point),
    })
}

/// The hierarchy and the group that a line of `/proc/self/cgroup` tells, if it can limit CPU time.
fn group_of(line: &[u8]) -> Option<(Version, &[u8])> {
    // number:controllers:group; the group may hold colons.
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let number = fields.next()?;
    let controllers = fields.next()?;
    let group = fields.next()?;
    // A group that was removed under its process.
    let group = group.strip_suffix(b" (deleted)").unwrap_or(group);
    match (number, controllers) {
        (b"0", b"") => Some((Version::Two, group)),
        _ if is_among(b"cpu", controllers) => Some((Version::One, group)),
        _ => None,
    }
}

/// Whether `name` is one of the names in a list with commas.
fn is_among(name: &[u8], list: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|entry| entry == name)
}

/// What is left of `group` below `root`, empty or beginning with a slash; `None`: it lies elsewhere, so
/// that its files cannot be seen there.
fn below_root<'a>(group: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    // A process outside its namespace's root has dots in its name, which say nothing.
    if group.split(|&byte| byte == b'/').any(|name| name == b"..") {
        return None;
    }
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let below = group.strip_prefix(root)?;
    let below = below.strip_suffix(b"/").unwrap_or(below);
    (below.is_empty() || below[0] == b'/').then_some(below)
}

/// `mountinfo` writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = (byte == b'\\').then(|| after.get(..3)).flatten();
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0u32, |value, digit| {
                Some(value * 8 + char::from(*digit).to_digit(8)?)
            })
        });
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                plain.push(value);
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// The quota of the group at `path` by version 2: `cpu.max` holds quota (or `max`) and period.
fn limit_of_version_two(path: &mut Path) -> Option<u32> {
    let mut text = [0; 64];
    let text = path.read_below(b"/cpu.max", &mut text)?;
    let mut words = text.trim_ascii().split(|&byte| byte == b' ');
    whole_processors(number(words.next()?)?, number(words.next()?)?)
}

/// The quota of the group at `path` by version 1: two files, a quota of -1 being none.
fn limit_of_version_one(path: &mut Path) -> Option<u32> {
    let mut text = [0; 64];
    let quota = number(path.read_below(b"/cpu.cfs_quota_us", &mut text)?)?;
    let period = number(path.read_below(b"/cpu.cfs_period_us", &mut text)?)?;
    whole_processors(quota, period)
}

/// A number without a sign; `max`, `-1` and what else is none are `None`.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Microseconds of CPU time in each period as processors, rounded up (Q2).
fn whole_processors(quota: u64, period: u64) -> Option<u32> {
    if quota == 0 || period == 0 {
        return None;
    }
    Some(u32::try_from(quota.div_ceil(period)).unwrap_or(u32::MAX))
}

/// A path under construction, in memory of its own (Q3); always ends in a zero byte.
struct Path {
    bytes: [u8; PATH_BYTES_MAX],
    len: usize,
}

impl Path {
    fn new() -> Self {
        Path {
            bytes: [0; PATH_BYTES_MAX],
            len: 0,
        }
    }

    /// Appends `part`; `false`: there is no room, and nothing changes.
    fn push(&mut self, part: &[u8]) -> bool {
        let end = self.len + part.len();
        if end >= PATH_BYTES_MAX {
            return false;
        }
        self.bytes[self.len..end].copy_from_slice(part);
        self.bytes[end] = 0;
        self.len = end;
        true
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        self.bytes[len] = 0;
    }

    /// Takes the last name away, unless only the first `top` bytes are left; whether it did.
    fn pop_to_parent(&mut self, top: usize) -> bool {
        let below = &self.bytes[top..self.len];
        match below.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => {
                self.truncate(top + slash);
                true
            }
            None => false,
        }
    }

    /// The beginning of the file `name` (with its slash) in the folder that this path names.
    fn read_below<'a>(&mut self, name: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = self.len;
        if !self.push(name) {
            return None;
        }
        let file = File::open(self);
        self.truncate(len);
        let read = file?.read(buffer);
        Some(&buffer[..read])
    }
}

/// An open file, reached by system calls alone.
struct File(i32);

impl File {
    fn open(path: &Path) -> Option<Self> {
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        // SAFETY: the path ends in a zero byte.
        let fd = unsafe {
            raw(
                libc::SYS_openat,
                [
                    libc::AT_FDCWD as usize,
                    path.bytes.as_ptr() as usize,
                    flags,
                    0,
                    0,
                    0,
                ],
            )
        };
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(File)
    }

    /// The next bytes; 0 at the end, and where the file cannot be read.
    fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            // SAFETY: the kernel writes at most the buffer's length into it.
            let read = unsafe {
                raw(
                    libc::SYS_read,
                    [
                        self.0 as usize,
                        buffer.as_mut_ptr() as usize,
                        buffer.len(),
                        0,
                        0,
                        0,
                    ],
                )
            };
            if !crate::call::failed_with(read, libc::EINTR) {
                return usize::try_from(read).unwrap_or(0);
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        crate::call::close(self.0);
    }
}

/// Calls `line` with each line of the file at `path`, without its end; a line that is longer than two
/// paths is none of those that are looked for, and is left out.
fn for_each_line(path: &Path, mut line: impl FnMut(&[u8])) {
    let Some(file) = File::open(path) else { return };
    let mut buffer = [0; 2 * PATH_BYTES_MAX];
    let mut held = 0;
    let mut too_long = false;
    loop {
        let read = file.read(&mut buffer[held..]);
        if read == 0 {
            if held > 0 && !too_long {
                line(&buffer[..held]);
            }
            return;
        }
        held += read;
        let mut begin = 0;
        while let Some(length) = buffer[begin..held].iter().position(|&byte| byte == b'\n') {
            let whole = &buffer[begin..begin + length];
            begin += length + 1;
            if !std::mem::take(&mut too_long) {
                line(whole);
            }
        }
        buffer.copy_within(begin..held, 0);
        held -= begin;
        if held == buffer.len() {
            too_long = true;
            held = 0;
        }
    }
}

#[cfg(test)]
mod tests;
