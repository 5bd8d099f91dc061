//! The contract between Gaggle and its backends, and the pure concurrent algorithms over it.
//!
//! Nothing here makes a system call, uses assembly or a `thread_local!`: everything a backend owns
//! (the current task, parking, the clock, randomness) is reached through [`contract::Runtime`], so
//! the same algorithm runs on goroutines, on OS threads and under the model checker.

pub mod chan;
pub mod context;
mod context_tree;
pub mod contract;
pub mod deadlock;
pub mod idle;
pub mod injector;
pub mod interrupt;
pub mod lock;
pub mod p_handoff;
pub mod run_queue;
pub mod sections;
pub mod select;
mod select_lock;
pub mod shim;
pub mod stack_claim;
pub mod sync;
pub mod task;
pub mod timer_heap;
mod wait_queue;
pub mod word_lock;
