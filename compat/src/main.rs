//! Unmodified blocking crates, each used from a thousand goroutines at once on two processors.
//!
//! `cargo xtask compat`, or `cargo run --manifest-path compat/Cargo.toml -- --help`
//!
//! - C1: each crate is tried in a process of its own, so that its OS threads and hand-offs are its own,
//!   and what hangs or crashes is one row.
//! - C2: what a goroutine gets is checked; a row says `works` only if all of it was right.
//! - C3: servers run in this process or in ones that it starts, never in those of C1, except where the
//!   crate is itself the server.

#![forbid(unsafe_code)]

mod at_once;
mod cases;
mod row;
mod servers;
mod table;
mod trial;

use at_once::Failure;
use lexopt::prelude::*;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Tries unmodified crates on goroutines

Usage: gaggle-compat [--goroutines N] [--write | --check] [CRATE]...

  --goroutines N   how many at once (default: 1000)
  --write          writes docs/compatibility.md, when all crates were tried
  --check          fails if docs/compatibility.md lists other crates, versions or verdicts
  CRATE            only these

GAGGLE_BACKEND=threads tries them on the threads backend.

Exit status: 0 all as expected, 1 not, 2 wrong usage.";

/// What the command line asks for.
struct Wishes {
    goroutines: usize,
    write: bool,
    check: bool,
    /// The one crate that this process is to try itself (C1).
    own: Option<String>,
    only: Vec<String>,
}

fn read_wishes() -> Result<Option<Wishes>, lexopt::Error> {
    let mut wishes = Wishes {
        goroutines: 1000,
        write: false,
        check: false,
        own: None,
        only: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("goroutines") => wishes.goroutines = parser.value()?.parse()?,
            Long("write") => wishes.write = true,
            Long("check") => wishes.check = true,
            Long("own") => wishes.own = Some(parser.value()?.string()?),
            Value(name) => {
                let name = name.string()?;
                if cases::find(&name).is_none() {
                    return Err(format!("no crate named {name} is tried here").into());
                }
                wishes.only.push(name);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(wishes))
}

fn main() -> ExitCode {
    let wishes = match read_wishes() {
        Ok(Some(wishes)) => wishes,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let outcome = match &wishes.own {
        Some(name) => trial::be_tried(name, wishes.goroutines),
        None => try_all(&wishes),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_all(wishes: &Wishes) -> Result<bool, Failure> {
    at_once::allow_many_descriptors()?;
    let chosen: Vec<_> = cases::all()
        .iter()
        .filter(|case| wishes.only.is_empty() || wishes.only.iter().any(|name| name == case.name))
        .collect();
    let needed: Vec<_> = chosen.iter().flat_map(|case| case.needs).copied().collect();
    let servers = servers::Servers::start(&needed)?;
    let mut rows = Vec::new();
    for case in chosen {
        let row = trial::try_one(case, wishes.goroutines, &servers)?;
        println!("{}", row.line());
        rows.push(row);
    }
    drop(servers);
    let right = rows.iter().filter(|row| row.works()).count();
    println!("{right} of {} work", rows.len());
    let document: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "compatibility.md"]
        .iter()
        .collect();
    if wishes.write {
        if !wishes.only.is_empty() {
            return Err("--write wants all crates tried".into());
        }
        std::fs::write(&document, table::document(&rows, wishes.goroutines))?;
    }
    if wishes.check {
        table::check(&std::fs::read_to_string(&document)?, &rows)?;
    }
    Ok(right == rows.len())
}
