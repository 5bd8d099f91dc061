//! Who may touch the stack of a goroutine that does not run: the one that is about to run it, or the
//! one that gives the dead part of it back to the kernel.
//!
//! Running a goroutine happens every few nanoseconds and must not cost an atomic operation more; giving
//! back happens once for a goroutine that has rested for a second. So the runner only stores and loads,
//! and the giver makes all threads pass a fence between its own store and load.
//!
//! ```text
//!            visit            visit            claim            release
//!   RAN ---------> RESTED ----------> MARKED ---------> CLAIMED -------> CLEAN
//!    ^                |                  |                 |               |
//!    +----------------+------------------+                 v  (runner)     |
//!    |        arrive (or claim, finding that it runs)   AWAITED -- release-+
//!    +---------------------------------------------------------------------+
//! ```
//!
//! - X1: the runner first says that the goroutine runs (`on` of the backend's record), then calls
//!   [`StackClaim::arrive`], and only then reads or writes what belongs to the stack. It says that the
//!   goroutine no longer runs after it has last touched it.
//! - X2: the giver marks ([`StackClaim::visit`]), makes every thread pass a full fence, then claims
//!   ([`StackClaim::claim`]), which looks whether the goroutine runs. If a runner's look at the state
//!   came before the fence, the giver sees that it runs; if after, the runner sees the mark.
//! - X3: out of MARKED one of the two gets by compare-and-swap: the runner to RAN, and the giver finds
//!   no mark; or the giver to CLAIMED, and the runner waits until it is released.
//! - X4: between a successful claim and the release the giver waits for nothing, and looks now and then
//!   whether it is awaited; so the runner waits for microseconds, and never in a circle.
//! - X5: there is one giver.

use crate::shim::atomic::{AtomicU32, Ordering};

/// It has run since the last visit, or never rested.
const RAN: u32 = 0;
/// It did not run at the last visit.
const RESTED: u32 = 1;
/// It did not run at two visits; a claim follows.
const MARKED: u32 = 2;
/// The giver has it.
const CLAIMED: u32 = 3;
/// The giver has it, and the runner waits.
const AWAITED: u32 = 4;
/// It has been given back and has not run since.
const CLEAN: u32 = 5;

/// What a visit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It ran lately, or there is nothing to give back.
    Nothing,
    /// It has begun to rest: another visit is due.
    Rests,
    /// It is marked: a claim is due, after the fence.
    Marked,
}

/// See the module's text.
#[derive(Debug)]
pub struct StackClaim {
    state: AtomicU32,
}

/// The runner's half of the fence of X2: the giver's makes up for what this leaves to the processor.
#[inline(always)]
fn light_fence() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

