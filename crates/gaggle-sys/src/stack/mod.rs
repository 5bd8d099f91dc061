//! The memory that goroutines run on: address space, guards, and its division into slots.

pub mod guard;
pub mod map;
