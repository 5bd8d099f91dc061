//! `gaggle-instructions NAME COUNT` does one primitive of gaggle-core COUNT times and ends; without arguments
//! it prints the names. `cargo xtask instructions` runs it under callgrind with two counts: what the one
//! takes more than the other is what the primitive takes, whatever a process's start costs.
//!
//! Each is the uncontended way, which is what programs do most. Nothing here calls into the C library within
//! the counted loop: what that executes depends on the machine.

mod plain;
mod primitives;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, count] = arguments.as_slice() else {
        for (name, _) in primitives::ALL {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let found = primitives::ALL.iter().find(|(known, _)| known == name);
    let (Some((_, run)), Ok(count)) = (found, count.parse()) else {
        eprintln!("gaggle-instructions [NAME COUNT]; no arguments: the names");
        return ExitCode::from(2);
    };
    run(count);
    ExitCode::SUCCESS
}
