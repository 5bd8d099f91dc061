//! Who owns a processor while its goroutine is in a blocking call.
//!
//! Source: Go's `entersyscall`, `exitsyscall` and `retake` (runtime/proc.go), where the state is the
//! P's status. An M that enters a call leaves its P where it is: a short call gets it back with one
//! compare-and-swap. If the call lasts, the monitor takes the P for somebody else, and the M finds
//! out when its call ends.
//!
//! ```text
//!             enter()                    take(tick)
//!   Running ──────────▶ InCall(tick) ──────────────▶ Taken
//!      ▲ ▲   leave(tick)     │                         │
//!      │ └───────────────────┘                         │
//!      └───────────────────────────────────────────────┘
//!                            give()
//! ```
//!
//! - O1: exactly one thread owns the P: in `Running` the M that runs on it, in `Taken` the taker and
//!   then whoever it passes the P to; in `InCall(tick)` the next to move the word on. Only the owner
//!   touches the P's data.
//! - O2: each `enter` has a tick of its own. So `leave` and `take` concern one call and no other:
//!   an M that comes back late does not get a P whose new owner has entered a call of its own, as
//!   that one would find its P changed under its hands.
//! - O3: a taker sees everything that the owner did to the P before `enter`.

use crate::shim::atomic::{AtomicU64, Ordering};

/// The bits of the word that hold the state; the others hold the tick of the latest call.
const STATE: u64 = 0b11;
const RUNNING: u64 = 0;
const IN_CALL: u64 = 1;
const TAKEN: u64 = 2;
/// One tick, in the word.
const TICK_ONE: u64 = STATE + 1;

/// The ownership of one processor; see the module's text.
///
/// No operation blocks, allocates or makes a system call.
///
/// # Examples
/// ```
/// use gaggle_core::p_handoff::Handoff;
///
/// let handoff = Handoff::new();
/// // A short call: nobody took the P.
/// let tick = handoff.enter();
/// assert!(handoff.leave(tick));
///
/// // A long one: the monitor sees the same tick twice and takes the P.
/// let tick = handoff.enter();
/// assert_eq!(handoff.observe(), Some(tick));
/// assert!(handoff.take(tick));
/// handoff.give();
/// assert!(!handoff.leave(tick));
/// ```
#[derive(Debug)]
pub struct Handoff {
    word: AtomicU64,
}

impl Default for Handoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Handoff {
    /// A P that is in no call: its creator owns it.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Handoff {
            word: AtomicU64::new(RUNNING),
        }
    }

    /// A P that is in no call: its creator owns it.
    #[cfg(loom)]
    pub fn new() -> Self {
        Handoff {
            word: AtomicU64::new(RUNNING),
        }
    }

    /// The owner enters a call that may block; it touches nothing of the P until [`Handoff::leave`]
    /// answers `true`. Answers the call's tick, which is for `leave`.
    pub fn enter(&self) -> u64 {
        // Relaxed: in `Running` only the owner writes the word (O1).
        let word = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(word & STATE, RUNNING, "O1: only a P in no call enters one");
        let in_call = (word & !STATE).wrapping_add(TICK_ONE) | IN_CALL;
        // Release: pairs with the Acquire in `take` (O3).
        self.word.store(in_call, Ordering::Release);
        in_call / TICK_ONE
    }

    /// The call that `enter` gave `tick` is over. `true`: the P is still the caller's and nobody has
    /// touched it meanwhile. `false`: it was taken, and the caller has to find another (O2).
    #[must_use = "after `false` the P is another's"]
    pub fn leave(&self, tick: u64) -> bool {
        let in_call = tick.wrapping_mul(TICK_ONE) | IN_CALL;
        // Relaxed on success: the word is the caller's own, since `enter`. Relaxed on failure:
        // nothing of the P is touched then.
        self.word
            .compare_exchange(
                in_call,
                tick.wrapping_mul(TICK_ONE) | RUNNING,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// For the monitor: the tick of the call that the P's goroutine is in, if it is in one.
    pub fn observe(&self) -> Option<u64> {
        // Relaxed: a hint, which `take` verifies.
        let word = self.word.load(Ordering::Relaxed);
        (word & STATE == IN_CALL).then_some(word / TICK_ONE)
    }

    /// Takes the P from the call that has `tick`. `true`: the caller owns the P, and passes it on.
    /// `false`: that call is over, or somebody else took the P.
    #[must_use = "after `true` the P is the caller's to pass on"]
    pub fn take(&self, tick: u64) -> bool {
        let word = tick.wrapping_mul(TICK_ONE);
        // Acquire: pairs with the Release in `enter` (O3). Relaxed on failure: nothing is touched.
        self.word
            .compare_exchange(
                word | IN_CALL,
                word | TAKEN,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// The new owner of a taken P begins to run on it. Whoever passed it the P has synchronised with
    /// it; this does not.
    pub fn give(&self) {
        // Relaxed: in `Taken` only the owner writes the word (O1).
        let word = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(word & STATE, TAKEN, "O1: only a taken P is given");
        // Relaxed: no data is passed by this store; a late `leave` fails on it as on `Taken`.
        self.word.store(word & !STATE | RUNNING, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_interrupts_keeps_its_p() {
        let handoff = Handoff::new();
        assert_eq!(handoff.observe(), None);
        let first = handoff.enter();
        assert_eq!(handoff.observe(), Some(first));
        assert!(handoff.leave(first));
        assert_eq!(handoff.observe(), None);
        assert_ne!(handoff.enter(), first, "O2");
    }

    #[test]
    fn take_fails_for_a_call_that_is_over() {
        let handoff = Handoff::new();
        let first = handoff.enter();
        assert!(handoff.leave(first));
        assert!(!handoff.take(first));
        let second = handoff.enter();
        assert!(!handoff.take(first), "the P is in a call, but in another");
        assert!(handoff.take(second));
        assert!(!handoff.take(second), "it is taken once");
        assert!(!handoff.leave(second));
    }

    #[test]
    fn a_late_leave_does_not_get_the_p_from_its_new_owners_call() {
        let handoff = Handoff::new();
        let late = handoff.enter();
        assert!(handoff.take(late));
        handoff.give();
        assert!(!handoff.leave(late));
        let new_owner = handoff.enter();
        assert!(!handoff.leave(late), "O2");
        assert!(handoff.leave(new_owner));
    }
}
