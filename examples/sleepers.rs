//! Ten lines later: a hundred thousand goroutines asleep.
fn main() {}
