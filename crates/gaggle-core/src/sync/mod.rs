//! Synchronisation between tasks that is not about passing values.

mod condition;
mod contention;
mod limit;
mod mutex;
mod rwlock;
mod sema;
mod wait_group;

pub use condition::Condition;
pub use limit::{Ended, Limit};
pub use mutex::RawMutex;
pub use rwlock::RawRwLock;
pub use sema::Semaphore;
pub use wait_group::WaitGroup;