impl StackClaim {
    /// Of a goroutine that has never run.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        StackClaim {
            state: AtomicU32::new(RAN),
        }
    }

    /// Of a goroutine that has never run.
    #[cfg(loom)]
    pub fn new() -> Self {
        StackClaim {
            state: AtomicU32::new(RAN),
        }
    }

    // ---- The runner ----

    /// Called after saying that the goroutine runs and before touching its stack (X1). `pause` is called
    /// again and again while the giver has it.
    #[inline(always)]
    pub fn arrive(&self, pause: impl FnMut()) {
        if self.is_disturbed() {
            self.take_back(pause);
        }
    }

    /// Whether [`StackClaim::arrive`] is due: asked where that is called, and if not, then that has been done.
    #[inline(always)]
    pub fn is_disturbed(&self) -> bool {
        light_fence();
        // Relaxed: in state RAN the giver has nothing, and what it did before it was released was
        // acquired by whoever made the state RAN.
        self.state.load(Ordering::Relaxed) != RAN
    }

    #[cold]
    fn take_back(&self, mut pause: impl FnMut()) {
        // Relaxed (here and below): each value is acted on by a compare-and-swap.
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = match state {
                RAN => return, // the giver saw that it runs
                AWAITED => {
                    pause();
                    state = self.state.load(Ordering::Relaxed);
                    continue;
                }
                CLAIMED => AWAITED,
                _ => RAN,
            };
            // Acquire: pairs with the Release in `release`: the giver has done with the stack.
            state =
                match self
                    .state
                    .compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed)
                {
                    Ok(_) => next,
                    Err(now) => now,
                };
        }
    }

    // ---- The giver ----

    /// Looks whether the goroutine has rested since the visit before; `runs` tells whether it does now.
    pub fn visit(&self, runs: bool) -> Visit {
        // Relaxed: X2's fence orders the mark; the other states are notes of the giver's.
        let state = self.state.load(Ordering::Relaxed);
        let (next, answer) = match (state, runs) {
            (RAN, false) => (RESTED, Visit::Rests),
            (RESTED, false) => (MARKED, Visit::Marked),
            (RESTED, true) => (RAN, Visit::Nothing),
            _ => return Visit::Nothing,
        };
        // Relaxed: as above.
        match self
            .state
            .compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => answer,
            Err(_) => Visit::Nothing,
        }
    }

    /// Claims the stack of a marked goroutine, after the fence (X2). `true`: the giver has it until it
    /// calls [`StackClaim::release`]. `runs` answers whether the goroutine runs, by an Acquire load that
    /// pairs with the runner's leaving.
    pub fn claim(&self, runs: impl FnOnce() -> bool) -> bool {
        let next = if runs() { RAN } else { CLAIMED };
        // Relaxed: what the goroutine did was acquired by `runs`; X3 needs only one order of swaps.
        self.state
            .compare_exchange(MARKED, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
            && next == CLAIMED
    }

    /// Whether the runner waits for the release (X4).
    pub fn is_awaited(&self) -> bool {
        // Relaxed: a hint to stop soon.
        self.state.load(Ordering::Relaxed) == AWAITED
    }

    /// The giver has done with the stack.
    pub fn release(&self) {
        // Release: pairs with the Acquire in `take_back`. A swap since the runner may have changed the
        // state meanwhile: the model checker orders the two only so.
        self.state.swap(CLEAN, Ordering::Release);
    }
}

impl Default for StackClaim {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn never() {
        panic!("nobody has the stack");
    }

    #[test]
    fn a_goroutine_that_rests_for_two_visits_is_claimed_once() {
        let claim = StackClaim::new();
        assert_eq!(claim.visit(false), Visit::Rests);
        assert_eq!(claim.visit(false), Visit::Marked);
        assert!(claim.claim(|| false));
        claim.release();
        assert_eq!(claim.visit(false), Visit::Nothing);
        claim.arrive(never);
        assert_eq!(claim.visit(false), Visit::Rests);
    }

    #[test]
    fn a_goroutine_that_ran_between_visits_is_not_marked() {
        let claim = StackClaim::new();
        assert_eq!(claim.visit(false), Visit::Rests);
        claim.arrive(never);
        assert_eq!(claim.visit(false), Visit::Rests);
        assert_eq!(claim.visit(true), Visit::Nothing);
        assert_eq!(claim.visit(true), Visit::Nothing);
    }

    #[test]
    fn a_mark_is_lost_to_a_runner() {
        let claim = StackClaim::new();
        claim.visit(false);
        assert_eq!(claim.visit(false), Visit::Marked);
        claim.arrive(never);
        assert!(!claim.claim(|| false));
        claim.visit(false);
        assert_eq!(claim.visit(false), Visit::Marked);
        assert!(!claim.claim(|| true), "it runs");
    }

    #[test]
    fn a_runner_waits_for_the_release() {
        let claim = StackClaim::new();
        claim.visit(false);
        claim.visit(false);
        assert!(claim.claim(|| false));
        let mut pauses = 0;
        claim.arrive(|| {
            pauses += 1;
            assert!(claim.is_awaited());
            if pauses == 3 {
                claim.release();
            }
        });
        assert_eq!(pauses, 3);
    }
}
