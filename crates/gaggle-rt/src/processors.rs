//! How many Ps run goroutines (GOMAXPROCS): what the machine allows, and changes while all runs.
//!
//! Unless the program or `GAGGLE_MAXPROCS` has said a number, it is that of [`gaggle_sys::quota`], read
//! anew by the monitor each second.
//!
//! - N1: each P is in exactly one of four places: held by an M, left in a blocking call (its hand-off
//!   word says whose it is), in the idle set, or in [`DROPPED`]. Whoever takes it from the last two owns
//!   it (P1).
//! - N2: a P in [`DROPPED`] holds nothing: no goroutine, no timer, no record, no slot. Its timers were
//!   moved to P 0, which is never dropped, since only holders look at timers while no P is idle.
//! - N3: no P below the number stays dropped: who drops one puts it into [`DROPPED`] first and reads the
//!   number after; who raises the number stores it first and looks at [`DROPPED`] after. All four are
//!   SeqCst, so one of the two sees the other.
//! - N4: the number changes under [`NUMBER`], which also says whether it follows the machine.
//! - N5: a P of the number or more that is held is dropped when its M next looks for work
//!   ([`crate::find_work`]); until then its goroutine goes on.

use crate::find_work::{self, IDLE};
use crate::lock::Lock;
use crate::p::{self, P};
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use gaggle_sys::clock;
use gaggle_sys::quota::{self, Quotas};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often the monitor asks what the machine allows.
const REREAD_NANOS: u64 = 1_000_000_000;

/// Bit `n`: P `n` belongs to nobody and runs nothing (N1, N2). At first none runs.
static DROPPED: AtomicU64 = AtomicU64::new(u64::MAX);

struct Number {
    /// It follows what the machine allows; `false` once somebody has said a number.
    is_automatic: bool,
}

/// See N4.
static NUMBER: Guarded<Number, Lock> = Guarded::from_raw(
    Lock::unlocked(),
    Number {
        is_automatic: false,
    },
);

static QUOTAS: OnceLock<Quotas> = OnceLock::new();

/// As many processors as a test says that the machine has; 0: as it has.
static PRETENDED: AtomicU32 = AtomicU32::new(0);

/// What the machine allows; P 0 runs in any case. Where a quota could change nothing, none is looked for:
/// the mounts alone cost 60 us of a program's start.
fn allowed() -> u32 {
    // Relaxed: written before any M runs.
    let affinity = match PRETENDED.load(Ordering::Relaxed) {
        // A kernel that does not tell the mask has no way to limit it either.
        0 => quota::affinity().unwrap_or(u32::MAX),
        pretended => pretended,
    };
    let quota = || QUOTAS.get_or_init(Quotas::find).read();
    quota::processors(affinity, quota).min(p::MAX as u32)
}

/// How many Ps are to run at first; `asked` is the program's wish. Blocks for the reading of some files
/// without it.
pub fn first_number(asked: Option<usize>) -> u32 {
    let text = std::env::var("GAGGLE_TEST_PROCESSORS");
    if let Some(number) = text.ok().and_then(|text| text.parse::<u32>().ok()) {
        // Relaxed: as in `allowed`.
        PRETENDED.store(number, Ordering::Relaxed);
    }
    match asked {
        Some(asked) => limit(asked),
        None => allowed(),
    }
}

/// Makes the first `count` Ps idle, before any M runs; the number follows the machine, or not.
pub fn start(count: u32, is_automatic: bool) {
    let mut number = NUMBER.lock();
    number.is_automatic = is_automatic;
    change(count);
}

fn limit(asked: usize) -> u32 {
    asked.clamp(1, p::MAX) as u32
}

/// Sets the number of Ps that run goroutines, and answers what it was. It takes effect at the
/// goroutines' next switches, and is not changed by the monitor any more.
pub fn set(asked: usize) -> u32 {
    let count = limit(asked);
    let before = {
        let mut number = NUMBER.lock();
        number.is_automatic = false;
        change(count)
    };
    look_after_new(before, count);
    before
}

/// Changes the number; the caller holds [`NUMBER`] and calls [`look_after_new`] when it does not.
fn change(count: u32) -> u32 {
    let before = p::set_count(count);
    for number in 0..count {
        if take_dropped(number) {
            IDLE.put(number);
        }
    }
    // Those that idle are nobody's to empty; the others see to themselves (N5).
    for number in count..before {
        if IDLE.take_this(number) {
            drop_processor(p::at(number));
        }
    }
    before
}

/// Ps were put into the idle set: work that waits is to find them.
fn look_after_new(before: u32, count: u32) {
    for number in before..count {
        find_work::look_after(number);
    }
}

/// Takes P `number` from [`DROPPED`]; `true`: the caller owns it.
fn take_dropped(number: u32) -> bool {
    let bit = 1u64 << number;
    // SeqCst: N3; Acquire for the Release in `drop_processor`.
    DROPPED.fetch_and(!bit, Ordering::SeqCst) & bit != 0
}

/// Empties `p`, which the caller owns and has let go of, and gives it up (N2, N3). Who calls this sees
/// to it that somebody is woken for the goroutines that it held.
pub fn drop_processor(p: &'static P) {
    debug_assert!(p.number > 0, "N2: P 0 is never dropped");
    let mut left = Batch::new();
    // SAFETY: the caller owns the P (P1).
    while let Some((g, _)) = unsafe { p.queue.pop() } {
        // SAFETY: taken from the queue: in no list now; records live for ever.
        unsafe { left.push_back(g) };
    }
    find_work::injector().push_batch(left);
    while p.timers.move_some_to(p::at(0)) {}
    p.empty_pools();
    // SeqCst: N3; Release for the Acquire in `take_dropped`.
    DROPPED.fetch_or(1 << p.number, Ordering::SeqCst);
    if p.number < p::count_now() && take_dropped(p.number) {
        IDLE.put(p.number);
        find_work::look_after(p.number);
    }
}

/// The monitor's part: when it last looked.
#[derive(Debug, Default)]
pub struct Reread {
    next: u64,
}

impl Reread {
    /// Follows what the machine allows, once a second, while nobody has said a number.
    pub fn look(&mut self) {
        let now = clock::now();
        if now < self.next {
            return;
        }
        let is_first = self.next == 0;
        self.next = now + REREAD_NANOS;
        if is_first || !NUMBER.lock().is_automatic {
            return;
        }
        let count = allowed();
        let before = {
            let number = NUMBER.lock();
            if !number.is_automatic || count == p::count() {
                return;
            }
            change(count)
        };
        look_after_new(before, count);
    }
}
