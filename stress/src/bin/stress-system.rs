//! The stress program on the system's malloc.

use std::process::ExitCode;

fn main() -> ExitCode {
    gaggle_stress::main("the system's malloc")
}
