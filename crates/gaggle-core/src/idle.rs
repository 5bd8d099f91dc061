//! Which processors are idle and how many Ms search for work, without lost wake-ups.
//!
//! Source: Go's "Worker thread parking/unparking" and the delicate dance in `findRunnable`, `wakep`
//! and `resetspinning` (runtime/proc.go); rayon-core's sleep module reads the same problem another
//! way. An M that searches for work, having none, *spins*. The aim: never a runnable goroutine and
//! an idle P while nobody is awake to bring them together, and few needless wake-ups.
//!
//! Who makes work runnable:
//! 1. publishes it (a queue, a timer heap, a poller's result);
//! 2. calls [`Idle::notify`]. If that answers a P, wakes an M, which begins with this P and as
//!    spinning (it is already counted). If there is no M to wake, the caller undoes it with
//!    [`Idle::put`] and [`Idle::spin_end`], and looks at all sources again as in step 4 below.
//!
//! Who holds a P and runs out of work, the *sleeping order*:
//! 1. searches all sources, as a spinning M if [`Idle::spin_begin`] allows it;
//! 2. [`Idle::put`] of its P;
//! 3. [`Idle::spin_end`], if it spun;
//! 4. looks at all sources again: every queue, the global queue, timers, the poller. (Both calls
//!    before end in the SeqCst fence that this needs.)
//! 5. If it finds something, calls [`Idle::take`]. With a P, it calls `spin_begin(u32::MAX)`, which
//!    always succeeds, and begins again at 1. Without one, it sleeps: others hold every P.
//! 6. Sleeps until somebody hands it a P.
//!
//! Who finds work while spinning calls [`Idle::spin_end`], and if that answers `true`, calls
//! [`Idle::notify`] before it runs what it found: there may be more, whose publishers saw it spin.
//!
//! Who gives a P up in any other way (the number of processors changes) follows steps 2 to 4 too.
//!
//! - W1: bit `p` is set exactly while P `p` is idle; who clears it owns the P and all that its last
//!   owner wrote before the `put`.
//! - W2: every M counted in `spinning` will either follow the sleeping order or find work; both end
//!   in `spin_end`.
//! - W3: *everyone* who puts a P re-checks all sources after it, not only those who spun. Go spares
//!   the others this and needs a flag (`needspinning`) instead; a look at each queue is cheap beside
//!   a futex call.
//! - W4: if a notifier finds `spinning` above 0, the last M to leave `spinning` looks at all sources
//!   after that (it re-checks or it notifies), and sees the notifier's work. For its count came
//!   down after the notifier's load, so its fence follows the notifier's fence in the one order of
//!   SeqCst fences.
//! - W5: if a notifier, or the finder of work in step 5, finds no idle P, each P's holder will put
//!   it after that, if ever, and its re-check sees the work; by the same argument.
//! - W6: a notifier that counted itself in `spinning` for an M and then found no P takes that back
//!   and tests again, for those who relied on it in between.

use crate::shim::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The most processors there can be.
pub const PROCESSORS_MAX: u32 = 64;

/// The idle processors and the count of spinning Ms; see the module's text.
///
/// No operation blocks, allocates or makes a system call.
///
/// # Examples
/// ```
/// use gaggle_core::idle::Idle;
///
/// let idle = Idle::new();
/// idle.put(3);
/// // Work is published, then:
/// assert_eq!(idle.notify(), Some(3));
/// // The M woken for it searches, so more work needs no other M for now.
/// idle.put(5);
/// assert_eq!(idle.notify(), None);
/// // It found something; being the last to spin, it looks for a successor.
/// assert!(idle.spin_end());
/// assert_eq!(idle.notify(), Some(5));
/// ```
#[derive(Debug)]
pub struct Idle {
    /// Bit `p`: P `p` is idle (W1).
    idle: AtomicU64,
    /// How many Ms spin (W2).
    spinning: AtomicU32,
}

impl Default for Idle {
    fn default() -> Self {
        Self::new()
    }
}

