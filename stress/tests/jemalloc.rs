//! jemalloc as the global allocator of goroutines that move between OS threads.

mod cases;

use gaggle::alloc::PerMachine;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: PerMachine<Jemalloc> = PerMachine::new(Jemalloc);
