//! Every system call, private libc fact and line of assembly that Gaggle needs.
//!
//! Nothing here calls a libc function that the runtime's hooks define (that would call the hook
//! again): system calls are made by [`call`], and a libc function that is wanted itself is reached
//! by its real address ([`glibc::symbols`]).
//!
//! `arch` holds the only assembly; `glibc` one file for each private fact, with the assumption, the
//! check made at start-up, and what happens when the check fails; `stack` the goroutines' memory.
//! The crate compiles to nothing where the green backend cannot run.
#![cfg(green)]

pub mod affinity;
pub mod alarm;
pub mod arch;
pub mod barrier;
pub mod call;
pub mod clock;
pub mod fault;
pub mod futex;
pub mod glibc;
pub mod interrupt;
pub mod message;
pub mod poller;
pub mod quota;
pub mod signal;
pub mod stack;
pub mod thread;
