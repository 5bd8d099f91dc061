//! A hundred thousand goroutines, each asleep in `std::thread::sleep`.
//!
//! `cargo run --release -p gaggle-examples --bin sleepers [COUNT [SECONDS]]`

mod support;

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;
use support::{Watch, argument};

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let count = argument(1, 100_000)?;
    let time = Duration::from_secs(argument(2, 10)?);
    let watch = Watch::start();

    let mut sleepers = Vec::with_capacity(count);
    for _ in 0..count {
        sleepers.push(gaggle::Builder::new().spawn(move || sleep(time))?);
    }
    for sleeper in sleepers {
        sleeper.join().expect("a sleeper does not panic");
    }

    println!("{count} sleepers of {time:?} each: {}", watch.finish());
    Ok(())
}
