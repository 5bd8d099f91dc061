//! Where courier meets the outside: HTTP in and out, and the command line.

pub mod cli;
pub mod http;
