//! The command line of `cargo xtask`.

use crate::ci::{self, Detector};
use crate::failure::Failure;
use crate::fuzz::{self, Fuzz};
use crate::instructions::Mode;
use crate::stress::{self, Stress};
use lexopt::prelude::*;
use std::ffi::OsString;

/// What `cargo xtask help` prints.
pub const OVERVIEW: &str = "\
Gaggle's development commands

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  tidy   checks crate and layer arrows, module docs, file sizes, and the documents' links
  ci     runs every check that a change must pass, as .ci/run does
  miri   looks for undefined behaviour while the algorithms' tests run
  race   looks for data races while the tests run on the threads backend
  stress runs everything at once on goroutines, for minutes, on three allocators
  fuzz   gives what parses bytes of others inputs that nobody would think of
  compat tries unmodified crates on a thousand goroutines each, and writes docs/compatibility.md
  bench  measures Gaggle beside Go, tokio, may and plain threads, and writes tables and plots
  instructions  counts those of gaggle-core's primitives, against the counts kept in the tree
  help   prints this

`cargo xtask COMMAND --help` says more about one of them.";

const TIDY: &str = "\
Checks what no compiler checks

Usage: cargo xtask tidy

  arrows      a crate knows only the crates that the table in xtask/src/tidy/arrows.rs lets it
              know, in its manifest and in its paths; likewise courier's layers
  text        every .rs file starts with //! docs; over 800 lines is an error, over 400 a notice;
              no ignored tests, no todo!
  unsafe      forbid(unsafe_code) where it is promised; assembly and system calls in gaggle-sys only
  documents   ARCHITECTURE.md links every decision record, and every numbered invariant a test
              that exists

Exit status: 0 nothing found, 1 something found, 2 wrong usage.";

const CI: &str = "\
Runs every check that a change must pass

Usage: cargo xtask ci [--list] [--keep-going] [STEP]...

  --list         prints the steps and exits
  --keep-going   runs the steps after a failed one, too
  STEP           runs only the named steps, in the usual order

Each step prints its name, its commands, their output and its seconds. The first failing step ends
the run. A test that prints a line starting with `SKIP:` fails its step, and so does an ignored test:
what was not run was not checked. Only Miri, ThreadSanitizer, and what the machine itself lacks (registers,
processors, control groups) may be missing, and are named then.

Needs cargo-deny (cargo install cargo-deny --locked) and GNU timeout.

Exit status: 0 all passed, 1 a step failed, 2 wrong usage.";

const MIRI: &str = "\
Looks for undefined behaviour

Usage: cargo xtask miri

Runs gaggle-core's tests under Miri. Where no installed toolchain has it, a line says so, and
valgrind's memcheck runs the tests of gaggle-core, gaggle-threads and some of gaggle's on the threads
backend instead.

Exit status: 0 nothing found, 1 something found, 2 wrong usage.";

const RACE: &str = "\
Looks for data races

Usage: cargo xtask race

Runs the tests of gaggle-core, gaggle-threads and some of gaggle's on the threads backend under
ThreadSanitizer: with a std that is compiled for it where the nightly toolchain has std's sources, else
with what std hides suppressed (xtask/suppressions). Where there is no ThreadSanitizer, a line says
so, and valgrind's helgrind runs them instead, which finds wrong uses of libc's locks and wrong
orders of locking only.

Exit status: 0 nothing found, 1 something found, 2 wrong usage.";

const FUZZ: &str = "\
Gives what parses bytes of others inputs that nobody would think of

Usage: cargo xtask fuzz [--seconds N] [TARGET]...

  --seconds N   how long each target runs (default: 60)
  TARGET        framing, server, websocket, proxies or courier; none: all

It begins with the inputs in fuzz/seeds and what earlier runs have found in the target folder. An input that
fails is printed, and kept in fuzz/artifacts; the target's program runs it again when it is given its path.

Exit status: 0 nothing found, 1 something found, 2 wrong usage.";

