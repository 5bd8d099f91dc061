//! What courier does: take events in, dispatch them, say where they are. Knows the outside only
//! through the traits of [`ports`].

pub mod counters;
pub mod dispatch;
pub mod intake;
pub mod ports;

#[cfg(test)]
mod memory;
