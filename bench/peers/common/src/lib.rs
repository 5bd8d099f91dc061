//! What `gaggle-bench` and the peers that are written in Rust share: the command line, the line of JSON, the
//! figures that the operating system gives, and the computations that are the same on every runtime.
//!
//! Nothing in here starts a task; that is what each program brings.

mod compute;
mod figures;
mod lateness;
mod options;
mod report;
mod tcp;

pub use compute::{Board, FIBONACCI_CUTOFF, fibonacci_expected, fibonacci_plain, queens_expected};
pub use compute::{LOAD, RUNS, calibrate, hog, nanosleep_load};
pub use figures::{cpu_time, peak_rss_bytes, rss_bytes, threads};
pub use lateness::{Lateness, Ticks};
pub use options::{DEFAULT_VARIANT, Options};
pub use report::{Report, milliseconds};
pub use tcp::report as round_trips_report;
pub use tcp::{MESSAGE, connections, round_trips, round_trips_each};

use std::convert::Infallible;
use std::io::{self, Read, Write};
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

impl<R> Workload<R> {
    /// A row of a table of workloads: see the fields.
    pub const fn new(name: &'static str, size: u64, processors: usize, run: R) -> Self {
        Workload {
            name,
            size,
            processors,
            run,
        }
    }
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
    let listener = TcpListener::bind(options.address_to_bind()).expect("the address is free");
    eprintln!("READY {}", listener.local_addr().expect("it is bound"));
    listener
}

/// Sends back what comes through `stream`, until it ends.
///
/// # Errors
/// When it ends, or fails.
pub fn echo_back(mut stream: impl Read + Write) -> io::Result<Infallible> {
    let mut buffer = vec![0; ECHO_BYTES];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..count])?;
    }
}

/// Reads the command line: the workload that it names, and the options with its size set, which for a variant
/// may be one of its own. Their number of processors is 0 if neither says one.
///
/// # Errors
/// The status to exit with, after a line on the standard error.
pub fn chosen<R: Copy>(
    peer: &str,
    workloads: &[Workload<R>],
    size_of_variant: impl Fn(&Options) -> Option<u64>,
) -> Result<(R, Options), ExitCode> {
    let mut options = Options::from_arguments().map_err(|error| {
        eprintln!("{peer}: {error}");
        ExitCode::from(2)
    })?;
    let mut all = workloads.iter();
    let Some(workload) = all.find(|workload| workload.name == options.workload) else {
        let names: Vec<_> = workloads.iter().map(|workload| workload.name).collect();
        let (name, names) = (&options.workload, names.join(" "));
        eprintln!("{peer}: no workload {name:?}; there are: {names}");
        return Err(ExitCode::from(UNKNOWN));
    };
    options.n = options
        .n
        .or_else(|| size_of_variant(&options))
        .or(Some(workload.size));
    if options.processors == 0 {
        options.processors = workload.processors;
    }
    Ok((workload.run, options))
}

/// Prints the line of what was measured; no report: there is no such variant.
pub fn print(peer: &str, options: &Options, report: Option<Report>) -> ExitCode {
    let Some(report) = report else {
        let (workload, variant) = (&options.workload, &options.variant);
        eprintln!("{peer}: {workload} has no variant {variant:?}");
        return ExitCode::from(UNKNOWN);
    };
    println!("{}", report.line(peer, options));
    ExitCode::SUCCESS
}

/// Reads the command line, has `start` run the workload that it names, with its size and its number of
/// processors set, and prints the line. `start` answers `None` if there is no such variant.
pub fn main<R: Copy>(
    peer: &str,
    workloads: &[Workload<R>],
    start: impl FnOnce(R, &Options) -> Option<Report>,
) -> ExitCode {
    let (run, mut options) = match chosen(peer, workloads, |_| None) {
        Ok(chosen) => chosen,
        Err(status) => return status,
    };
    if options.processors == 0 {
        options.processors = std::thread::available_parallelism().map_or(1, usize::from);
    }
    let report = start(run, &options);
    print(peer, &options, report)
}
