//! The `cargo xtask` program; see the library beside it.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use xtask::bench;
use xtask::ci;
use xtask::cli::{self, Request};
use xtask::compat;
use xtask::failure::Failure;
use xtask::instructions;
use xtask::tidy;

fn main() -> ExitCode {
    let request = match cli::parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(failure) => {
            eprintln!("error: {failure}\n\n{}", cli::OVERVIEW);
            return ExitCode::from(2);
        }
    };
    match run(request) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked; `false` when a check found something.
fn run(request: Request) -> Result<bool, Failure> {
    match request {
        Request::Help(text) => {
            println!("{text}");
            Ok(true)
        }
        Request::Tidy => {
            let report = tidy::check(&workspace_root()?)?;
            println!("{report}");
            Ok(report.is_clean())
        }
        Request::ListSteps => {
            for step in ci::steps() {
                println!("{:<10} {}", step.name, step.purpose);
            }
            Ok(true)
        }
        Request::Compat(arguments) => compat::run(&workspace_root()?, &arguments),
        Request::Bench(arguments) => bench::run(&workspace_root()?, &arguments),
        Request::Instructions(mode) => instructions::run(&workspace_root()?, mode),
        Request::Detect(detector) => ci::detect(&workspace_root()?, detector),
        Request::Fuzz(fuzz) => fuzz.run(&workspace_root()?),
        Request::Stress(stress) => stress.run(&workspace_root()?),
        Request::Ci { only, keep_going } => ci::run(&workspace_root()?, &only, keep_going),
    }
}

/// The folder of the workspace that the current folder belongs to.
fn workspace_root() -> Result<std::path::PathBuf, Failure> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .exec()
        .map_err(|error| Failure::new(format!("cannot find the workspace: {error}")))?;
    Ok(metadata.workspace_root.into_std_path_buf())
}