const STRESS: &str = "\
Runs everything at once on goroutines, and checks every result

Usage: cargo xtask stress [--minutes N | --seconds N] [--allocator NAME]...

  --minutes N        how long on each allocator (default: 10); fails also if fewer than 10,000
                     suspensions, 10,000 migrations or 1,000 hand-offs came about
  --seconds N        the short form, in which each must come about
  --allocator NAME   only this one: system, mimalloc or jemalloc

`cargo run --release --manifest-path stress/Cargo.toml --bin stress-system -- --help` has more options.
Ctrl-C ends it in order.

Exit status: 0 nothing failed, 1 something did, 2 wrong usage.";

const INSTRUCTIONS: &str = "\
Counts the instructions of gaggle-core's primitives

Usage: cargo xtask instructions [--check | --write]

  --check   compares with bench/instructions/counts.txt (default): more than 3% more fails
  --write   keeps the counts there instead

valgrind's callgrind counts, so that the result is the same on every machine with the same rustc. With another
rustc than the kept counts' nothing can be compared, which fails: then `--write`, and commit the file.

Needs valgrind (Debian and Ubuntu: apt-get install valgrind).

Exit status: 0 no regression, 1 a regression or nothing to compare, 2 wrong usage.";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Print this text.
    Help(&'static str),
    /// Run the tidy checks.
    Tidy,
    /// Print the steps of `ci`.
    ListSteps,
    /// Run the tests under a detector.
    Detect(Detector),
    /// Run the stress programs.
    Stress(Stress),
    /// Run the fuzz targets.
    Fuzz(Fuzz),
    /// Run the compatibility program with these arguments, which it reads itself.
    Compat(Vec<OsString>),
    /// Count the instructions of the primitives.
    Instructions(Mode),
    /// Run the bench's harness with these arguments, which it reads itself.
    Bench(Vec<OsString>),
    /// Run the named steps of `ci`, or all of them if none is named.
    Ci {
        /// Names of steps, each known to [`ci::steps`].
        only: Vec<String>,
        /// Whether a failed step leaves the others to run.
        keep_going: bool,
    },
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// An unknown command, step or option, said in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = match next(&mut parser)? {
        None | Some(Long("help") | Short('h')) => return Ok(Request::Help(OVERVIEW)),
        Some(Value(command)) => command,
        Some(other) => return Err(unexpected(other)),
    };
    match command.to_str() {
        Some("help") => match next(&mut parser)? {
            Some(other) => Err(unexpected(other)),
            None => Ok(Request::Help(OVERVIEW)),
        },
        Some("tidy") => match next(&mut parser)? {
            Some(Long("help") | Short('h')) => Ok(Request::Help(TIDY)),
            Some(other) => Err(unexpected(other)),
            None => Ok(Request::Tidy),
        },
        Some("miri") => parse_detector(&mut parser, Detector::Miri, MIRI),
        Some("race") => parse_detector(&mut parser, Detector::Race, RACE),
        Some("ci") => parse_ci(&mut parser),
        Some("stress") => parse_stress(&mut parser),
        Some("instructions") => parse_instructions(&mut parser),
        Some("fuzz") => parse_fuzz(&mut parser),
        Some("compat") => {
            let arguments = parser.raw_args().map_err(wrong)?;
            Ok(Request::Compat(arguments.collect()))
        }
        Some("bench") => {
            let arguments = parser.raw_args().map_err(wrong)?;
            Ok(Request::Bench(arguments.collect()))
        }
        _ => Err(Failure::new(format!(
            "no command named {}",
            command.display()
        ))),
    }
}

fn parse_detector(
    parser: &mut lexopt::Parser,
    detector: Detector,
    help: &'static str,
) -> Result<Request, Failure> {
    match next(parser)? {
        Some(Long("help") | Short('h')) => Ok(Request::Help(help)),
        Some(other) => Err(unexpected(other)),
        None => Ok(Request::Detect(detector)),
    }
}

