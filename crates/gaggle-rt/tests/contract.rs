//! The green backend keeps the contract that the threads backend keeps, clause by clause.
#![cfg(green)]

#[path = "../../gaggle-threads/tests/suite/mod.rs"]
mod suite;

pub use gaggle_rt::Green as Backend;

/// Starts the backend once for all tests of this process.
pub fn begin() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| gaggle_rt::start(Some(3)).expect("the green backend runs here"));
}
