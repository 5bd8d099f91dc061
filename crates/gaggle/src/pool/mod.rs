//! Pools of goroutines that work off tasks.
//!
//! A goroutine is cheap to start, so a pool is not there to save that: it bounds how much happens at the same time,
//! and makes those who bring tasks wait when there are too many.
//!
//! | pool | for |
//! |---|---|
//! | [`WorkerPool`] | a fixed number of workers, whose tasks' errors are collected |
//! | [`ContextPool`] | tasks that are done or given up together: the first failure, or a deadline, ends all |
//! | [`DynamicPool`] | as many workers between two bounds as there is work for |
//!
//! Where the tasks are known from the start, a [`group`](crate::group) with a limit, or
//! [`scope_with_limit`](crate::scope_with_limit), is all that is needed.

mod context_pool;
mod dynamic_pool;
mod results;
mod worker_pool;

pub use context_pool::{ContextPool, ContextPoolError};
pub use dynamic_pool::DynamicPool;
pub use results::{Results, TaskError};
pub use worker_pool::WorkerPool;

use std::fmt;

/// What a pool works off: a function that may fail.
pub type Task<E> = Box<dyn FnOnce() -> Result<(), E> + Send + 'static>;

/// Why a pool refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// No pool can have this number of workers.
    BadParams,
    /// The task is absent.
    BadTask,
    /// The pool has not been started.
    NotStarted,
    /// The pool has been shut down, or its context has ended.
    ShutDown,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolError::BadParams => "a pool needs one worker or more, and bounds in their order",
            PoolError::BadTask => "the task is absent",
            PoolError::NotStarted => "the pool has not been started",
            PoolError::ShutDown => "the pool has been shut down",
        })
    }
}

impl std::error::Error for PoolError {}
