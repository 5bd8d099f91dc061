//! Everything at once: goroutines that allocate, compute, panic, block and talk, while they are suspended
//! every few hundred microseconds, moved between OS threads and handed off, and while GOMAXPROCS changes.
//!
//! Each worker repeats one kind of round that checks its own result. A wrong result, a worker that stands
//! still, or (in the long form) too few suspensions, migrations or hand-offs fail the run. The programs
//! differ in their global allocator only.

mod options;
mod random;
mod run;
mod work;

use options::Request;
use std::process::ExitCode;

/// Runs the program by its command line; `allocator` names what it was linked with.
///
/// Blocks until the time is up, something failed, or Ctrl-C (a second one ends it at once).
pub fn main(allocator: &str) -> ExitCode {
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            println!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Request::Run(options)) => match run::run(allocator, &options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error}\n\n{}", options::HELP);
            ExitCode::from(2)
        }
    }
}
