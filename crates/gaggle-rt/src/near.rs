//! Readying a goroutine for the P of the one that readies it, without waking another P.
//!
//! Two goroutines that talk to each other take turns on one P: whoever passes a value on waits soon after,
//! and then the other runs at once, in the same cache. Waking a second P for it costs a system call there
//! and some microseconds here, and then the value and both goroutines move between processors. So one who
//! readies another by a channel leaves it in its P's `next` and tells nobody, as long as nothing else
//! waits on that P.
//!
//! If the readier computes on instead, the other could have run beside it. Nobody but the monitor sees that:
//!
//! - N1: a goroutine is *left* only in `next` of the readier's P, and only while the P's ring is empty; the P
//!   runs it at its next switch, at the end of the turn at the latest.
//! - N2: thieves let it lie, and an M that goes to sleep does not count it as work: else an M that has just
//!   gone idle would steal it, and the two would be apart again.
//! - N3: who enters a call that may block its OS thread no longer leaves anybody: a P is woken first
//!   ([`Near::expose`]).
//! - N4: while a P is idle the monitor looks twice, 20 microseconds apart, as often as it looks around: each
//!   millisecond at the latest while goroutines are left. If somebody is left both times, and fewer were left in
//!   between than one in [`PATIENCE_NANOS`], those that run there do not wait soon: the one is exposed.
//! - N5: a P that this happened to was wrong about its goroutines: its next [`EAGER_WAKES`] wakes are as
//!   all others. So a pipeline whose stages compute is spread after one short delay.
//! - N6: nothing is lost if the monitor sees nothing: N1 alone runs every goroutine.
//!
//! Source: the measure is ours. Go wakes a P for each readied goroutine (`ready` in runtime/proc.go) and has
//! the thief wait a few microseconds before it takes `runnext` (`runqgrab`).

use crate::find_work::{self, IDLE};
use crate::g::G;
use crate::p::{self, P};
use crate::preempt::Section;
use crate::{latency, plain, sched};
use gaggle_core::contract::WaitReason;
use gaggle_sys::clock;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// For how many wakes a P that left a goroutine waiting leaves none (N5).
const EAGER_WAKES: u32 = 4096;

/// How long goroutines may run between two wakes and still be left to each other (N4): about what it costs
/// to wake another processor, there and here.
const PATIENCE_NANOS: u64 = 20_000;

/// A P's part.
#[derive(Debug)]
pub struct Near {
    /// The goroutine that was left last; null: it was exposed. It is left while it is `next` (N1).
    left: AtomicPtr<G>,
    /// How many were left; written by the P's holder.
    count: AtomicU32,
    /// For how many wakes more none is left (N5); written by the holder and the monitor, and nothing
    /// depends on a store that is lost between the two.
    eager: AtomicU32,
}

impl Near {
    pub const fn new() -> Near {
        Near {
            left: AtomicPtr::new(null_mut()),
            count: AtomicU32::new(0),
            eager: AtomicU32::new(0),
        }
    }

    /// Whether `next`, which runs next on this P, was left (N2).
    pub fn holds(&self, next: *const G) -> bool {
        // Relaxed: the fences of the idle set order it where it matters (F1 of `find_work`).
        !next.is_null() && std::ptr::eq(self.left.load(Ordering::Relaxed), next)
    }

    /// What is or comes next on this P was not left, or is not any more.
    #[inline]
    pub fn forget(&self) {
        // Relaxed: as in `holds`.
        self.left.store(null_mut(), Ordering::Relaxed);
    }

    /// If a goroutine was left on `p`, whose part this is, another P is woken for it (N3).
    #[inline]
    pub fn expose(&self, p: &P) {
        // Relaxed: written by the caller.
        if !self.left.load(Ordering::Relaxed).is_null() {
            self.forget();
            if !p.queue.is_empty() {
                find_work::notify();
            }
        }
    }

    /// Leaves `g`, which the caller, the holder, has just made the next.
    fn leave(&self, g: &'static G) {
        // Relaxed, both: as in `holds`; the count is only compared.
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        let left = std::ptr::from_ref(g).cast_mut();
        self.left.store(left, Ordering::Relaxed);
    }

    /// Whether the holder may leave one more.
    fn may_leave(&self) -> bool {
        // Relaxed, here and below: nothing is published by these counts.
        let eager = self.eager.load(Ordering::Relaxed);
        if eager > 0 {
            self.eager.store(eager - 1, Ordering::Relaxed);
        }
        eager == 0
    }
}

/// Makes `g` runnable by a goroutine that is likely to wait soon; see the module's text.
#[inline]
pub fn ready(g: &'static G) {
    if plain::is_child() {
        return;
    }
    let Some(caller) = sched::current() else {
        return sched::ready(g);
    };
    let _section = Section::of(caller);
    let Some(p) = sched::machine_of_caller(caller).p() else {
        return sched::ready(g);
    };
    g.wait.set(WaitReason::Runnable);
    latency::readied(g);
    // SAFETY: the calling M holds this P (P1).
    let overflow = unsafe { p.queue.push_next(NonNull::from(g)) };
    if let Some(batch) = overflow {
        find_work::injector().push_batch(batch);
    }
    // SAFETY: as above.
    if unsafe { p.queue.is_ring_empty() } && p.near.may_leave() {
        return p.near.leave(g);
    }
    p.near.forget();
    find_work::notify();
}

/// What the monitor saw of one P.
#[derive(Clone, Copy)]
struct Seen {
    /// Whether somebody was left there.
    any: bool,
    /// How many had been left before.
    count: u32,
    /// When.
    at: u64,
}

/// The monitor's looks at goroutines that were left.
pub struct Look {
    seen: [Seen; p::MAX],
    /// The last look was the second of two (N4).
    was_second: bool,
    /// Some were left between the last two looks.
    is_active: bool,
}

impl Look {
    pub const fn new() -> Look {
        const NOTHING: Seen = Seen {
            any: false,
            count: 0,
            at: 0,
        };
        Look {
            seen: [NOTHING; p::MAX],
            was_second: false,
            is_active: false,
        }
    }

    /// Whether goroutines are being left these days (N4).
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Looks at all Ps; whether to look again soon.
    pub fn look(&mut self) -> bool {
        let mut any = false;
        self.is_active = false;
        // While no P is idle there is nobody to wake.
        if IDLE.count() > 0 {
            let at = clock::now();
            for (p, before) in p::all().iter().zip(&mut self.seen) {
                let now = Seen {
                    any: p.near.holds(p.queue.next_hint()),
                    // Relaxed: a count, only compared.
                    count: p.near.count.load(Ordering::Relaxed),
                    at,
                };
                let wakes = u64::from(now.count.wrapping_sub(before.count)).max(1);
                if before.any && now.any && at - before.at >= wakes * PATIENCE_NANOS {
                    // Relaxed: see the field.
                    p.near.eager.store(EAGER_WAKES, Ordering::Relaxed);
                    p.near.forget();
                    find_work::notify();
                }
                any |= now.any;
                self.is_active |= now.count != before.count;
                *before = now;
            }
        }
        self.was_second = any && !self.was_second;
        self.was_second
    }
}
