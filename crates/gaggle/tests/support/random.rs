//! The seeds of random tests, so that what fails can be played again: `GAGGLE_TEST_SEED` chooses one.

use rand::Rng;
use std::fmt::Display;

fn given() -> Option<u64> {
    let seed = std::env::var("GAGGLE_TEST_SEED").ok()?;
    Some(seed.parse().expect("a seed is a number"))
}

/// The seed of this run; printed, so that a failure shows it.
pub fn seed() -> u64 {
    let seed = given().unwrap_or_else(|| rand::rng().next_u64());
    println!("GAGGLE_TEST_SEED={seed}");
    seed
}

/// Runs `run` with `count` seeds in a row, or with the given one alone, and panics with the first that fails.
pub fn with_seeds<E: Display>(count: u64, run: impl Fn(u64) -> Result<(), E>) {
    let (first, count) = match given() {
        Some(seed) => (seed, 1),
        None => (rand::rng().next_u64(), count),
    };
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        if let Err(what) = run(seed) {
            panic!("GAGGLE_TEST_SEED={seed}: {what}");
        }
    }
}
