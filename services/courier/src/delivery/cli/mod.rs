//! The command line's own work.

pub mod limits;
