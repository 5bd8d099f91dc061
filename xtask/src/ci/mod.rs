//! Everything that must hold before a change is accepted, in the order in which it fails soonest.
//!
//! - I1: a step passes only if each of its commands ended with the status it must end with.
//! - I2: a step that runs tests passes only if some test ran, and none was ignored or printed a line
//!   starting with `SKIP:`.
//! - I3: nothing is left out silently: what is lacking is named. Of tools only Miri and ThreadSanitizer may
//!   be, and of the machine what `Observed` lists (registers, processors, control groups).
//! - I4: a command that hangs is ended, with all its children, and fails its step.

mod command;
mod detectors;
mod observed;
mod steps;

pub use command::Task;
pub use observed::Observed;
pub(crate) use steps::target_folder;
pub use steps::{Step, steps};

use crate::failure::Failure;
use crate::fuzz::Fuzz;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Runs the steps named in `only`, or all of them; `false` when one failed, and the rest did not run
/// then unless `keep_going`. What the steps print goes to the standard output.
///
/// # Errors
/// When a command cannot be started at all.
pub fn run(root: &Path, only: &[String], keep_going: bool) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut summary = Vec::new();
    let mut passed = true;
    for step in steps()
        .iter()
        .filter(|step| only.is_empty() || only.contains(&step.name.into()))
    {
        let step_started = Instant::now();
        println!("\n=== {}: {}", step.name, step.purpose);
        let outcome = run_step(step, root)?;
        let seconds = step_started.elapsed().as_secs_f64();
        let (verdict, note) = match &outcome {
            Outcome::Passed(note) => ("passed", note),
            Outcome::Lacking(note) => ("SKIP", note),
            Outcome::Failed(why) => ("FAILED", why),
        };
        let line = format!("{verdict:<7} {:<10} {seconds:>7.1} s  {note}", step.name);
        println!("=== {line}");
        summary.push(line);
        if let Outcome::Failed(_) = outcome {
            passed = false;
            if !keep_going {
                break;
            }
        }
    }
    println!("\n=== all steps, {:.1} s", started.elapsed().as_secs_f64());
    for line in summary {
        println!("{line}");
    }
    Ok(passed)
}

/// What looks for mistakes that a test does not see by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// Of undefined behaviour.
    Miri,
    /// Of data races.
    Race,
}

/// Runs the tests that it can look at; `false`: something was found, or a test failed.
///
/// # Errors
/// When a command cannot be started at all.
pub fn detect(root: &Path, detector: Detector) -> Result<bool, Failure> {
    let step = match detector {
        Detector::Miri => steps::of_detector("miri", detectors::undefined_behaviour),
        Detector::Race => steps::of_detector("race", detectors::races),
    };
    Ok(match run_step(&step, root)? {
        Outcome::Passed(note) | Outcome::Lacking(note) => {
            println!("=== {} passed: {note}", step.name);
            true
        }
        Outcome::Failed(why) => {
            println!("=== {} FAILED: {why}", step.name);
            false
        }
    })
}

/// Runs the fuzz targets; `false`: one failed, and the rest did not run.
///
/// # Errors
/// When a command cannot be started at all.
pub(crate) fn fuzz(root: &Path, fuzz: &Fuzz) -> Result<bool, Failure> {
    for task in fuzz.tasks(root)? {
        println!("$ {task}");
        let ending = task.run(root, &mut |line| println!("{line}"))?;
        if let Err(why) = task.verdict(ending) {
            println!("=== fuzz FAILED: {why}");
            return Ok(false);
        }
    }
    Ok(true)
}

enum Outcome {
    Passed(String),
    /// The toolchain has no such thing, and it may lack it (I3).
    Lacking(String),
    Failed(String),
}

fn run_step(step: &Step, root: &Path) -> Result<Outcome, Failure> {
    let tasks = match (step.tasks)(root)? {
        steps::Plan::Run(tasks) => tasks,
        steps::Plan::Lacking(what) => {
            println!("SKIP: {}: {what}", step.name);
            return Ok(Outcome::Lacking(what));
        }
        steps::Plan::Done { passed, note } => {
            return Ok(if passed {
                Outcome::Passed(note)
            } else {
                Outcome::Failed(note)
            });
        }
    };
    let mut observed = Observed::default();
    for task in tasks {
        println!("$ {task}");
        let status = task.run(root, &mut |line| {
            println!("{line}");
            observed.line(line);
        })?;
        std::io::stdout()
            .flush()
            .map_err(|error| Failure::new(error.to_string()))?;
        if let Err(why) = task.verdict(status) {
            return Ok(Outcome::Failed(format!("{task}: {why}")));
        }
    }
    Ok(match observed.verdict(step.runs_tests) {
        Ok(note) => Outcome::Passed(note),
        Err(why) => Outcome::Failed(why),
    })
}
