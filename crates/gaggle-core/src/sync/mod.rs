//! Synchronisation between tasks that is not about passing values.

mod sema;
mod wait_group;

pub use sema::{AcquireArm, Semaphore};
pub use wait_group::WaitGroup;
