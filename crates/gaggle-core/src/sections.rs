//! When a goroutine's M may be disturbed: sections that nobody interrupts, and taking the P from an M
//! that sleeps in a system call nobody saw.
//!
//! An M in the runtime (or on its own stack) is in a *section*; in a goroutine's own code it is in
//! none. The handler of the preemption signal runs on that very M and acts only outside sections.
//! The monitor, on another thread, may *revoke* the P of an M that is outside and blocked:
//!
//! ```text
//!   the M, in a section           the monitor
//!   depth = 1                     revocation: None -> Asked      ask()
//!   (no barrier)                  barrier on every thread (membarrier)
//!   revocation == None? holds     depth == 0? Asked -> Revoked   take()
//!   Asked -> None:      holds     else        Asked -> None      forget()
//!   Revoked:            lost
//! ```
//!
//! - E1: whoever uses its M's P is in a section and has had `true` from [`Sections::holds`] in it, or
//!   got the P in it. A section that began so is never revoked from: the barrier either makes the depth
//!   visible to the monitor, or the question visible to the M (Dekker's argument with the barrier of
//!   both sides made by one; the cost is the rare side's).
//! - E2: of `holds` on an asked revocation and `take` one wins, by compare-and-swap.
//! - E3: a revoked M has no P until [`Sections::restore`], by itself or by whoever gives it one while
//!   it waits.
//! - E4: depth and section changes are the M's own; signal handlers run on the same thread, so plain
//!   (relaxed) accesses and compiler fences order them.
//! - E5: the monitor learns who holds a P some time before it asks, and the M may have given that one away and
//!   got another by then. So it looks which one the M has after it has asked. If `take` succeeds after
//!   that, the M has neither answered nor been given a P since the question: it is the one that was looked at.

use crate::shim::atomic::{AtomicU32, Ordering};

const NONE: u32 = 0;
const ASKED: u32 = 1;
const REVOKED: u32 = 2;

/// The M's side of the hot path costs no barrier: the monitor's covers both. The model checker has no
/// such thing, so there both sides have one.
fn light_fence() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// The sections of one M; see the module's text. No operation blocks, allocates or makes a system call.
///
/// # Examples
/// ```
/// use gaggle_core::sections::Sections;
///
/// let m = Sections::new(0);
/// m.enter();
/// assert!(m.holds());
/// assert!(m.leave());
/// // The monitor finds it outside: the P is the monitor's.
/// assert!(m.ask(|| true));
/// assert!(m.take());
/// m.enter();
/// assert!(!m.holds());
/// ```
#[derive(Debug)]
pub struct Sections {
    depth: AtomicU32,
    revocation: AtomicU32,
}

impl Sections {
    /// Begins at this depth.
    #[cfg(not(loom))]
    pub const fn new(depth: u32) -> Self {
        Sections {
            depth: AtomicU32::new(depth),
            revocation: AtomicU32::new(NONE),
        }
    }

    /// Begins at this depth.
    #[cfg(loom)]
    pub fn new(depth: u32) -> Self {
        Sections {
            depth: AtomicU32::new(depth),
            revocation: AtomicU32::new(NONE),
        }
    }

    /// Begins a section of the calling M. They nest.
    #[inline]
    pub fn enter(&self) {
        // Relaxed: E4; the fence keeps what follows behind it.
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth + 1, Ordering::Relaxed);
        light_fence();
    }

    /// Ends a section of the calling M; whether it was the outermost.
    #[inline]
    pub fn leave(&self) -> bool {
        light_fence();
        let depth = self.depth.load(Ordering::Relaxed);
        debug_assert!(depth > 0, "a section ends once");
        // Release: pairs with the Acquire in `take`: what the section did to the P is the monitor's.
        self.depth.store(depth - 1, Ordering::Release);
        light_fence();
        depth == 1
    }

    /// How many sections the M is in.
    #[inline]
    pub fn depth(&self) -> u32 {
        // Relaxed: E4.
        self.depth.load(Ordering::Relaxed)
    }

    /// Within a section: whether the M still has the P that it had, which then stays (E1, E2).
    #[inline]
    pub fn holds(&self) -> bool {
        // Relaxed: E1; on `false` nothing of the P is touched.
        match self.revocation.load(Ordering::Relaxed) {
            NONE => true,
            REVOKED => false,
            // E2. On failure the monitor has answered itself: withdrawn its question, or won.
            _ => self
                .revocation
                .compare_exchange(ASKED, NONE, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|now| now == NONE, |_| true),
        }
    }

    /// Whether a revocation has been asked for or done.
    #[inline]
    pub fn is_disturbed(&self) -> bool {
        // Relaxed: a hint; `holds` decides.
        self.revocation.load(Ordering::Relaxed) != NONE
    }

    /// The M has a P again (E3). The caller is the M, or gives a P to the M while it waits; it has noted
    /// which one before.
    pub fn restore(&self) {
        // Release: pairs with the Acquire in `ask` (E5). The M reads it itself, or after synchronising with the
        // giver. An exchange, as the model checker orders a plain store and an exchange of another thread either way.
        self.revocation.swap(NONE, Ordering::Release);
    }

    /// The M itself gives its P up while its goroutine goes on (E3); in a section.
    pub fn lose(&self) {
        // Relaxed: E4. A question asked meanwhile is overwritten: `take` then fails.
        self.revocation.store(REVOKED, Ordering::Relaxed);
    }

    /// For the monitor: asks for the P, which is the one meant if `is_it` says so (E5). The caller makes every
    /// thread of the process pass a barrier before [`Sections::take`]. `false`: there is nothing to ask for.
    pub fn ask(&self, is_it: impl FnOnce() -> bool) -> bool {
        // SeqCst: Acquire for the Release in `restore` (E5); before the barrier (E1).
        let asked = self
            .revocation
            .compare_exchange(NONE, ASKED, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok();
        if asked && !is_it() {
            // Relaxed (both): withdrawn, unless the M has answered itself; nothing is passed on.
            let _ =
                self.revocation
                    .compare_exchange(ASKED, NONE, Ordering::Relaxed, Ordering::Relaxed);
            return false;
        }
        #[cfg(loom)]
        loom::sync::atomic::fence(Ordering::SeqCst);
        asked
    }

    /// For the monitor, after `ask` and the barrier: `true`: the M was outside all sections and the P is
    /// the caller's. `false`: it stays.
    pub fn take(&self) -> bool {
        // Acquire: pairs with the Release in `leave`.
        let outside = self.depth.load(Ordering::Acquire) == 0;
        let next = if outside { REVOKED } else { NONE };
        // Acquire: as above, for a section that began and ended since. Relaxed on failure: the M refused.
        self.revocation
            .compare_exchange(ASKED, next, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            && outside
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_m_in_a_section_keeps_its_p() {
        let m = Sections::new(0);
        m.enter();
        assert!(m.ask(|| true));
        assert!(!m.take());
        assert!(m.holds());
        assert!(m.leave());
    }

    #[test]
    fn an_m_refuses_in_time() {
        let m = Sections::new(0);
        assert!(m.ask(|| true));
        m.enter();
        assert!(m.holds());
        assert!(m.leave());
        assert!(!m.take(), "E2: the question has been answered");
    }

    #[test]
    fn sections_nest() {
        let m = Sections::new(1);
        m.enter();
        assert!(!m.leave());
        assert!(m.leave());
        assert!(m.ask(|| true) && m.take());
        assert!(!m.ask(|| true), "nothing is left to ask for");
        m.restore();
        m.enter();
        assert!(m.holds());
    }
}
