//! How many goroutines there are.
//!
//! - C1: each P counts those that are started and that end on it. Only its holder writes its counts, so
//!   it does without exchanges, and no two processors want the same cache line for each goroutine. Who has
//!   no P counts in [`ELSEWHERE`].
//! - C2: whoever asks reads all ends first and all starts after. A goroutine whose end is counted has been
//!   counted before, so the answer is never too small; and it is exact while nobody starts or ends one.

use crate::p::{self, P};
use std::sync::atomic::{AtomicU64, Ordering};

/// Goroutines started and ended at one place.
#[derive(Debug)]
pub struct Counts {
    started: AtomicU64,
    ended: AtomicU64,
}

impl Counts {
    /// None yet.
    pub const fn new() -> Self {
        Counts {
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }
}

/// Those without a P.
static ELSEWHERE: Counts = Counts::new();

/// A goroutine is about to be started, by the holder of `p` if it has one.
#[inline]
pub fn one_started(p: Option<&'static P>) {
    one_more(p, |counts| &counts.started);
}

/// A goroutine ends, on `p` if its M has one.
#[inline]
pub fn one_ended(p: Option<&'static P>) {
    one_more(p, |counts| &counts.ended);
}

#[inline]
fn one_more(p: Option<&'static P>, which: impl Fn(&'static Counts) -> &'static AtomicU64) {
    match p {
        Some(p) => {
            let count = which(&p.population);
            // Relaxed: the holder's own (C1).
            let before = count.load(Ordering::Relaxed);
            // Release: pairs with the Acquire in `sum` (C2): the start came before, here or on the way here.
            count.store(before + 1, Ordering::Release);
        }
        None => {
            // Release: as above.
            which(&ELSEWHERE).fetch_add(1, Ordering::Release);
        }
    }
}

/// How many there are.
pub fn live() -> usize {
    let ended = sum(|counts| &counts.ended);
    let started = sum(|counts| &counts.started);
    started.saturating_sub(ended) as usize
}

fn sum(which: impl Fn(&'static Counts) -> &'static AtomicU64) -> u64 {
    // Acquire: pairs with the Releases in `one_more` (C2).
    let of = |counts| which(counts).load(Ordering::Acquire);
    p::all().iter().map(|p| of(&p.population)).sum::<u64>() + of(&ELSEWHERE)
}
