//! Holding a goroutine still while another thread looks at it, at no cost to the switch.
//!
//! A looker wants two things of a goroutine: that what describes it stays (its name is freed at its
//! end), and, if it does not run, that it does not begin to while its stack is walked.
//!
//! - H1: at most one goroutine is held at a time; [`HELD`] names it.
//! - H2: who is about to run a goroutine first sets `on` (G3) and then looks at [`HELD`] ([`check`]);
//!   a looker sets [`HELD`] and then looks at `on`. Of the two one sees the other: either the looker
//!   finds that the goroutine runs and leaves its stack alone, or the runner waits until it is let go.
//! - H3: who ends a goroutine first sets its number to 0 and then looks at [`HELD`] ([`end`]); a looker
//!   sets [`HELD`] and then looks at the number. So what describes a live held goroutine stays.
//! - H4: stores and loads on the runner's side have no fence between them: the looker makes all
//!   threads pass one (`membarrier(2)`), which orders both sides.
//! - H5: while a goroutine is held nothing is done that could wait for another goroutine: no malloc,
//!   no lock of libc that was not taken before. A runner that meets H2 waits by spinning.
//!
//! Rejected: a compare-and-swap on `on` at every switch (5 ns of 6); stopping the world, which asks
//! goroutines that compute to stop for a list that somebody wants to read.

use crate::g::G;
use gaggle_core::contract::WaitReason;
use gaggle_sys::{arch, barrier, call, clock};
use std::panic::Location;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, compiler_fence};

/// The goroutine that is held; null: none (H1).
static HELD: AtomicPtr<G> = AtomicPtr::new(null_mut());

/// The time at the monitor's last look around.
static COARSE_NOW: AtomicU64 = AtomicU64::new(0);

/// The monotonic clock as of the monitor's last look around: for lengths of minutes, at a load's cost.
#[inline]
pub fn coarse_now() -> u64 {
    // Relaxed: the number stands for itself.
    COARSE_NOW.load(Ordering::Relaxed)
}

/// The monitor looks around.
pub fn tick() {
    // Relaxed: as in `coarse_now`.
    COARSE_NOW.store(clock::now(), Ordering::Relaxed);
}

fn spin(round: u32) {
    if round.is_multiple_of(64) {
        call::yield_thread();
    } else {
        arch::spin_pause();
    }
}

/// For who has just set `g`'s `on`, or its number to 0: whether it is held, and [`check`] is due (H2, H3).
#[inline(always)]
pub fn holds(g: &G) -> bool {
    // H4: the looker's barrier does the rest.
    compiler_fence(Ordering::SeqCst);
    // Relaxed: what follows depends on the value not being this goroutine; if it is, `wait` acquires.
    std::ptr::eq(HELD.load(Ordering::Relaxed), g)
}

/// For who has just set `g`'s `on`, or its number to 0: waits while it is held (H2, H3).
pub fn check(g: &G) {
    if holds(g) {
        wait(g);
    }
}

#[cold]
fn wait(g: &G) {
    let mut round = 1;
    // Acquire: pairs with the Release in `Held::drop`: the looker's reads are over.
    while std::ptr::eq(HELD.load(Ordering::Acquire), g) {
        spin(round);
        round = round.wrapping_add(1);
    }
}

/// Ends the goroutine `g` for lookers (H3); afterwards what describes it may change.
pub fn end(g: &G) {
    g.id.set(0);
    check(g);
}

/// A goroutine that is held.
pub struct Held {
    g: &'static G,
    /// Its number.
    pub id: u64,
    /// It was on a processor, or in a call, when it was looked at: its stack is in use.
    pub is_running: bool,
}

/// Holds the goroutine of the record `g`, if it is one. The caller keeps H5 until it drops the answer.
pub fn hold(g: &'static G) -> Option<Held> {
    if g.id.get() == 0 {
        return None; // not worth a barrier
    }
    let record = std::ptr::from_ref(g).cast_mut();
    let mut round = 1;
    // Acquire: pairs with the Release in `Held::drop` (H1). Relaxed on failure: nothing is read.
    while HELD
        .compare_exchange(null_mut(), record, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        spin(round);
        round = round.wrapping_add(1);
    }
    let mut held = Held {
        g,
        id: 0,
        is_running: true,
    };
    barrier::all_threads(); // registered at the start
    held.id = g.id.get();
    held.is_running = g.is_on_processor();
    (held.id != 0).then_some(held)
}

impl Held {
    /// Its name.
    pub fn name(&self) -> Option<&str> {
        // SAFETY: the name is written before the number is published and taken back after (H3), so
        // nobody writes it while this goroutine is held.
        let name = unsafe { &*self.g.name.as_ptr() };
        name.as_deref()
    }

    /// Where it was started, and by which goroutine (0: by none).
    pub fn origin(&self) -> (Option<&'static Location<'static>>, u64) {
        // Written before the number is published only (H3).
        (self.g.location.get(), self.g.parent.get())
    }

    /// What it does or waits for.
    pub fn reason(&self) -> WaitReason {
        self.g.wait.reason()
    }

    /// When its wait began, by the coarse clock.
    pub fn since(&self) -> u64 {
        self.g.wait.since()
    }

    /// The saved stack pointer, if it has a stack and does not run.
    pub fn stack_pointer(&self) -> Option<usize> {
        // A goroutine that does not run is touched by nobody (H2), so the cells may be read.
        (!self.is_running && self.g.slot.get().is_some()).then(|| self.g.stack_pointer.get())
    }

    /// Whether it has never run.
    pub fn is_new(&self) -> bool {
        !self.is_running && self.g.slot.get().is_none()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `wait` and `hold`: this looker's reads are over.
        HELD.store(null_mut(), Ordering::Release);
    }
}
