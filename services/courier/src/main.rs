//! A webhook outbox.
fn main() {}
