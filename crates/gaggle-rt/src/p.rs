//! P: a processor, the right to run goroutines, with what its holder needs at hand.
//!
//! - P1: a P is held by at most one M at a time, or lies in the idle set; only its holder touches its
//!   cells and pushes to its queue. Anyone may steal from the queue and lock the timers.
//! - P2: Ps with a number of [`count`] or more run nothing: whoever holds one empties and drops it
//!   ([`crate::processors`]).
//! - P3: where the program begins with one P, that one's queue is private (R7 of `gaggle_core::run_queue`):
//!   there is nobody to steal. Its holder shares it when it next looks for work, or has its turn ended,
//!   after there are more ([`P::share`]).

use crate::g::G;
use crate::m::M;
use crate::near::Near;
use crate::population::Counts;
use crate::records::Magazines;
use crate::slot::SlotList;
use crate::timers::Timers;
use gaggle_core::p_handoff::Handoff;
use gaggle_core::run_queue::RunQueue;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

/// The largest number of processors.
pub const MAX: usize = 64;

/// A processor. `&'static P` is how all parts of the runtime refer to one.
#[repr(align(128))]
pub struct P {
    /// Its place in the table.
    pub number: u32,
    /// Goroutines that wait for it.
    pub queue: RunQueue<G>,
    /// Goroutines that wait for a point in time.
    pub timers: Timers,
    /// Who owns it while its goroutine is in a blocking call.
    pub handoff: Handoff,
    /// The OS thread whose goroutine is in a blocking call, while one is.
    pub caller: AtomicI32,
    /// The M that holds it, for the monitor: a hint (E1 of `gaggle_core::sections` decides).
    holder: AtomicPtr<M>,
    /// Counts goroutine switches.
    pub tick: Cell<u32>,
    /// The tick and the time, in nanoseconds, when the length of turns was last measured.
    pub pace: Cell<(u32, u64)>,
    /// Goroutines that are left to run here next.
    pub near: Near,
    /// Goroutines started and ended here.
    pub population: Counts,
    /// Records of goroutines that ended here.
    pub free_records: RefCell<Magazines>,
    /// Slots of the default class of goroutines that ended here, the warmest first.
    pub free_slots: SlotList,
}

// SAFETY: P1: the cells belong to the holder; holding passes through the idle set, the handoff word
// and an M's note, all of which order memory.
unsafe impl Sync for P {}

impl std::fmt::Debug for P {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("P")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Room for all Ps; those below [`EVER`] are made. A P that never ran costs no memory.
static TABLE: OnceLock<Table> = OnceLock::new();

struct Table(Box<[UnsafeCell<MaybeUninit<P>>]>);

// SAFETY: a P is written once, before `EVER` says so, and only shared after.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

/// How many of the table's Ps run goroutines.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// How many ever did: they are made, and their queues and timers may hold something.
static EVER: AtomicU32 = AtomicU32::new(0);

/// Makes the table, without a P. Called once, before any M runs.
pub fn make_table() {
    let room = Box::new_uninit_slice(MAX);
    // SAFETY: uninitialised memory of a type that may be uninitialised.
    let _ = TABLE.set(Table(unsafe { room.assume_init() }));
}

/// Makes the Ps below `count` that there are not yet. Called by one thread at a time (N4 of
/// [`crate::processors`]).
fn make(count: u32) {
    let table = TABLE.get().expect("the table is made before any P");
    // Relaxed: changes here only, by one thread at a time.
    for number in EVER.load(Ordering::Relaxed)..count {
        // SAFETY: not below `EVER`, so nobody else reads or writes it.
        let place = unsafe { &mut *table.0[number as usize].get() };
        let queue = if number == 0 && count == 1 {
            RunQueue::private() // P3
        } else {
            RunQueue::new()
        };
        place.write(P::new(number, queue));
    }
    // SeqCst: publishes them for `all`; before the fences of the idle set, so that a new P is seen by
    // those who look for work.
    EVER.fetch_max(count, Ordering::SeqCst);
}

/// The P with this number, which has been made.
pub fn at(number: u32) -> &'static P {
    all()
        .get(number as usize)
        .expect("a P is made before anybody knows its number")
}

/// How many Ps run goroutines (GOMAXPROCS).
pub fn count() -> u32 {
    // Relaxed: a new number takes effect some time after.
    COUNT.load(Ordering::Relaxed)
}

/// As [`count`], ordered with the set of dropped Ps (N3 of [`crate::processors`]).
pub fn count_now() -> u32 {
    // SeqCst: after the P was put into the set, while a change is stored before the set is read.
    COUNT.load(Ordering::SeqCst)
}

/// Sets how many Ps run goroutines and answers the number before. Called by one thread at a time (N4 of
/// [`crate::processors`]).
pub fn set_count(number: u32) -> u32 {
    make(number);
    // SeqCst: before the fences of the idle set, as in `make`.
    COUNT.swap(number, Ordering::SeqCst)
}

/// All Ps that ever ran goroutines.
pub fn all() -> &'static [P] {
    // SeqCst: pairs with the one in `make`.
    let ever = EVER.load(Ordering::SeqCst) as usize;
    TABLE.get().map_or(&[], |table| {
        let first = table.0.as_ptr().cast::<P>();
        // SAFETY: the first `ever` are made, never written again but through their own cells, and live
        // for ever; the cells around them have their layout.
        unsafe { std::slice::from_raw_parts(first, ever) }
    })
}

impl P {
    fn new(number: u32, queue: RunQueue<G>) -> P {
        P {
            number,
            queue,
            timers: Timers::new(),
            handoff: Handoff::new(),
            caller: AtomicI32::new(0),
            holder: AtomicPtr::new(std::ptr::null_mut()),
            tick: Cell::new(0),
            pace: Cell::new((0, 0)),
            near: Near::new(),
            population: Counts::new(),
            free_records: RefCell::default(),
            free_slots: SlotList::default(),
        }
    }

    /// Lets others steal from its queue if there are other Ps by now (P3). The caller's M holds it.
    #[inline]
    pub fn share(&self) {
        // SAFETY: the calling M holds this P.
        if !self.queue.is_shared() && count() > 1 && unsafe { self.queue.share() } {
            crate::find_work::notify();
        }
    }

    /// Notes who holds it.
    pub fn set_holder(&self, holder: Option<&M>) {
        let holder = holder.map_or(std::ptr::null_mut(), |m| std::ptr::from_ref(m).cast_mut());
        // Release: pairs with the Acquire in `holder`: the M's thread number was written before.
        self.holder.store(holder, Ordering::Release);
    }

    /// The M that held it a moment ago.
    pub fn holder(&self) -> Option<&'static M> {
        // Acquire: pairs with the Release in `set_holder`.
        // SAFETY: null or an M, which lives for ever.
        unsafe { self.holder.load(Ordering::Acquire).as_ref::<'static>() }
    }

    /// Takes a record for a new goroutine.
    ///
    /// # Errors
    /// When the kernel has no memory.
    pub fn take_record(&self) -> std::io::Result<&'static G> {
        self.free_records.borrow_mut().take()
    }

    /// Gives all records and slots back to the common pools; the caller owns the P.
    pub fn empty_pools(&self) {
        self.free_records.borrow_mut().empty();
        crate::slot::put(&self.free_slots, self.free_slots.len());
    }

    /// Keeps the record of a goroutine that ended.
    pub fn keep_record(&self, g: &'static G) {
        self.free_records.borrow_mut().keep(g);
    }
}
