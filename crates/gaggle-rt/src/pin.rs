//! Goroutines that are bound to their M, as Go's `LockOSThread` binds them.
//!
//! - N1: a bound goroutine runs on no other M, and its M runs no other goroutine. [`G::bound_to`] and
//!   `M::bound` name each other; both are changed by the goroutine itself, on its M, in a section.
//! - N2: the M sleeps on its note whenever its goroutine does not run, in no list, so that nobody gives
//!   it a P but who took the goroutine from a queue; and a goroutine is taken once.
//! - N3: whoever takes it gives its own P to that M and goes on without one. The note may be given
//!   before the M sleeps: it looks at it only after it has given its own P up.
//! - N4: who binds by lock and unlock leaves the M as it was. A call that changes what the kernel knows
//!   of the OS thread binds for good, and an M whose goroutine ends bound ends with it.
//!
//! Source: Go's `LockOSThread`, `stoplockedm` and `startlockedm` (runtime/proc.go).

use crate::blocking;
use crate::find_work::{self, IDLE};
use crate::g::G;
use crate::m::M;
use crate::p::{self, P};
use crate::preempt;
use crate::sched;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// Bound for good (N4), in [`G::locks`]; below it the number of locks.
const FOR_GOOD: u32 = 1 << 31;

/// Binds the calling goroutine to its M until as many calls of [`unlock`]; nothing elsewhere.
pub fn lock() {
    bind(|locks| (locks & FOR_GOOD) | (locks & !FOR_GOOD).saturating_add(1).min(FOR_GOOD - 1));
}

/// Undoes one [`lock`]; without one it does nothing.
pub fn unlock() {
    bind(|locks| (locks & FOR_GOOD) | (locks & !FOR_GOOD).saturating_sub(1));
}

/// Binds the calling goroutine to its M for good: a call changes what the kernel knows of it.
pub fn for_good() {
    bind(|locks| locks | FOR_GOOD);
}

/// Whether the calling goroutine is bound.
pub fn is_bound() -> bool {
    sched::current().is_some_and(|g| g.locks.get() != 0)
}

/// Changes the number of locks, and with it whether the calling goroutine is bound (N1).
fn bind(change: impl FnOnce(u32) -> u32) {
    let Some(g) = sched::current() else { return };
    let m = preempt::enter(g);
    let locks = change(g.locks.get());
    g.locks.set(locks);
    if locks == 0 {
        release(g, m);
    } else {
        // Relaxed: published by the queue that the goroutine is put into next.
        g.bound_to
            .store(std::ptr::from_ref(m).cast_mut(), Ordering::Relaxed);
        m.bound.set(Some(g));
    }
    preempt::leave(g);
}

fn release(g: &'static G, m: &'static M) {
    // Relaxed: as in `bind`.
    g.bound_to.store(null_mut(), Ordering::Relaxed);
    m.bound.set(None);
}

/// The M that `g`, which the caller took from a queue, is bound to.
pub fn machine_of(g: &'static G) -> Option<&'static M> {
    // Relaxed: written before the goroutine was put into the queue it was taken from.
    // SAFETY: null or an M, which lives for ever.
    unsafe { g.bound_to.load(Ordering::Relaxed).as_ref::<'static>() }
}

/// Gives `p`, which the caller owns and has let go of, to the M that `g` is bound to (N3).
pub fn pass(owner: &'static M, p: &'static P) {
    owner.give(p.number, false);
}

/// On the M's own stack, after its bound goroutine left it: gives the P up and sleeps until the
/// goroutine may go on (N2). Answers it.
pub fn wait(m: &'static M, own: &'static G) -> &'static G {
    give_up(m);
    m.sleep();
    m.take_given();
    own
}

/// Lets others have the M's P.
fn give_up(m: &'static M) {
    if m.spinning.replace(false) {
        IDLE.spin_end();
    }
    match m.p() {
        Some(p) if p.number >= p::count() => find_work::retire(m, p),
        Some(p) => blocking::give_up(m, p),
        None => {}
    }
}

/// The calling goroutine ends, in a section: if it is bound, so does its M (N4).
pub fn end(g: &'static G, m: &'static M) {
    if g.locks.replace(0) != 0 {
        release(g, m);
        m.ends.set(true);
    }
}

/// On the M's own stack: the M's last step.
pub fn end_machine(m: &'static M) {
    give_up(m);
    m.has_ended();
}
