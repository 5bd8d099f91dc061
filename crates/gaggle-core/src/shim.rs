//! One name for each atomic and cell, whether it is std's or the model checker's.
//!
//! Algorithms in this crate import from here, never from `std::sync::atomic`, so that building with
//! `--cfg loom` puts every one of their interleavings before the model checker.

#[cfg(not(loom))]
pub use std::sync::atomic;

#[cfg(loom)]
pub use loom::sync::atomic;

/// Tells the processor (or the model checker) that this is a spin loop.
pub fn spin_hint() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
