//! The command line of the stress programs.

use lexopt::prelude::*;
use std::ffi::OsString;
use std::time::Duration;

/// What `--help` prints.
pub const HELP: &str = "\
Runs everything at once on goroutines, and checks every result

Usage: stress-ALLOCATOR [--minutes N | --seconds N] [--workers N] [--seed N]
                        [--slice-microseconds N] [--only KIND]... [--fixed-procs N]

  --minutes N             the long form: runs that long, and fails below 10,000 suspensions, 10,000
                          migrations or 1,000 hand-offs
  --seconds N             the short form: each of them must have happened (default: 10 seconds)
  --workers N             how many goroutines repeat rounds (default: 80)
  --seed N                of what each worker and the changes of GOMAXPROCS draw
  --slice-microseconds N  how long a goroutine may run while others wait (default: 300)
  --only KIND             only these kinds of work; then no numbers are demanded
  --fixed-procs N         GOMAXPROCS stays N; else it changes from 1 to 8 at random

Exit status: 0 nothing failed, 1 something did, 2 wrong usage.";

/// How the run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long it runs.
    pub time: Duration,
    /// The long form.
    pub is_long: bool,
    /// How many workers.
    pub workers: usize,
    /// Replays the drawing, if not the interleaving.
    pub seed: u64,
    /// The longest turn while others wait.
    pub slice_microseconds: u64,
    /// Kinds of work; empty: all.
    pub only: Vec<String>,
    /// A GOMAXPROCS that does not change.
    pub fixed_procs: Option<usize>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Print [`HELP`].
    Help,
    /// Run.
    Run(Options),
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// What is wrong with them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options {
        time: Duration::from_secs(10),
        is_long: false,
        workers: 80,
        seed: u64::from(std::process::id()),
        slice_microseconds: 300,
        only: Vec::new(),
        fixed_procs: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Request::Help),
            Long("minutes") => {
                options.time = Duration::from_secs(60 * parser.value()?.parse::<u64>()?);
                options.is_long = true;
            }
            Long("seconds") => options.time = Duration::from_secs(parser.value()?.parse()?),
            Long("workers") => options.workers = parser.value()?.parse::<usize>()?.max(1),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("slice-microseconds") => options.slice_microseconds = parser.value()?.parse()?,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("fixed-procs") => options.fixed_procs = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Request::Run(options))
}
