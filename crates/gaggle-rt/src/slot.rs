//! Slots: the stack, thread-local storage and thread control block of one running goroutine.
//!
//! ```text
//! base                                                              base + size
//! | guard, 64 KiB | stack, grows down <--- frames | used TLS | thread control block |
//!                                                 ^ top      ^ FS base
//! ```
//!
//! - S1: a slot belongs to one goroutine at a time, or to a free list.
//! - S2: the *compact* layout: frames begin right under the thread-local storage that is in use, with
//!   none of libc's surplus between, so that a small goroutine's frames, storage and control block
//!   share one page. Sound since the surplus has been spent (`gaggle_sys::glibc::ballast`).
//! - S3: a slot's number is unique in the process and gives its goroutine's thread number: two live
//!   goroutines never have the same (a counter would wrap).
//! - S4: slots are reused last in, first out: the one that ended last is the warmest.
//! - S5: of the common pool's free slots those that nobody took for a while lose their memory
//!   ([`crate::give_back`]) and lie in a list of their own, from which is taken when the other is empty.

use crate::lock::Lock;
use gaggle_core::lock::Lock as Guarded;
use gaggle_sys::glibc::template::{Identity, Template};
use gaggle_sys::stack::{guard, map};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// log2 of the default reservation: 1 MiB.
pub const DEFAULT_CLASS: u8 = 20;
/// log2 of the smallest and largest reservations: 256 KiB (four guards) and 1 GiB.
const CLASSES: std::ops::RangeInclusive<u8> = 18..=30;

/// Address space that the first slab of the smaller classes reserves, and the most that one does: each
/// is twice the last, since every reservation stops all page faults of the process for a moment.
const SLAB_BYTES: std::ops::RangeInclusive<usize> = 64 << 20..=4 << 30;

/// Thread numbers of goroutines begin above those of the kernel (`PID_MAX_LIMIT` is 2^22).
pub const TID_BASE: u32 = 1 << 22;

/// See the module's text. Slots live for ever.
#[derive(Debug)]
pub struct Slot {
    /// Lowest address, where the guard begins.
    pub base: usize,
    tid: u32,
    class: u8,
    dtv: Cell<*mut usize>,
    /// Whether it is to be seen how deep the goroutine here gets ([`crate::watermark`]).
    pub watched: Cell<bool>,
    next: Cell<Option<&'static Slot>>,
}

// SAFETY: the cells belong to the slot's holder (S1), which passes through locks and queues.
unsafe impl Sync for Slot {}

/// The class (log2 of bytes) that serves a stack of `bytes`.
///
/// # Errors
/// More than 1 GiB.
pub fn class_of(bytes: usize) -> io::Result<u8> {
    let whole = bytes
        .checked_add(guard::GUARD_BYTES)
        .and_then(usize::checked_next_power_of_two);
    let class = whole.map_or(u8::MAX, |size| size.ilog2() as u8);
    // A stack of exactly the largest size has its guard within it.
    if class > *CLASSES.end() && bytes > 1 << *CLASSES.end() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a goroutine's stack can be 1 GiB at most",
        ));
    }
    Ok(class.clamp(*CLASSES.start(), *CLASSES.end()))
}

/// What to ask for to get the next larger reservation than that of `class`; `None`: there is none.
pub fn next_size(class: u8) -> Option<usize> {
    let next = class + 1;
    CLASSES.contains(&next).then(|| 1usize << next)
}

impl Slot {
    /// Where the goroutine's frames begin, going down (S2).
    pub fn top(&self, template: &Template) -> usize {
        self.fs(template) - template.below()
    }

    /// The FS base of whoever runs here.
    pub fn fs(&self, template: &Template) -> usize {
        (self.base + (1 << self.class) - template.above()) & !63
    }

    /// The half of the reservation that frames reach last, without the guard.
    pub fn lower_half(&self) -> std::ops::Range<usize> {
        self.base + guard::GUARD_BYTES..self.base + (1 << self.class) / 2
    }

    /// The class (log2 of bytes).
    pub fn class(&self) -> u8 {
        self.class
    }

    /// Whether this is one of every `count` slots.
    pub fn is_one_in(&self, count: u32) -> bool {
        self.tid.is_multiple_of(count)
    }

    /// Writes fresh thread-local storage for the next goroutine.
    ///
    /// # Safety
    /// The caller holds the slot, and no context is on it.
    pub unsafe fn write_tls(&self, template: &Template) {
        let identity = Identity {
            tid: self.tid,
            stack: (self.base, self.top(template) - self.base),
            dtv: self.dtv.get(),
        };
        // SAFETY: the block lies at the slot's top end, reserved for it by `carve`; `fs` is aligned.
        unsafe { template.write(self.fs(template), identity) };
    }

