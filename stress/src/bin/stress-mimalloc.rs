//! The stress program on mimalloc.

use gaggle::alloc::PerMachine;
use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: PerMachine<MiMalloc> = PerMachine::new(MiMalloc);

fn main() -> ExitCode {
    gaggle_stress::main("mimalloc")
}
