//! The command line's own work.

pub mod demo;
pub mod limits;