fn parse_instructions(parser: &mut lexopt::Parser) -> Result<Request, Failure> {
    let mut mode = Mode::Check;
    while let Some(argument) = next(parser)? {
        mode = match argument {
            Long("help") | Short('h') => return Ok(Request::Help(INSTRUCTIONS)),
            Long("check") => Mode::Check,
            Long("write") => Mode::Write,
            other => return Err(unexpected(other)),
        };
    }
    Ok(Request::Instructions(mode))
}

fn parse_ci(parser: &mut lexopt::Parser) -> Result<Request, Failure> {
    let mut only = Vec::new();
    let mut list = false;
    let mut keep_going = false;
    while let Some(argument) = next(parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Request::Help(CI)),
            Long("list") => list = true,
            Long("keep-going") => keep_going = true,
            Value(name) => {
                let name = name.to_string_lossy().into_owned();
                if !ci::steps().iter().any(|step| step.name == name) {
                    return Err(Failure::new(format!(
                        "no step named {name}; `cargo xtask ci --list` prints them"
                    )));
                }
                only.push(name);
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok(if list {
        Request::ListSteps
    } else {
        Request::Ci { only, keep_going }
    })
}

fn parse_stress(parser: &mut lexopt::Parser) -> Result<Request, Failure> {
    let mut stress = Stress {
        allocators: Vec::new(),
        minutes: 10,
        seconds: None,
    };
    while let Some(argument) = next(parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Request::Help(STRESS)),
            Long("minutes") => stress.minutes = number(parser)?,
            Long("seconds") => stress.seconds = Some(number(parser)?),
            Long("allocator") => {
                let name = parser
                    .value()
                    .map_err(wrong)?
                    .to_string_lossy()
                    .into_owned();
                if !stress::ALLOCATORS.contains(&name.as_str()) {
                    let known = stress::ALLOCATORS.join(", ");
                    return Err(Failure::new(format!(
                        "no allocator named {name}; there is {known}"
                    )));
                }
                stress.allocators.push(name);
            }
            other => return Err(unexpected(other)),
        }
    }
    if stress.allocators.is_empty() {
        stress.allocators = stress::ALLOCATORS.map(String::from).to_vec();
    }
    Ok(Request::Stress(stress))
}

fn parse_fuzz(parser: &mut lexopt::Parser) -> Result<Request, Failure> {
    let mut fuzz = Fuzz {
        targets: Vec::new(),
        seconds: 60,
    };
    while let Some(argument) = next(parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Request::Help(FUZZ)),
            Long("seconds") => fuzz.seconds = number(parser)?,
            Value(name) => {
                let name = name.to_string_lossy().into_owned();
                if !fuzz::TARGETS.contains(&name.as_str()) {
                    let known = fuzz::TARGETS.join(", ");
                    return Err(Failure::new(format!(
                        "no target named {name}; there is {known}"
                    )));
                }
                fuzz.targets.push(name);
            }
            other => return Err(unexpected(other)),
        }
    }
    if fuzz.targets.is_empty() {
        fuzz.targets = fuzz::TARGETS.map(String::from).to_vec();
    }
    Ok(Request::Fuzz(fuzz))
}

fn number(parser: &mut lexopt::Parser) -> Result<u64, Failure> {
    let value = parser.value().map_err(wrong)?;
    value.parse().map_err(wrong)
}

fn wrong(error: lexopt::Error) -> Failure {
    Failure::new(error.to_string())
}

fn next(parser: &mut lexopt::Parser) -> Result<Option<lexopt::Arg<'_>>, Failure> {
    parser
        .next()
        .map_err(|error| Failure::new(error.to_string()))
}

