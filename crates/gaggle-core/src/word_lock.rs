//! A lock that costs one atomic exchange to take and a plain store to give up, and no exchange at all while
//! one processor alone uses it. Who has to wait spins, then blocks the OS thread; a task is never parked, so
//! the sections must be short.
//!
//! ```text
//!   who unlocks                        who blocks
//!   word = FREE or BIASED              blocked += 1
//!   (no barrier)                       barrier on every thread (membarrier)
//!   blocked != 0? wakes one            sleeps while word is HELD or REVOKING, as it saw it
//!
//!   the owner of the bias              who wants the lock, too
//!   inside = 1                         word: BIASED -> REVOKING
//!   (no barrier)                       barrier on every thread
//!   word == BIASED? it has the lock    waits until inside == 0, has the lock: word = HELD
//!   else inside = 0, and it waits
//! ```
//!
//! - K1: the word is free, held, biased, or being revoked. It is held by one thread, which alone changes it
//!   then; while it is biased or being revoked the lock is with the owner if `inside` is 1 and the
//!   owner has seen the word biased, else with nobody.
//! - K2: of the two sides of each picture one sees the other (Dekker's argument with the barrier of both
//!   sides made by the rare one). So nobody sleeps on a free lock without a wake to come, and the owner and
//!   who revokes never both have the lock.
//! - K3: who was woken competes like any other; it stays counted until it holds the lock, so that every
//!   unlock before that wakes one again.
//! - K4: where there is no barrier on every thread a sleep is short and repeated, and no lock is biased.
//! - K5: a lock is biased at most once, towards the caller that has taken it [`STREAK`] times in a row. After
//!   it was revoked a late owner may still set `inside` and take it back: a second owner could not tell
//!   that from its own.
//! - K6: callers that name the same owner never take the lock at the same time: they follow each other with
//!   what they wrote made visible. A backend names its processors.
//!
//! Compared with one word that says that somebody may be blocked (Drepper's mutex3), an unlock saves its
//! atomic exchange: 6 of the 13 ns that a pair took; the bias saves the other.
//!
//! Source: Ulrich Drepper, "Futexes Are Tricky" (2011); Kawachiya, Koseki, Onodera, "Lock Reservation" (2002),
//! for the bias; the asymmetric fence as in liburcu.

use crate::shim::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
const BIASED: u32 = 2;
const REVOKING: u32 = 3;

/// Names nobody as an owner of a bias.
pub const NOBODY: u32 = 0;

/// How often in a row one owner takes a lock before it is biased. A channel that is used from several
/// processors never gets there; one that is handed over to another processor has paid the revocation, some
/// microseconds, by then.
#[cfg(not(loom))]
const STREAK: u32 = 500;
/// Under the model checker the second time is enough.
#[cfg(loom)]
const STREAK: u32 = 1;

/// [`WordLock::candidate`]: how many bits count.
const STREAK_BITS: u32 = 10;
const STREAK_MASK: u32 = (1 << STREAK_BITS) - 1;
/// [`WordLock::candidate`]: the lock will not be biased any more.
const DECIDED: u32 = u32::MAX;

/// Rounds of spinning before blocking; a section is tens of nanoseconds.
#[cfg(not(loom))]
const SPIN_ROUNDS_MAX: u32 = 20;
/// The model checker blocks at once.
#[cfg(loom)]
const SPIN_ROUNDS_MAX: u32 = 0;

/// How OS threads wait for each other.
pub trait Waiting {
    /// Makes every thread of the process pass a full memory barrier, the caller included; `false`: it
    /// cannot (K4).
    fn barrier() -> bool;

    /// Sleeps until somebody wakes this thread, if `word` still is `value` when it would begin to. May
    /// return at any time; a `short` sleep does so within milliseconds.
    fn sleep_while(word: &AtomicU32, value: u32, short: bool);

    /// Wakes one thread that sleeps on `word`.
    fn wake_one(word: &AtomicU32);

    /// Passes the time of one round of spinning.
    fn spin(round: u32);

    /// Whether nobody is to wait: a holder may be a thread that is not there any more.
    fn is_alone() -> bool;
}

/// The barrier of the rare side covers this one's. The model checker has no such thing, so there both sides
/// have one.
#[inline]
fn light_fence() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// See the module's text.
#[derive(Debug)]
pub struct WordLock {
    word: AtomicU32,
    /// How many threads block, or are about to.
    blocked: AtomicU32,
    /// Whom the lock is biased towards; written by its holder.
    owner: AtomicU32,
    /// 1: the owner has the lock, or is about to look whether it has.
    inside: AtomicU32,
    /// Who took the lock last, and how often in a row, until [`DECIDED`]; the holder's.
    candidate: AtomicU32,
}

