//! A pipeline: stages with a channel between each two, a slow one with more workers, one context for
//! all, and the first error as the answer.
//!
//! `cargo run -p gaggle-examples --bin pipeline`

use gaggle::context::{self, Cause};
use gaggle::pipeline;
use gaggle::time::sleep;
use std::time::Duration;

#[gaggle::main]
fn main() -> Result<(), Cause> {
    let background = context::background();
    let lines = (1..=12).map(|n| format!("{n} geese"));

    let batches: Vec<Vec<u32>> = pipeline::source(&background, lines)
        .try_map_ordered(4, |line| {
            sleep(Duration::from_millis(1));
            let count = line.split(' ').next().unwrap_or_default();
            count.parse::<u32>()
        })
        .map(1, |count| count * 2)
        .batch(5, Duration::from_secs(1))
        .collect()?;
    println!("feet, in batches: {batches:?}");
    let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 5, 2]);
    assert!(batches.concat().is_sorted());

    // The same with a line that is no number: everything stops, and says why.
    let error = pipeline::source(&background, ["1", "2", "a gaggle"])
        .try_map(2, str::parse::<u32>)
        .drain()
        .expect_err("that is no number");
    println!("and the other one fails: {error}");
    assert!(error.is::<std::num::ParseIntError>());
    Ok(())
}