fn unexpected(argument: lexopt::Arg<'_>) -> Failure {
    Failure::new(argument.unexpected().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_command_explains_itself() {
        assert_eq!(parsed(""), Ok(Request::Help(OVERVIEW)));
        assert_eq!(parsed("help"), Ok(Request::Help(OVERVIEW)));
        assert_eq!(parsed("--help"), Ok(Request::Help(OVERVIEW)));
        assert_eq!(parsed("tidy --help"), Ok(Request::Help(TIDY)));
        assert_eq!(parsed("ci --list -h"), Ok(Request::Help(CI)));
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(parsed("tidy"), Ok(Request::Tidy));
        assert_eq!(parsed("miri"), Ok(Request::Detect(Detector::Miri)));
        assert_eq!(parsed("race"), Ok(Request::Detect(Detector::Race)));
        assert_eq!(parsed("race -h"), Ok(Request::Help(RACE)));
        assert!(parsed("miri now").is_err());
        assert_eq!(
            parsed("ci"),
            Ok(Request::Ci {
                only: vec![],
                keep_going: false
            })
        );
        assert_eq!(parsed("ci --list"), Ok(Request::ListSteps));
        let only = vec!["fmt".to_string(), "tidy".to_string()];
        assert_eq!(
            parsed("ci fmt --keep-going tidy"),
            Ok(Request::Ci {
                only,
                keep_going: true
            })
        );
    }

    #[test]
    fn stress_is_long_and_on_all_allocators_unless_said_otherwise() {
        let all = stress::ALLOCATORS.map(String::from).to_vec();
        let stress = |allocators: &[String], minutes, seconds| {
            let allocators = allocators.to_vec();
            Ok(Request::Stress(Stress {
                allocators,
                minutes,
                seconds,
            }))
        };
        assert_eq!(parsed("stress"), stress(&all, 10, None));
        assert_eq!(parsed("stress --minutes 2"), stress(&all, 2, None));
        assert_eq!(
            parsed("stress --seconds 5 --allocator jemalloc"),
            stress(&all[2..], 10, Some(5))
        );
        assert!(
            parsed("stress --allocator tcmalloc")
                .unwrap_err()
                .contains("mimalloc")
        );
        assert!(
            parsed("stress --minutes soon")
                .unwrap_err()
                .contains("soon")
        );
    }

    #[test]
    fn counts_are_compared_unless_they_are_to_be_kept() {
        let expected = |mode| Ok(Request::Instructions(mode));
        assert_eq!(parsed("instructions"), expected(Mode::Check));
        assert_eq!(parsed("instructions --check"), expected(Mode::Check));
        assert_eq!(parsed("instructions --write"), expected(Mode::Write));
        assert!(parsed("instructions now").is_err());
    }

    #[test]
    fn fuzz_runs_all_targets_for_a_minute_unless_said_otherwise() {
        let fuzz = |targets: &[&str], seconds| {
            let targets = targets.iter().map(|&target| target.to_owned()).collect();
            Ok(Request::Fuzz(Fuzz { targets, seconds }))
        };
        assert_eq!(parsed("fuzz"), fuzz(&fuzz::TARGETS, 60));
        assert_eq!(parsed("fuzz --seconds 5 server"), fuzz(&["server"], 5));
        assert!(parsed("fuzz parser").unwrap_err().contains("framing"));
    }

    #[test]
    fn programs_of_other_workspaces_read_their_arguments_themselves() {
        let words = ["pingpong", "--quick", "--help"].map(OsString::from);
        let expected = Ok(Request::Bench(words.to_vec()));
        assert_eq!(parsed("bench pingpong --quick --help"), expected);
        let words = ["--write"].map(OsString::from);
        assert_eq!(
            parsed("compat --write"),
            Ok(Request::Compat(words.to_vec()))
        );
    }

    #[test]
    fn wrong_usage_is_named() {
        assert_eq!(parsed("tydi"), Err("no command named tydi".into()));
        assert!(
            parsed("ci no-such-step")
                .unwrap_err()
                .starts_with("no step named no-such-step")
        );
        assert!(parsed("tidy --fix").unwrap_err().contains("--fix"));
    }
}