impl WordLock {
    /// An unlocked lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        WordLock {
            word: AtomicU32::new(FREE),
            blocked: AtomicU32::new(0),
            owner: AtomicU32::new(NOBODY),
            inside: AtomicU32::new(0),
            candidate: AtomicU32::new(0),
        }
    }

    /// An unlocked lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        WordLock {
            word: AtomicU32::new(FREE),
            blocked: AtomicU32::new(0),
            owner: AtomicU32::new(NOBODY),
            inside: AtomicU32::new(0),
            candidate: AtomicU32::new(0),
        }
    }

    /// Takes the lock. `caller` is [`NOBODY`] or keeps K6; it is less than 2^20.
    #[inline]
    pub fn lock<W: Waiting>(&self, caller: u32) {
        // Relaxed: what it is compared with is the caller's own; the look at the word decides.
        if caller != NOBODY && self.owner.load(Ordering::Relaxed) == caller {
            // Relaxed: K2.
            self.inside.store(1, Ordering::Relaxed);
            light_fence();
            // Acquire: pairs with the Release in `unlock` of the holder that biased the lock.
            if self.word.load(Ordering::Acquire) == BIASED {
                return;
            }
            // Release: nothing was done inside, but the order of stores to one place is kept.
            self.inside.store(0, Ordering::Release);
        }
        // Acquire: pairs with the Release in `unlock`. Relaxed on failure: nothing is read.
        if self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow::<W>();
        }
        self.count(caller);
    }

    /// Counts how often in a row the holder takes the lock (K5).
    #[inline]
    fn count(&self, caller: u32) {
        // Relaxed, here and below: the holder's own.
        let candidate = self.candidate.load(Ordering::Relaxed);
        if candidate == DECIDED {
            return;
        }
        let next = if candidate >> STREAK_BITS == caller {
            (candidate + 1).min(caller << STREAK_BITS | STREAK)
        } else {
            caller << STREAK_BITS
        };
        self.candidate.store(next, Ordering::Relaxed);
    }

    /// Takes the lock if it is free, or from its owner if that does not have it just now.
    fn try_lock<W: Waiting>(&self) -> bool {
        // Relaxed: only a hint what is worth trying; the exchanges acquire.
        match self.word.load(Ordering::Relaxed) {
            // Acquire: as in `lock`.
            FREE => self
                .word
                .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
                .is_ok(),
            // Acquire: pairs with the Release that biased the lock.
            BIASED => {
                self.word
                    .compare_exchange(BIASED, REVOKING, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
                    && self.revoke::<W>()
            }
            _ => false,
        }
    }

    /// Ends the bias, once and for all, and takes the lock; the caller has made the word say so.
    #[cold]
    fn revoke<W: Waiting>(&self) -> bool {
        // A lock is biased only where there is a barrier (K4).
        W::barrier();
        let mut round = 0;
        // Acquire: pairs with the Release in `unlock`: what the owner did inside.
        while self.inside.load(Ordering::Acquire) != 0 {
            W::spin(round);
            round += 1;
        }
        // Relaxed: K5: no second owner, so whoever still sees the first one looks at the word.
        self.owner.store(NOBODY, Ordering::Relaxed);
        // Relaxed: the holder's own from here on; what the next one needs `unlock` publishes.
        self.word.store(HELD, Ordering::Relaxed);
        true
    }

    #[cold]
    fn lock_slow<W: Waiting>(&self) {
        if W::is_alone() {
            return;
        }
        for round in 0..SPIN_ROUNDS_MAX {
            if self.try_lock::<W>() {
                return;
            }
            W::spin(round);
        }
        // Relaxed: the barrier orders it (K2).
        self.blocked.fetch_add(1, Ordering::Relaxed);
        let is_ordered = W::barrier();
        while !self.try_lock::<W>() {
            // Relaxed: whoever puts this thread to sleep compares it again. Who revokes holds the lock
            // next, and its unlock wakes.
            let seen = self.word.load(Ordering::Relaxed);
            if seen == HELD || seen == REVOKING {
                W::sleep_while(&self.word, seen, !is_ordered);
            }
        }
        // Relaxed: a count that is seen too late costs a wake in vain.
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the lock up; the caller holds it.
    #[inline]
    pub fn unlock<W: Waiting>(&self) {
        // Relaxed: while a thread holds the lock by the word, the word stays (K1).
        if self.word.load(Ordering::Relaxed) != HELD {
            // Release: pairs with the Acquire in `revoke`. To callers of the same owner it is visible
            // anyway (K6).
            return self.inside.store(0, Ordering::Release);
        }
        let candidate = self.candidate.load(Ordering::Relaxed);
        if candidate & STREAK_MASK == STREAK && candidate != DECIDED {
            return self.unlock_biased::<W>(candidate >> STREAK_BITS);
        }
        // Release: pairs with the Acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
        light_fence();
        // Relaxed: K2.
        if self.blocked.load(Ordering::Relaxed) != 0 {
            W::wake_one(&self.word);
        }
    }

    /// Gives the lock up, biased towards `owner` if it can be.
    #[cold]
    fn unlock_biased<W: Waiting>(&self, owner: u32) {
        // Relaxed: the holder's own.
        self.candidate.store(DECIDED, Ordering::Relaxed);
        let next = if owner != NOBODY && W::barrier() {
            // Relaxed: read by the owner itself.
            self.owner.store(owner, Ordering::Relaxed);
            BIASED
        } else {
            FREE
        };
        // Release: pairs with the Acquire of the next holder, or of the owner.
        self.word.store(next, Ordering::Release);
        light_fence();
        // Relaxed: K2. Who sleeps wakes, and revokes.
        if self.blocked.load(Ordering::Relaxed) != 0 {
            W::wake_one(&self.word);
        }
    }
}

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}