    /// The dynamic thread vector that the next goroutine here can use; null: it must allocate one.
    pub fn dtv(&self) -> *mut usize {
        self.dtv.get()
    }

    /// Gives the memory of a free slot back to the kernel: it reads as zeros then.
    ///
    /// # Safety
    /// The caller holds the slot, and no context is on it.
    pub unsafe fn discard(&self) {
        let lowest = self.base + guard::GUARD_BYTES;
        // SAFETY: the slot's own memory, whose content is written anew for the next goroutine.
        unsafe { map::discard(lowest, self.base + (1 << self.class) - lowest) };
    }

    /// Remembers the vector that the goroutine here leaves (libc may have moved it).
    pub fn set_dtv(&self, dtv: *mut usize) {
        self.dtv.set(dtv);
    }
}

/// A last-in, first-out list of free slots of one class.
#[derive(Debug, Default)]
pub struct SlotList {
    first: Cell<Option<&'static Slot>>,
    len: Cell<usize>,
}

impl SlotList {
    /// An empty list.
    pub const fn new() -> Self {
        SlotList {
            first: Cell::new(None),
            len: Cell::new(0),
        }
    }

    /// Puts `slot` first.
    pub fn push(&self, slot: &'static Slot) {
        slot.next.set(self.first.replace(Some(slot)));
        self.len.set(self.len.get() + 1);
    }

    /// Takes the slot that was put last.
    pub fn pop(&self) -> Option<&'static Slot> {
        let slot = self.first.get()?;
        self.first.set(slot.next.take());
        self.len.set(self.len.get() - 1);
        Some(slot)
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.len.get()
    }
}

struct Pool {
    free: [SlotList; 32],
    /// Free slots without memory (S5).
    clean: [SlotList; 32],
    /// The fewest that were in `free` since the last [`next_round`].
    fewest: [usize; 32],
    /// How many of `free` nobody took during the round before.
    unused: [usize; 32],
    /// The rest of the slab that slots of a class are being cut from: next address and end.
    slab: [(usize, usize); 32],
    /// Bytes that the next slab of a class reserves.
    slab_bytes: [usize; 32],
    /// The rest of the memory that slots' records are cut from.
    records: (usize, usize),
}

// SAFETY: only reached under the lock.
unsafe impl Send for Pool {}

static POOL: Guarded<Pool, Lock> = Guarded::from_raw(
    Lock::unlocked(),
    Pool {
        free: [const { SlotList::new() }; 32],
        clean: [const { SlotList::new() }; 32],
        fewest: [0; 32],
        unused: [0; 32],
        slab: [(0, 0); 32],
        slab_bytes: [*SLAB_BYTES.start(); 32],
        records: (0, 0),
    },
);

static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Address space and records for new slots, which nobody else has.
struct Reserved {
    base: usize,
    records: *mut Slot,
    count: usize,
}

impl Pool {
    /// Takes a free slot, one with memory if there is one (S4, S5).
    fn pop(&mut self, class: usize) -> Option<&'static Slot> {
        self.pop_free(class).or_else(|| self.clean[class].pop())
    }

    /// Takes a free slot with memory.
    fn pop_free(&mut self, class: usize) -> Option<&'static Slot> {
        let slot = self.free[class].pop()?;
        self.fewest[class] = self.fewest[class].min(self.free[class].len());
        Some(slot)
    }

    /// Reserves room for at most `count` new slots of `class`, at least one.
    fn reserve(&mut self, class: u8, count: usize) -> io::Result<Reserved> {
        let bytes = 1usize << class;
        if self.slab[usize::from(class)].0 == self.slab[usize::from(class)].1 {
            self.slab[usize::from(class)] = self.new_slab(class)?;
        }
        let (base, end) = self.slab[usize::from(class)];
        let count = count.min((end - base) / bytes);
        if self.records.0 + count * size_of::<Slot>() > self.records.1 {
            let records = map::reserve(CHUNK_BYTES)?;
            self.records = (records, records + CHUNK_BYTES);
        }
        let records = self.records.0 as *mut Slot;
        self.records.0 += count * size_of::<Slot>();
        self.slab[usize::from(class)].0 += count * bytes;
        Ok(Reserved {
            base,
            records,
            count,
        })
    }
}