impl Idle {
    /// No P is idle and no M spins.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Idle {
            idle: AtomicU64::new(0),
            spinning: AtomicU32::new(0),
        }
    }

    /// No P is idle and no M spins.
    #[cfg(loom)]
    pub fn new() -> Self {
        Idle {
            idle: AtomicU64::new(0),
            spinning: AtomicU32::new(0),
        }
    }

    /// Gives up P `p`, which the caller owns and whose queue is empty. The caller re-checks all
    /// sources of work afterwards (W3).
    ///
    /// # Panics
    /// If `p` is [`PROCESSORS_MAX`] or more.
    pub fn put(&self, p: u32) {
        assert!(p < PROCESSORS_MAX, "at most {PROCESSORS_MAX} processors");
        let bit = 1u64 << p;
        // Release: pairs with the Acquire in `take` and `take_this` (W1).
        let before = self.idle.fetch_or(bit, Ordering::Release);
        debug_assert_eq!(before & bit, 0, "W1: an owned P is not idle");
        // SeqCst: pairs with the fences in `notify` and `take` (W5).
        fence(Ordering::SeqCst);
    }

    /// Takes the idle P with the lowest number; the caller owns it. After `None`, whoever puts a P
    /// from now on sees in its re-check all that the caller had published or seen before (W5): so a
    /// goroutine that comes back from a blocking call may be queued, then this tried.
    pub fn take(&self) -> Option<u32> {
        // SeqCst: pairs with the fence in `put`, for one who takes because it saw work (W5).
        fence(Ordering::SeqCst);
        self.take_lowest()
    }

    fn take_lowest(&self) -> Option<u32> {
        // Relaxed: a stale value fails the exchange; the fence before orders the answer `None`.
        let mut seen = self.idle.load(Ordering::Relaxed);
        while seen != 0 {
            // Acquire: pairs with the Release in `put` (W1). All writes are read-modify-writes, so
            // the pairing holds for every bit, whoever wrote last. Relaxed on failure: as the load.
            match self.idle.compare_exchange(
                seen,
                seen & (seen - 1),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(seen.trailing_zeros()),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Takes P `p` if it is idle; `true`: the caller owns it.
    ///
    /// # Panics
    /// If `p` is [`PROCESSORS_MAX`] or more.
    pub fn take_this(&self, p: u32) -> bool {
        assert!(p < PROCESSORS_MAX, "at most {PROCESSORS_MAX} processors");
        let bit = 1u64 << p;
        // Acquire: as in `take_lowest`.
        self.idle.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// How many Ps are idle; out of date as soon as it is answered.
    pub fn count(&self) -> u32 {
        // Relaxed: a hint.
        self.idle.load(Ordering::Relaxed).count_ones()
    }

    /// How many Ms spin; out of date as soon as it is answered.
    pub fn spinning(&self) -> u32 {
        // Relaxed: a hint.
        self.spinning.load(Ordering::Relaxed)
    }

    /// After work was published: whether an M has to be woken for it, and with which P. The answer
    /// `Some(p)` gives the caller P `p` and a count of spinning, both for the M that it wakes.
    pub fn notify(&self) -> Option<u32> {
        // SeqCst: pairs with the fences in `put` and `spin_end`: either their re-check sees the
        // work, or the loads below see what they did (W4, W5).
        fence(Ordering::SeqCst);
        loop {
            // Relaxed, both: the fence orders them.
            if self.idle.load(Ordering::Relaxed) == 0 || self.spinning.load(Ordering::Relaxed) != 0
            {
                return None;
            }
            // Relaxed, both ways: a failure means that somebody spins, as the load would (W4).
            if self
                .spinning
                .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                return None;
            }
            if let Some(p) = self.take_lowest() {
                return Some(p);
            }
            // W6; the fence in it makes the next round's loads follow. No endless loop: each round
            // means that somebody else has taken a P.
            self.spin_end();
        }
    }

    /// Counts the caller as spinning, unless `max` or more Ms spin already. For the limit of at most
    /// half of the busy processors, `max` is half their number, at least 1; `u32::MAX` always works.
    #[must_use = "who was counted has to end it"]
    pub fn spin_begin(&self, max: u32) -> bool {
        // Relaxed: a stale value fails the exchange.
        let mut seen = self.spinning.load(Ordering::Relaxed);
        while seen < max {
            // Relaxed: a notifier that sees the count relies on what happens at `spin_end` (W4), not
            // on anything before this.
            match self.spinning.compare_exchange(
                seen,
                seen + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Ends the caller's spinning. `true`: it was the last to spin, so that, if it found work, it
    /// calls [`Idle::notify`] now. If it found none, it re-checks all sources whatever the answer.
    pub fn spin_end(&self) -> bool {
        // Relaxed: the fence orders it.
        let before = self.spinning.fetch_sub(1, Ordering::Relaxed);
        debug_assert_ne!(before, 0, "W2: only who is counted ends its spinning");
        // SeqCst: pairs with the fence in `notify` (W4).
        fence(Ordering::SeqCst);
        before == 1
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn take_answers_the_lowest_and_each_once() {
        let idle = Idle::new();
        for p in [63, 0, 17] {
            idle.put(p);
        }
        assert_eq!(idle.count(), 3);
        assert!(idle.take_this(17));
        assert!(!idle.take_this(17));
        assert_eq!(idle.take(), Some(0));
        assert_eq!(idle.take(), Some(63));
        assert_eq!(idle.take(), None);
        assert_eq!(idle.count(), 0);
    }

    #[test]
    fn notify_wakes_one_only_if_a_p_is_idle_and_nobody_spins() {
        let idle = Idle::new();
        assert_eq!(idle.notify(), None, "no P is idle");
        assert_eq!(idle.spinning(), 0);
        idle.put(1);
        assert!(idle.spin_begin(1));
        assert_eq!(idle.notify(), None, "somebody spins");
        assert!(idle.spin_end());
        assert_eq!(idle.notify(), Some(1));
        assert_eq!((idle.spinning(), idle.count()), (1, 0));
    }

    #[test]
    fn spin_begin_keeps_the_limit_and_spin_end_tells_the_last() {
        let idle = Idle::new();
        assert!(!idle.spin_begin(0));
        assert!(idle.spin_begin(2));
        assert!(idle.spin_begin(2));
        assert!(!idle.spin_begin(2));
        assert!(idle.spin_begin(u32::MAX));
        assert!(!idle.spin_end());
        assert!(!idle.spin_end());
        assert!(idle.spin_end());
        assert_eq!(idle.spinning(), 0);
    }

    #[test]
    #[should_panic(expected = "at most 64 processors")]
    fn put_refuses_a_p_beyond_the_bitmap() {
        Idle::new().put(64);
    }
}
