//! Gaggle's development commands: what `cargo xtask` runs.
//!
//! - [`tidy`] keeps the rules that no compiler knows: which crate may know which, where assembly and
//!   system calls live, that every module says what it is, that documents link what exists.
//! - [`ci`] runs everything that must hold before a change is accepted, step by step.
//! - [`compat`] hands over to the program that tries unmodified crates.
//! - [`mod@bench`] hands over to the harness that compares with the peers.
//! - [`mod@fuzz`] runs the fuzz targets.
//! - [`cli`] reads the command line.

#![forbid(unsafe_code)]

pub mod bench;
pub mod ci;
pub mod cli;
pub mod compat;
pub mod failure;
pub mod fuzz;
pub mod instructions;
pub mod stress;
pub mod tidy;
