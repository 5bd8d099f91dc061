//! The limits that the operating system sets to a process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of files this process may have open to the most it is allowed: each connection
/// is one. Stays as it is where that fails.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
