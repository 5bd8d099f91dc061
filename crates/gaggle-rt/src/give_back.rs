//! Giving memory of stacks back to the kernel: what lies below a parked goroutine's stack pointer, and
//! slots that nobody has needed for a while.
//!
//! A goroutine that once was deep keeps every page that it touched. Below the stack pointer of one that
//! does not run all is dead (but for the ABI's red zone), so it can go; the goroutine must only not begin
//! to run meanwhile, since it would write there what is then thrown away. That is the protocol X1 to X5
//! of [`gaggle_core::stack_claim`]; the runner's half is in `sched::take_over` and `sched::prepare`.
//!
//! - R1: the reporter's OS thread does it while there is nothing to report ([`crate::report`]), so that the
//!   monitor's rounds stay short and no thread is spent. It holds no P, calls no malloc and takes no lock
//!   of libc: a suspended goroutine may hold it.
//! - R2: a goroutine is given back after two visits, [`PAUSE_NANOS`] or more apart, between which it did
//!   not run, and then once until it has run again.
//! - R3: it works for [`SLICE_NANOS`] of processor time and then sleeps four times as long, so it takes at
//!   most a fifth of a processor, and nothing measurable while everything rests.
//! - R4: of one stack it gives back [`AT_ONCE_BYTES`] at a time and stops when it is awaited (X4).
//!
//! Rejected: doing it when a goroutine parks (it does not know how long it will, and every park would
//! pay); asking the kernel first which pages there are (`mincore` costs as much as `MADV_DONTNEED` on
//! pages that are not there); a compare-and-swap on `on` at each switch (5 ns of 6).

use crate::g::{self, G};
use crate::report;
use crate::slot;
use crate::watermark;
use gaggle_core::stack_claim::Visit;
use gaggle_sys::stack::guard::GUARD_BYTES;
use gaggle_sys::stack::map::{self, PAGE_BYTES};
use gaggle_sys::{barrier, clock};

/// From the end of one pass over all records to the next.
const PAUSE_NANOS: u64 = 1_000_000_000;
/// The longest such pause, when passes found nothing to do.
const PAUSE_NANOS_MAX: u64 = 2_000_000_000;
/// How long it works at a time.
const SLICE_NANOS: u64 = 1_000_000;
/// How many visits or other small things are done between two looks at the clock.
const STEPS_PER_LOOK: u32 = 16;
/// How much of one stack is given back by one call.
const AT_ONCE_BYTES: usize = 256 << 10;
/// How many goroutines are marked before one fence for all of them.
const MARKED_MAX: usize = 64;
/// The ABI's red zone: below the stack pointer, and still in use by a leaf function.
const RED_ZONE_BYTES: usize = 128;

/// Does it for ever, on the reporter's OS thread (R1).
pub fn work() -> ! {
    let mut budget = Budget::new();
    let mut pause = PAUSE_NANOS;
    loop {
        report::rest(pause);
        budget.begin();
        let busy = visit_all(&mut budget) | empty_unused_slots(&mut budget);
        pause = if busy {
            PAUSE_NANOS
        } else {
            (pause * 2).min(PAUSE_NANOS_MAX)
        };
    }
}

/// R3.
struct Budget {
    slice_begun: u64,
    steps: u32,
}

impl Budget {
    fn new() -> Self {
        Budget {
            slice_begun: 0,
            steps: 0,
        }
    }

    fn begin(&mut self) {
        self.slice_begun = clock::thread_processor_time();
    }

    /// After something small was done.
    fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            self.look();
        }
    }

    /// Sleeps if the slice is over.
    fn look(&mut self) {
        let spent = clock::thread_processor_time().saturating_sub(self.slice_begun);
        if spent >= SLICE_NANOS {
            report::rest(4 * spent);
            self.begin();
        }
    }
}

/// One pass over all records; whether there was anything to do.
fn visit_all(budget: &mut Budget) -> bool {
    let mut marked = [const { None }; MARKED_MAX];
    let mut count = 0;
    let mut busy = false;
    for g in g::all() {
        budget.step();
        match g.stack_claim.visit(g.is_on_processor()) {
            Visit::Nothing => continue,
            Visit::Rests => busy = true,
            Visit::Marked => {
                busy = true;
                marked[count] = Some(g);
                count += 1;
            }
        }
        if count == MARKED_MAX {
            give_back(&mut marked, budget);
            count = 0;
        }
    }
    give_back(&mut marked, budget);
    busy
}

/// Gives the dead parts of these goroutines' stacks back: those that still rest.
fn give_back(marked: &mut [Option<&'static G>], budget: &mut Budget) {
    if marked[0].is_none() {
        return;
    }
    // X2. Where the kernel has no such fence every claim counts as lost, and stacks keep their pages.
    let fenced = barrier::all_threads();
    for g in marked.iter_mut().map_while(Option::take) {
        if g.stack_claim.claim(|| !fenced || g.is_on_processor()) {
            give_back_claimed(g);
            g.stack_claim.release();
        }
        budget.step();
    }
}

/// Gives back what is dead of a stack that the caller has claimed.
fn give_back_claimed(g: &G) {
    // The claim makes the goroutine's plain cells the caller's (G2); a record that is no goroutine, or
    // one that has not begun, has no slot.
    let Some(slot) = g.slot.get() else { return };
    watermark::look(g, slot);
    let end = (g.stack_pointer.get() - RED_ZONE_BYTES) & !(PAGE_BYTES - 1);
    let mut at = slot.base + GUARD_BYTES;
    while at < end && !g.stack_claim.is_awaited() {
        let bytes = AT_ONCE_BYTES.min(end - at);
        // SAFETY: within the goroutine's own stack, below its frames and the red zone: what is there is
        // dead, and while the claim lasts nothing new is written (X3).
        unsafe { map::discard(at, bytes) };
        at += bytes;
    }
}

/// Takes the memory of slots that were free since the pass before; whether there were any.
fn empty_unused_slots(budget: &mut Budget) -> bool {
    slot::next_round();
    let mut busy = false;
    loop {
        let unused = slot::take_unused(MARKED_MAX);
        if unused.len() == 0 {
            return busy;
        }
        busy = true;
        while let Some(slot) = unused.pop() {
            // SAFETY: just taken from the pool: free, and this thread's.
            unsafe { slot.discard() };
            slot::put_clean(slot);
            budget.look();
        }
    }
}
