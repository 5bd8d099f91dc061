//! The barrier.

use super::{Condvar, Mutex, unwind};
use std::fmt;

/// A place where a number of goroutines wait for each other, any number of times.
///
/// # Examples
/// ```
/// let barrier = gaggle::sync::Barrier::new(3);
/// let leaders: usize = gaggle::scope(|s| {
///     let waiters = [0; 3].map(|_| s.go(|| barrier.wait().is_leader()));
///     waiters.map(|waiter| usize::from(waiter.join().unwrap())).iter().sum()
/// });
/// assert_eq!(leaders, 1);
/// ```
///
/// The interface is that of [`std::sync::Barrier`].
pub struct Barrier {
    size: usize,
    state: Mutex<State>,
    opened: Condvar,
}

struct State {
    /// How many wait at present.
    waiting: usize,
    /// How often the barrier has opened.
    generation: u64,
}

/// Whether a goroutine is the one of its round that came last; answered by [`Barrier::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Whether this goroutine came last, and opened the barrier: one in each round.
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

impl Barrier {
    /// A barrier that opens whenever `size` goroutines wait; 0 is as good as 1.
    pub const fn new(size: usize) -> Self {
        let (waiting, generation) = (0, 0);
        Barrier {
            size,
            state: Mutex::new(State {
                waiting,
                generation,
            }),
            opened: Condvar::new(),
        }
    }

    /// Blocks this goroutine (never its OS thread) until as many wait as the barrier is for.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`](crate::context::Context::run)) ends first; it then
    /// no longer counts.
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let mut state = self.state.lock_shielded();
        state.waiting += 1;
        let is_leader = state.waiting >= self.size;
        if is_leader {
            state.waiting = 0;
            state.generation += 1;
            drop(state);
            self.opened.notify_all();
        } else {
            let own = state.generation;
            while state.generation == own {
                let outcome = self.opened.try_wait(&mut state);
                if let (Err(ended), true) = (outcome, state.generation == own) {
                    state.waiting -= 1;
                    drop(state);
                    unwind(ended);
                }
            }
        }
        BarrierWaitResult { is_leader }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
