//! `courier demo`: the whole on one machine, checked.
//!
//! A child process serves; this process publishes through its API and receives its webhooks, so that
//! what is counted here is what a real receiver sees. Half-way the child is killed with -9 and
//! started again on the same port and database.

mod child;
mod events;
mod load;
mod publisher;
mod receiver;
mod report;
mod tally;

use crate::config::DemoOptions;
use events::Event;
use load::{Load, Plan};
use report::Report;
use std::error::Error;
use std::process::ExitCode;

pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Runs the demo and prints what came of it. Blocks this goroutine. The status is 1 when anything
/// was lost or out of order.
///
/// # Errors
/// When the demo itself cannot go on: no child, no port, unreadable events.
pub fn run(options: &DemoOptions) -> Result<ExitCode, Failure> {
    let plan = match options.slow_receivers {
        Some(count) => Plan::slow(Event::of_slow_receivers(count)),
        None => {
            let events = events::read(options.events.as_deref(), options.events_count)?;
            Plan::usual(events, !options.no_kill)
        }
    };
    let show = !options.json;
    let mut report = Report::new(Load::new(&plan, None, show)?.run()?);
    if !options.no_compare {
        let plan = plan.without_kill();
        let threads = Load::new(&plan, Some("threads"), show)?.run()?;
        report.compare(&threads);
    }
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.table());
    }
    Ok(if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
