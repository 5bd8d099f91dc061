//! mimalloc as the global allocator of goroutines that move between OS threads.

mod cases;

use gaggle::alloc::PerMachine;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: PerMachine<MiMalloc> = PerMachine::new(MiMalloc);
