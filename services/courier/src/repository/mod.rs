//! The stores behind the use cases' ports.

pub mod sqlite;
