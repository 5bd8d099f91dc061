//! What the mutex and the read-write lock do alike when they find the lock taken: they spin a little, if
//! another processor can give it up meanwhile, and then wait in a queue, the longer the more urgently.
//!
//! Both have a word of marks, three of which mean the same, and a queue beside it. What the marks promise is
//! written at each lock; [`take_slow`] is the way of a task between them.

use super::limit::{Ended, Limit};
use crate::contract::{Nanos, Runtime, WaitReason};
use crate::shim::spin_hint;
use crate::wait_queue::Waiter;

/// Somebody waits.
pub(crate) const PARKED: u32 = 2;
/// Somebody was woken and is going to try.
pub(crate) const WOKEN: u32 = 4;
/// The lock is handed over in the order of the queue.
pub(crate) const STARVING: u32 = 8;

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

/// How many pauses a task takes whose exchange failed, about a microsecond; and the most, after it failed again and
/// again.
const BACKOFF_PAUSES: u32 = if cfg!(loom) { 1 } else { 64 };
const BACKOFF_PAUSES_MAX: u32 = if cfg!(loom) { 1 } else { 256 };

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

/// Pauses of a task whose exchange of the lock's word failed because another processor changed it: not because it
/// has to wait, but because the two take the cache line from each other. While it pauses, the other goes on with the
/// line in its own cache.
///
/// Source: the measure is ours; that a failed exchange is followed by pauses that grow is Anderson, "The
/// performance of spin lock alternatives for shared-memory multiprocessors" (1990).
#[derive(Debug)]
pub(crate) struct Backoff {
    pauses: u32,
}

impl Backoff {
    /// For one that has not failed yet.
    pub(crate) fn new<R: Runtime>() -> Self {
        // With one processor it was preempted, and nobody is in its way.
        let pauses = if R::processors() > 1 {
            BACKOFF_PAUSES
        } else {
            0
        };
        Backoff { pauses }
    }

    /// Passes one, twice as long as the one before.
    pub(crate) fn pass(&mut self) {
        for _ in 0..self.pauses {
            spin_hint();
        }
        self.pauses = (2 * self.pauses).min(BACKOFF_PAUSES_MAX);
    }
}

/// How long a task has been after a lock, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Nanos>,
    /// It has stood in the queue, so the next time it stands at the front.
    pub(crate) has_waited: bool,
    /// It was woken, and has `WOKEN` until it takes the lock, parks or gives up.
    pub(crate) is_woken: bool,
}

impl Patience {
    /// When the task first wanted to wait, and whether it is starving; the clock is read here.
    fn look<R: Runtime>(&mut self) -> (Nanos, bool) {
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

/// A lock, and what is wanted of it, as [`take_slow`] sees them.
pub(crate) trait Contended<R: Runtime> {
    /// What the queue knows of who waits.
    type Request: Copy;

    /// Who waits since `since`.
    fn request(&self, since: Nanos) -> Self::Request;

    /// What dumps say of who waits.
    fn reason(&self) -> WaitReason;

    /// Takes the lock, and takes back the task's marks, if it can be had; else answers the word.
    fn try_again(&self, patience: &Patience) -> Result<(), u32>;

    /// Puts `waiter` into the queue, in front if the task has waited before, and the task's marks right.
    /// `false`: the lock can be had, and nothing was changed.
    ///
    /// # Safety
    /// The waiter is in no queue, and its frame is not left before it is out of this one (W2, W3).
    unsafe fn enqueue(
        &self,
        waiter: &Waiter<R, Self::Request>,
        patience: &Patience,
        is_starving: bool,
    ) -> bool;

    /// Takes a stale `waiter` out of the queue, if it still is there.
    ///
    /// # Safety
    /// It has been in this lock's queue and in no other.
    unsafe fn leave(&self, waiter: &Waiter<R, Self::Request>);

    /// Takes back the marks of a task that is woken, and goes away without the lock.
    fn give_up(&self);
}

/// What came of a wait.
enum Waited {
    /// The lock could be had when the task came to the queue.
    Free,
    /// Woken, and has `WOKEN`.
    Woken,
    /// Holds the lock.
    Owner,
}

/// Takes a lock that was found taken, parking the task while it cannot be had, for as long as `limit` says.
#[cold]
pub(crate) fn take_slow<R: Runtime>(
    lock: &impl Contended<R>,
    limit: &Limit<'_, R>,
) -> Result<(), Ended> {
    let (mut patience, mut spin) = (Patience::default(), Spin::first::<R>());
    while let Err(word) = lock.try_again(&patience) {
        // Behind others who wait it is no use.
        let may_spin = word & STARVING == 0 && (patience.is_woken || word & PARKED == 0);
        if may_spin && spin.may_go_on() {
            spin.pass();
            continue;
        }
        match wait(lock, limit, &mut patience)? {
            Waited::Owner => return Ok(()),
            Waited::Woken => (patience.is_woken, spin) = (true, Spin::woken::<R>()),
            Waited::Free => {}
        }
    }
    Ok(())
}

/// Waits in the queue, unless the lock can be had.
fn wait<R: Runtime>(
    lock: &impl Contended<R>,
    limit: &Limit<'_, R>,
    patience: &mut Patience,
) -> Result<Waited, Ended> {
    let (since, is_starving) = patience.look::<R>();
    let ticket = match limit.begin() {
        Ok(ticket) => ticket,
        Err(ended) => {
            if patience.is_woken {
                lock.give_up();
            }
            return Err(ended);
        }
    };
    let waiter = Waiter::new(ticket, TRY_AGAIN, lock.request(since));
    // SAFETY: the waiter is new, and stays in this frame, which is left only after it was claimed, and so
    // taken out, or removed by `leave`; or at once, if it was not put in.
    if !unsafe { lock.enqueue(&waiter, patience, is_starving) } {
        limit.withdraw(ticket);
        return Ok(Waited::Free);
    }
    patience.has_waited = true;
    match limit.park(ticket, lock.reason()) {
        Ok(HANDED_OVER) => Ok(Waited::Owner),
        Ok(_) => Ok(Waited::Woken),
        Err(ended) => {
            // SAFETY: put there above.
            unsafe { lock.leave(&waiter) };
            Err(ended)
        }
    }
}
