//! Goroutines for Rust: a goroutine is a thread, as far as your code can tell.
//!
//! [`go`] starts one. It has its own stack, its own `thread_local!`s and its own
//! `std::thread::current()`, and may block anywhere: in `std::net`, `std::sync`, `thread::sleep`, a C
//! library. There is one runtime in a process, started by its first use; see [`runtime`].
//!
//! ```
//! #[gaggle::main]
//! fn main() {
//!     let answer = gaggle::go(|| 6 * 7);
//!     assert_eq!(answer.join().unwrap(), 42);
//!
//!     let mut hits = [0u32; 4];
//!     gaggle::scope(|s| {
//!         for hit in &mut hits {
//!             s.go(|| *hit += 1);
//!         }
//!     });
//!     assert_eq!(hits, [1; 4]);
//! }
//! ```

// The macros name this crate by its path, in its own tests too.
extern crate self as gaggle;

pub mod actor;
pub mod alloc;
mod backend;
mod block_on;
mod builder;
pub mod chan;
pub mod context;
mod family;
mod goroutine;
pub mod group;
mod join;
mod metrics;
#[cfg(unix)]
pub mod net;
mod os_thread;
mod panics;
mod parker;
pub mod pipeline;
pub mod pitfalls;
pub mod pool;
pub mod rate;
mod run;
pub mod runtime;
mod scope;
pub mod select;
pub mod signal;
pub mod sync;
pub mod testing;
pub mod time;

pub use block_on::block_on;
pub use builder::{Builder, go};
pub use gaggle_macros::{main, test};
pub use goroutine::{Goroutine, current, id, park, park_timeout, yield_now};
pub use join::{JoinHandle, Joined};
pub use os_thread::{OsThreadLock, lock_os_thread};
pub use run::run;
pub use scope::{Scope, ScopedJoinHandle, scope, scope_with_limit};
