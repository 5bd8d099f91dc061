//! Synchronisation between goroutines that is not about passing values.
//!
//! The locks here are for goroutines and plain OS threads alike, and may be held over any call that blocks.
//! A panic under a lock gives it up and does no more: there is no poisoning, as in Go.
//!
//! Under [`Context::run`] a wait for one of them ends with the context: those that can answer an error do so, the
//! others panic.
//!
//! `std::sync`'s locks, condition variables and barriers work on goroutines as they are. Those here are faster
//! where many goroutines want the same lock, are fair to who has waited for a millisecond, and can be waited
//! for until a [`Context`] ends.
//!
//! | to | there is | Go's |
//! |---|---|---|
//! | let one at a time in | [`Mutex`], [`RwLock`] | `sync.Mutex`, `sync.RWMutex` |
//! | wait for a change | [`Condvar`] | `sync.Cond` |
//! | wait for an end | [`WaitGroup`], [`Barrier`] | `sync.WaitGroup` |
//! | do once | [`Once`], [`OnceLock`], [`once_func`], [`once_value`] | `sync.Once`, `sync.OnceFunc`, ... |
//! | let a number in | [`Semaphore`] | `x/sync/semaphore` |
//! | do for all who ask at once | [`SingleFlight`] | `x/sync/singleflight` |
//! | keep for the next | [`Pool`] | `sync.Pool` |

mod barrier;
mod condvar;
mod mutex;
mod once;
mod once_func;
mod pool;
mod rwlock;
mod semaphore;
mod single_flight;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceLock};
pub use once_func::{once_func, once_value};
pub use pool::{Pool, Pooled};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use single_flight::{Flight, SingleFlight};
pub use wait_group::WaitGroup;

use crate::backend::Dispatch;
use crate::context::{Context, ContextError};
use gaggle_core::chan::RecvArm;
use gaggle_core::interrupt;
use gaggle_core::sync::{Ended, Limit};

/// Waits by `wait` until `context` ends at most; not at all if it has ended.
fn until_end_of<T>(
    context: &Context,
    wait: impl FnOnce(&Limit<'_, Dispatch>) -> Result<T, Ended>,
) -> Result<T, ContextError> {
    if let Some(error) = context.err() {
        return Err(error);
    }
    let done = RecvArm::new(&context.done().0);
    wait(&Limit::interrupted_by(&done)).map_err(|ended| match ended {
        Ended::UnderContext(error) => error,
        // `done` is closed after the error is set.
        Ended::Interrupted | Ended::TimedOut => context.err().unwrap_or(ContextError::Canceled),
    })
}

/// Waits by `wait`, whose only end without success is that of a context that the caller runs under.
///
/// # Panics
/// When that ends: there is no error to answer.
#[inline]
#[track_caller]
fn or_unwind(wait: impl FnOnce(&Limit<'_, Dispatch>) -> Result<(), Ended>) {
    if let Err(ended) = wait(&Limit::never()) {
        unwind(ended);
    }
}

#[cold]
#[track_caller]
fn unwind(ended: Ended) -> ! {
    match ended {
        Ended::UnderContext(error) => interrupt::unwind(error),
        Ended::Interrupted | Ended::TimedOut => unreachable!("such a limit was not given"),
    }
}
