//! What a webhook outbox is, without any input or output: identifiers, limits, the states of a
//! delivery, retries, signatures and the addresses that may be called.

pub mod address;
pub mod delivery;
pub mod endpoint;
pub mod identifier;
pub mod message;
pub mod retry;
pub mod signature;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMilliseconds = i64;
