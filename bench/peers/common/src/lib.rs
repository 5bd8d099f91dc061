//! What the peers that are written in Rust share: the command line, the line of JSON, the figures that
//! the operating system gives, and the computations that are the same on every runtime.
//!
//! Nothing in here starts a task or waits; that is what each peer brings.

mod compute;
mod figures;
mod lateness;
mod options;
mod report;

pub use compute::{Board, FIBONACCI_CUTOFF, fibonacci_expected, fibonacci_plain, queens_expected};
pub use compute::{LOAD, RUNS, calibrate, hog, nanosleep_load};
pub use figures::{cpu_time, peak_rss_bytes, rss_bytes, threads};
pub use lateness::{Lateness, Ticks};
pub use options::{DEFAULT_VARIANT, Options};
pub use report::{Report, milliseconds};

use std::net::TcpListener;
use std::process::ExitCode;

/// The capacity of a buffered channel.
pub const CAPACITY: usize = 128;
/// How many channels a select looks at.
pub const ARMS: u64 = 8;
/// How many tasks send, and how many receive, in `chan_mpmc4x4`.
pub const SIDE: u64 = 4;
/// How many workers a pool has.
pub const WORKERS: u64 = 8;
/// How many stages a pipeline has between its source and its sink.
pub const STAGES: u64 = 4;
/// How many tasks of `spawn`'s variant `batch` are alive at once.
pub const BATCH: u64 = 10_000;
/// The buffer of one connection of `echo`.
pub const ECHO_BYTES: usize = 4096;
/// What an HTTP server answers.
pub const HELLO: &str = "Hello, World!";

/// The status that says that a workload or variant is unknown.
const UNKNOWN: u8 = 3;

/// One thing that can be measured; `run` is of the peer's own kind.
#[derive(Clone, Copy, Debug)]
pub struct Workload<R> {
    /// Its name.
    pub name: &'static str,
    /// Its size unless told otherwise.
    pub size: u64,
    /// Its number of processors unless told otherwise; 0: as many as the machine has.
    pub processors: usize,
    /// What does it.
    pub run: R,
}

/// The sum of the numbers below `count`.
pub fn sum_below(count: u64) -> u64 {
    count * (count - 1) / 2
}

/// The version of a package that this peer is built with, as the lock file has it.
pub fn version_of(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name);
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.expect("the package is in the lock file")
}

/// Lets this process have as many descriptors as it may.
///
/// # Panics
/// If the system refuses.
pub fn raise_descriptor_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be raised");
}

/// Opens the address that a server is to listen on, and says so on the standard error; the limit of
/// descriptors is raised first.
///
/// # Panics
/// If the address is taken.
pub fn listen(options: &Options) -> TcpListener {
    raise_descriptor_limit();
    let address = options.address.as_deref().unwrap_or("127.0.0.1:0");
    let listener = TcpListener::bind(address).expect("the address is free");
    eprintln!("READY {}", listener.local_addr().expect("it is bound"));
    listener
}

/// Reads the command line, has `start` run the workload that it names, with its size and its number of
/// processors set, and prints the line. `start` answers `None` if there is no such variant.
pub fn main<R: Copy>(
    peer: &str,
    workloads: &[Workload<R>],
    start: impl FnOnce(R, &Options) -> Option<Report>,
) -> ExitCode {
    let mut options = match Options::from_arguments() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{peer}: {error}");
            return ExitCode::from(2);
        }
    };
    let found = workloads
        .iter()
        .find(|workload| workload.name == options.workload);
    let Some(workload) = found else {
        eprintln!("{peer}: no workload {:?}", options.workload);
        return ExitCode::from(UNKNOWN);
    };
    options.n.get_or_insert(workload.size);
    if options.processors == 0 {
        options.processors = match workload.processors {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            processors => processors,
        };
    }
    let Some(report) = start(workload.run, &options) else {
        eprintln!(
            "{peer}: {} has no variant {:?}",
            options.workload, options.variant
        );
        return ExitCode::from(UNKNOWN);
    };
    println!("{}", report.line(peer, &options));
    ExitCode::SUCCESS
}