impl Pool {
    /// Reserves address space for more slots of `class`.
    fn new_slab(&mut self, class: u8) -> io::Result<(usize, usize)> {
        let least = (1usize << class).max(*SLAB_BYTES.start());
        let planned = &mut self.slab_bytes[usize::from(class)];
        let bytes = least.max(*planned);
        let (base, bytes) = match map::reserve(bytes) {
            Ok(base) => (base, bytes),
            // Address space can be limited (RLIMIT_AS): then as little as does.
            Err(_) if bytes > least => (map::reserve(least)?, least),
            Err(error) => return Err(error),
        };
        *planned = (2 * bytes).min(*SLAB_BYTES.end());
        Ok((base, base + bytes))
    }
}

impl Reserved {
    /// Makes slots of it: the first is answered, the others go to `spare`. No lock is held: the guards
    /// are system calls.
    fn make(self, class: u8, spare: Option<&SlotList>) -> io::Result<&'static Slot> {
        let bytes = 1usize << class;
        // SAFETY: the lowest parts of slots that nobody has, in a mapping of ours.
        let count = unsafe { guard::install(self.base, bytes, self.count) }?;
        // Relaxed: only uniqueness matters (S3).
        let number = NEXT_NUMBER.fetch_add(count as u32, Ordering::Relaxed);
        let mut first = None;
        for index in 0..count {
            let base = self.base + index * bytes;
            let record = self.records.wrapping_add(index);
            let slot = Slot {
                base,
                tid: TID_BASE + number + index as u32,
                class,
                dtv: Cell::new(std::ptr::null_mut()),
                watched: Cell::new(false),
                next: Cell::new(None),
            };
            // SAFETY: writable, aligned memory for one slot, given out once.
            unsafe { record.write(slot) };
            // SAFETY: just written; the memory is never unmapped.
            let slot = unsafe { &*record };
            match (first, spare) {
                (None, _) => first = Some(slot),
                (Some(_), Some(spare)) => spare.push(slot),
                (Some(_), None) => put_one(slot),
            }
        }
        first.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }
}

/// Bytes mapped at a time for slots' records.
const CHUNK_BYTES: usize = 64 << 10;

/// How many free slots of the default class a P keeps for itself.
pub const KEPT_BY_PROCESSOR: usize = 64;

/// How many slots of the default class are taken or made at a time, at most.
const BATCH_MAX: usize = 16;

/// As many as there are, so that a program of a few goroutines does not pay for the guards of sixteen.
fn batch() -> usize {
    // Relaxed: a count to go by.
    let made = NEXT_NUMBER.load(Ordering::Relaxed) as usize;
    made.clamp(1, BATCH_MAX)
}

/// Takes a slot of `class` from the common pool, or makes one. With `spare`, a P's own list of the
/// default class, a few more at the same time go there.
///
/// # Errors
/// When the kernel has no address space or no mapping left.
pub fn take(class: u8, spare: Option<&SlotList>) -> io::Result<&'static Slot> {
    let batch = if spare.is_some() { batch() } else { 1 };
    let reserved = {
        let mut pool = POOL.lock();
        if let Some(slot) = pool.pop(usize::from(class)) {
            if let Some(spare) = spare {
                (1..batch)
                    .map_while(|_| pool.pop(usize::from(class)))
                    .for_each(|more| spare.push(more));
            }
            return Ok(slot);
        }
        pool.reserve(class, batch)?
    };
    reserved.make(class, spare)
}

/// Puts slots into the common pool.
pub fn put(slots: &SlotList, count: usize) {
    let pool = POOL.lock();
    for _ in 0..count {
        let Some(slot) = slots.pop() else { break };
        pool.free[usize::from(slot.class)].push(slot);
    }
}

/// Puts one slot into the common pool.
pub fn put_one(slot: &'static Slot) {
    POOL.lock().free[usize::from(slot.class)].push(slot);
}

/// Begins a round of giving back: what was free all through the last one is [`take_unused`]'s.
pub fn next_round() {
    let mut pool = POOL.lock();
    for class in 0..32 {
        pool.unused[class] = pool.fewest[class];
        pool.fewest[class] = pool.free[class].len();
    }
}

/// Takes at most `count` slots that have memory and were free all through the last round.
pub fn take_unused(count: usize) -> SlotList {
    let taken = SlotList::new();
    let mut pool = POOL.lock();
    for class in 0..32 {
        while taken.len() < count && pool.unused[class] > 0 {
            pool.unused[class] -= 1;
            let Some(slot) = pool.pop_free(class) else {
                break;
            };
            taken.push(slot);
        }
    }
    taken
}

/// Puts a slot that lost its memory into the common pool.
pub fn put_clean(slot: &'static Slot) {
    POOL.lock().clean[usize::from(slot.class)].push(slot);
}
