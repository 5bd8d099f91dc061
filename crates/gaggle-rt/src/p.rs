//! P: a processor, the right to run goroutines, with what its holder needs at hand.
//!
//! - P1: a P is held by at most one M at a time, or lies in the idle set; only its holder touches its
//!   cells and pushes to its queue. Anyone may steal from the queue and lock the timers.
//! - P2: Ps with a number of [`count`] or more run nothing: whoever holds one empties and drops it
//!   ([`crate::processors`]).

use crate::g::{self, G};
use crate::m::M;
use crate::near::Near;
use crate::slot::SlotList;
use crate::timers::Timers;
use gaggle_core::injector::Batch;
use gaggle_core::p_handoff::Handoff;
use gaggle_core::run_queue::RunQueue;
use std::cell::{Cell, RefCell};
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
    /// Goroutines that are left to run here next.
    pub near: Near,
    /// Records of goroutines that ended here.
    pub free_records: RefCell<Batch<G>>,
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

static TABLE: OnceLock<Box<[P]>> = OnceLock::new();

/// How many of the table's Ps run goroutines.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// How many ever did, whose queues and timers may hold something.
static EVER: AtomicU32 = AtomicU32::new(0);

/// Makes the table. Called once, before any M runs.
///
/// # Errors
/// When the kernel has no address space for the timers.
pub fn make_table() -> std::io::Result<()> {
    let mut table = Vec::with_capacity(MAX);
    for number in 0..MAX {
        table.push(P {
            number: number as u32,
            queue: RunQueue::new(),
            timers: Timers::new()?,
            handoff: Handoff::new(),
            caller: AtomicI32::new(0),
            holder: AtomicPtr::new(std::ptr::null_mut()),
            tick: Cell::new(0),
            near: Near::new(),
            free_records: RefCell::new(Batch::new()),
            free_slots: SlotList::default(),
        });
    }
    let _ = TABLE.set(table.into_boxed_slice());
    Ok(())
}

/// The P with this number.
pub fn at(number: u32) -> &'static P {
    &TABLE.get().expect("the table is made before any M runs")[number as usize]
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

/// Sets how many Ps run goroutines and answers the number before.
pub fn set_count(number: u32) -> u32 {
    // SeqCst: before the fences of the idle set, so that a new P is seen by those who look for work.
    EVER.fetch_max(number, Ordering::SeqCst);
    COUNT.swap(number, Ordering::SeqCst)
}

/// All Ps that ever ran goroutines.
pub fn all() -> &'static [P] {
    let ever = EVER.load(Ordering::SeqCst) as usize;
    TABLE.get().map_or(&[], |table| &table[..ever])
}

impl P {
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
        let mut records = self.free_records.borrow_mut();
        if records.is_empty() {
            g::refill(&mut records)?;
        }
        let record = records.pop_front().expect("refill leaves at least one");
        Ok(g::from_link(record))
    }

    /// Gives all records and slots back to the common pools; the caller owns the P.
    pub fn empty_pools(&self) {
        g::give_back_all(&mut self.free_records.borrow_mut());
        crate::slot::put(&self.free_slots, self.free_slots.len());
    }

    /// Keeps the record of a goroutine that ended.
    pub fn keep_record(&self, g: &'static G) {
        let mut records = self.free_records.borrow_mut();
        // SAFETY: the goroutine has ended and is in no list; records live for ever.
        unsafe { records.push_back(std::ptr::NonNull::from(g)) };
        g::give_back(&mut records);
    }
}
