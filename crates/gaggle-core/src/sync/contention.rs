//! What the mutex and the read-write lock do alike when they find the lock taken: they spin a little, if
//! another processor can give it up meanwhile, and then wait in a queue, the longer the more urgently.

use crate::contract::{Nanos, Runtime};
use crate::shim::spin_hint;

/// Who has waited for longer than this, in nanoseconds, is *starving*: the lock is handed over instead of
/// left to whoever is faster. The model checker has everybody starve at their second wait.
pub(crate) const STARVATION_NS: Nanos = if cfg!(loom) { 0 } else { 1_000_000 };

/// The claim's token of a task that was woken to try again.
pub(crate) const TRY_AGAIN: usize = 0;
/// The claim's token of a task that owns the lock.
pub(crate) const HANDED_OVER: usize = 1;

/// How often a task looks again before it parks.
const ROUNDS_MAX: u32 = if cfg!(loom) { 1 } else { 4 };
/// The same for one that was woken: there is one at most, it has waited already, and the lock was given up just
/// now, so it is held for short times.
const ROUNDS_MAX_WOKEN: u32 = if cfg!(loom) { 1 } else { 6 };
/// How many pauses the first round takes; each round takes twice as many as the one before.
const FIRST_ROUND_PAUSES: u32 = if cfg!(loom) { 1 } else { 8 };

/// The rounds of looking at a lock without parking.
///
/// The rounds get longer, since each look takes the lock's cache line away from its owner, whose operations
/// then cost a hundred times as much.
#[derive(Debug)]
pub(crate) struct Spin {
    rounds: u32,
    rounds_max: u32,
}

impl Spin {
    /// Rounds for a task that has just come.
    pub(crate) fn first<R: Runtime>() -> Self {
        Self::of::<R>(ROUNDS_MAX)
    }

    /// Rounds for a task that was woken.
    pub(crate) fn woken<R: Runtime>() -> Self {
        Self::of::<R>(ROUNDS_MAX_WOKEN)
    }

    fn of<R: Runtime>(rounds_max: u32) -> Self {
        // With one processor nobody gives anything up while this task spins.
        let rounds_max = if R::processors() > 1 { rounds_max } else { 0 };
        Spin {
            rounds: 0,
            rounds_max,
        }
    }

    /// Whether there is a round left.
    pub(crate) fn may_go_on(&self) -> bool {
        self.rounds < self.rounds_max
    }

    /// Passes one round.
    pub(crate) fn pass(&mut self) {
        for _ in 0..FIRST_ROUND_PAUSES << self.rounds {
            spin_hint();
        }
        self.rounds += 1;
    }
}

/// How long a task has been after a lock.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Nanos>,
    /// It has stood in the queue, so the next time it stands at the front.
    pub(crate) has_waited: bool,
}

impl Patience {
    /// When the task first wanted to wait, and whether it is starving; the clock is read here.
    pub(crate) fn look<R: Runtime>(&mut self) -> (Nanos, bool) {
        let now = R::now();
        match self.since {
            Some(since) => (since, is_starving(since, now)),
            None => {
                self.since = Some(now);
                (now, false)
            }
        }
    }
}

/// Whether somebody who waits since `since` has waited for too long at `now`.
pub(crate) fn is_starving(since: Nanos, now: Nanos) -> bool {
    now.saturating_sub(since) >= STARVATION_NS
}
