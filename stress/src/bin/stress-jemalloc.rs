//! The stress program on jemalloc.

use gaggle::alloc::PerMachine;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: PerMachine<Jemalloc> = PerMachine::new(Jemalloc);

fn main() -> ExitCode {
    gaggle_stress::main("jemalloc")
}
