//! G: a goroutine's record, and the pool that records come from.
//!
//! A record is small and is all that a goroutine has until it first runs: only then does it get a
//! slot (stack and thread-local storage, [`crate::slot`]).
//!
//! - G1: records are never unmapped and keep their type: a stale reference reaches a record, if of a
//!   later goroutine, and every use that could be stale is decided by the task's sequence.
//! - G2: the plain cells of a record belong to whoever holds the goroutine: the M that runs it, or
//!   the one thread that took it from a queue, a timer or the pool.
//! - G3: `on` names the M on whose processor the goroutine's stack is in use, and is null else. It is
//!   set before the switch to the goroutine and cleared by the context that was switched to after
//!   it, so a goroutine that has been readied early is run by nobody until it is clear.
//! - G4: all records can be found at any time, without a lock ([`all`]). One that is found may be no
//!   goroutine, or become one or another meanwhile: only atomics may be read, or what a protocol
//!   keeps still ([`gaggle_core::stack_claim`] for the stack's).
//!   A record whose `id` is 0 is no goroutine; the number is written after all that describes the
//!   goroutine, and taken back before any of that changes ([`crate::hold`]).

use crate::m::M;
use crate::slot::Slot;
use crate::thread_tls::Destructor;
use crate::timers::{Kind, Node};
use gaggle_core::contract::{Entry, SpawnOptions, WaitReason};
use gaggle_core::injector::{Batch, Link};
use gaggle_core::stack_claim::StackClaim;
use gaggle_core::task::Task;
use gaggle_sys::arch;
use gaggle_sys::stack::map;
use std::cell::Cell;
use std::panic::Location;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// [`Task::kind`] of a goroutine; foreign threads have another.
pub const KIND_GOROUTINE: u8 = 1;

/// [`G::timed_wait`] of a goroutine that waits for no deadline; no wait has this number (T1).
pub const NO_WAIT: u64 = u64::MAX;

/// A goroutine's number, which others may read at any time (G4).
#[derive(Debug)]
pub struct Id(AtomicU64);

impl Id {
    /// The number; 0: this record is no goroutine.
    pub fn get(&self) -> u64 {
        // Acquire: pairs with the Release in `set`: what describes the goroutine is visible.
        self.0.load(Ordering::Acquire)
    }

    /// Makes the record this goroutine, or (0) none.
    pub fn set(&self, id: u64) {
        // Release: pairs with the Acquire in `get`.
        self.0.store(id, Ordering::Release);
    }
}

/// A word that belongs to whoever holds the goroutine (G2), and that others may look at for a hint.
#[derive(Debug)]
pub struct Word(AtomicUsize);

impl Word {
    /// Its value.
    #[inline]
    pub fn get(&self) -> usize {
        // Relaxed: the holder's own, or a hint.
        self.0.load(Ordering::Relaxed)
    }

    /// Changes it.
    #[inline]
    pub fn set(&self, value: usize) {
        // Relaxed: as in `get`; the goroutine's next holder takes it from a queue or a lock.
        self.0.store(value, Ordering::Relaxed);
    }

    /// For the switch, which writes it by one instruction.
    pub fn as_ptr(&self) -> *mut usize {
        self.0.as_ptr()
    }
}

/// What a goroutine waits for, and since about when: hints for dumps, so all accesses are Relaxed.
#[derive(Debug)]
pub struct Wait {
    reason: AtomicU8,
    /// In units of 2^30 nanoseconds, so that a record is small.
    since: AtomicU32,
}

/// Where the reason stands in a [`Wait`], for debuggers.
pub const WAIT_REASON_OFFSET: usize = std::mem::offset_of!(Wait, reason);

/// log2 of the nanoseconds in a unit of [`Wait`]'s `since`.
const SINCE_SHIFT: u32 = 30;

impl Wait {
    /// What it waits for, or did last.
    pub fn reason(&self) -> WaitReason {
        WaitReason::from_number(self.reason.load(Ordering::Relaxed))
    }

    /// When that began, in nanoseconds of the coarse clock ([`crate::hold::coarse_now`]).
    pub fn since(&self) -> u64 {
        u64::from(self.since.load(Ordering::Relaxed)) << SINCE_SHIFT
    }

    /// Says that it is about to wait.
    #[inline]
    pub fn begin(&self, reason: WaitReason) {
        self.reason.store(reason as u8, Ordering::Relaxed);
        let since = crate::hold::coarse_now() >> SINCE_SHIFT;
        self.since.store(since as u32, Ordering::Relaxed);
    }

    /// Says what it is doing now, if it is not waiting.
    #[inline]
    pub fn set(&self, reason: WaitReason) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }
}

/// A goroutine. `&'static G` is how all parts of the runtime refer to one (G1).
#[repr(C)]
pub struct G {
    /// First, so that a `&Task` of this kind is a `&G`.
    pub task: Task,
    /// Where it goes on when it does not run; before it starts, where its entry lies, to be fetched ahead.
    pub stack_pointer: Word,
    /// Its FS base; before it starts, another's address or anything ([`Link::note_ahead`]).
    pub fs: Word,
    /// See G3.
    pub on: AtomicPtr<M>,
    /// The M that waits with this goroutine's frames, when the goroutine is suspended
    /// ([`crate::preempt`]): it can go on there only.
    pub suspended_on: AtomicPtr<M>,
    next: Cell<Option<NonNull<G>>>,
    /// Its number, from 1, never used again (G4).
    pub id: Id,
    /// What it runs, until it starts.
    pub entry: Cell<Option<Entry>>,
    /// Its stack and thread-local storage, once it has started.
    pub slot: Cell<Option<&'static Slot>>,
    /// Destructors of its thread-local variables, the last registered first.
    pub destructors: Cell<*mut Destructor>,
    /// The timer of its current wait.
    pub timer: Node,
    /// The number of the current wait with a deadline, or [`NO_WAIT`]. Under the heap's lock.
    pub timed_wait: Cell<u64>,
    /// Its name, if it was given one.
    pub name: Cell<Option<Arc<str>>>,
    /// Where it was started.
    pub location: Cell<Option<&'static Location<'static>>>,
    /// Who may touch the stack while it does not run. From here on several small fields share a word each.
    pub stack_claim: StackClaim,
    /// The OS thread on which it waits for signals; 0: none (S3 of `hooks/signal.rs`).
    pub signal_waiter: AtomicI32,
    /// log2 of the stack size in bytes.
    pub stack_class: Cell<u8>,
    /// The stack size was asked for.
    pub stack_is_given: Cell<bool>,
    /// It has ended; whoever is switched to next puts it back into the pool.
    pub ended: Cell<bool>,
    /// How often it was readied, modulo 256 ([`crate::latency`]).
    pub times_readied: Cell<u8>,
    /// What it waits for.
    pub wait: Wait,
    /// How often it went on on another M than before.
    pub migrations: Cell<u32>,
    /// The M that ran it last, for counting migrations.
    pub last_m: Cell<u32>,
    /// How often it was bound, and whether for good.
    pub locks: Cell<u32>,
    /// The M that it is bound to ([`crate::pin`]); null: none.
    pub bound_to: AtomicPtr<M>,
    /// The signals that it blocks (S1 of `hooks/signal.rs`).
    signal_mask: AtomicU64,
    /// Signals that were sent to it and not handled yet (S2 there).
    pub signals_pending: AtomicU64,
    /// The number of the goroutine that started it; 0: an OS thread did.
    pub parent: Cell<u64>,
    /// When it was readied, if this time is measured; 0 else.
    pub ready_at: Cell<u64>,
}

// SAFETY: the atomics are atomics; the cells are touched only by the holder of the goroutine (G2),
// and holding passes from thread to thread through queues and locks that order memory.
unsafe impl Sync for G {}

impl std::fmt::Debug for G {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("G")
            .field("id", &self.id.get())
            .finish_non_exhaustive()
    }
}

// SAFETY: `next` is at one place for the record's whole life, only lists touch it, and records live
// for ever (G1).
unsafe impl Link for G {
    unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>> {
        // SAFETY: the caller says that `this` is live.
        unsafe { &raw const (*this.as_ptr()).next }
    }

    /// Many that were started in a row are noted in the word that has no meaning before they first run.
    #[inline]
    unsafe fn note_ahead(this: NonNull<Self>, later: NonNull<Self>) {
        let g = from_link(this);
        if g.slot.get().is_none() {
            g.fs.set(later.as_ptr() as usize);
        }
    }

    /// A later one's record, or, of one that has run before, its thread's block of libc.
    #[inline]
    unsafe fn fetch_ahead(this: NonNull<Self>) {
        arch::prefetch(from_link(this).fs.get());
    }
}

/// A queue's pointer as a reference.
pub fn from_link(pointer: NonNull<G>) -> &'static G {
    // SAFETY: every pointer in our queues was made from a record of the pool, which lives for ever.
    unsafe { pointer.as_ref() }
}

impl G {
    /// The goroutine that `task` belongs to.
    ///
    /// # Safety
    /// The task is of [`KIND_GOROUTINE`].
    pub unsafe fn of(task: &'static Task) -> &'static G {
        // SAFETY: tasks of this kind are made only as the first field of a G (`repr(C)`), and the
        // reference was derived from the whole record's (`task`).
        unsafe { &*std::ptr::from_ref(task).cast::<G>() }
    }

    /// This goroutine's task.
    pub fn as_task(&'static self) -> &'static Task {
        // SAFETY: the task is the first field; going through the record's own address keeps the
        // right to come back in `of`.
        unsafe { &*std::ptr::from_ref(self).cast::<Task>() }
    }

    /// The signals that it blocks.
    pub fn signal_mask(&self) -> u64 {
        // Relaxed: its own, or a hint to who sends it a signal.
        self.signal_mask.load(Ordering::Relaxed)
    }

    /// Sets what it blocks; called by the goroutine, or by who prepares it.
    pub fn set_signal_mask(&self, mask: u64) {
        // Relaxed: as above.
        self.signal_mask.store(mask, Ordering::Relaxed);
    }

    /// Whether its stack is in use on some M at this moment (G3).
    pub fn is_on_processor(&self) -> bool {
        // Acquire: pairs with the Release in `leave_processor`; what the goroutine did and its saved
        // stack pointer are visible once this says no.
        !self.on.load(Ordering::Acquire).is_null()
    }

    /// Begins to fetch this record into the processor's cache.
    pub fn prefetch_record(&self) {
        let own = std::ptr::from_ref(self) as usize;
        for line in 0..size_of::<G>().div_ceil(LINE_BYTES) {
            arch::prefetch(own + line * LINE_BYTES);
        }
    }

    /// Begins to fetch what it touches first when it goes on: its innermost frames, and the beginning of
    /// its thread's block of libc; before it starts, its entry and what malloc gave out after. Whatever it has become meanwhile, nothing is read for good.
    pub fn prefetch_context(&self) {
        let (frames, block) = (self.stack_pointer.get(), self.fs.get());
        for line in 0..FRAME_LINES {
            arch::prefetch(frames.wrapping_add(line * LINE_BYTES));
        }
        arch::prefetch(block);
    }

    /// Whether only an M's own stack can go on with it: its stack is still in use, or it is bound to
    /// an M ([`crate::pin`]).
    pub fn needs_scheduler(&self) -> bool {
        // Relaxed: as in `pin::machine_of`.
        self.is_on_processor() || !self.bound_to.load(Ordering::Relaxed).is_null()
    }

    /// Clears G3; called by the context that was switched to from this goroutine.
    pub fn leave_processor(&self) {
        // Release: pairs with the Acquire in `is_on_processor`.
        self.on.store(null_mut(), Ordering::Release);
    }

    /// The M that runs this goroutine, asked by the goroutine itself.
    pub fn machine(&self) -> &'static M {
        // Relaxed: this goroutine runs, so its own M wrote the field before switching to it.
        let machine = self.on.load(Ordering::Relaxed);
        debug_assert!(!machine.is_null(), "G3: a running goroutine is on an M");
        // SAFETY: Ms are never freed, and G3 says that a running goroutine's `on` names one.
        unsafe { &*machine }
    }
}

/// Bytes of a line of the processor's cache.
const LINE_BYTES: usize = 64;

/// How many lines of frames are fetched ahead: those between a park in a channel and its caller's.
const FRAME_LINES: usize = 8;

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// How many goroutines were ever made.
pub fn created() -> u64 {
    // Relaxed: a figure to report.
    LAST_ID.load(Ordering::Relaxed)
}

/// Bytes of new records that are made at a time: few, since the first goroutine waits for them.
const CHUNK_BYTES: usize = 32 << 10;
/// Bytes mapped at a time for chunks.
const ROOM_BYTES: usize = 1 << 20;

/// What stands at the beginning of a chunk: the next one. The records follow.
#[repr(C, align(64))]
pub struct Chunk {
    next: AtomicPtr<Chunk>,
}

/// All chunks, the youngest first. They are never unmapped (G1).
pub static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(null_mut());

/// How many records a chunk holds.
pub const CHUNK_RECORDS: usize = (CHUNK_BYTES - size_of::<Chunk>()) / size_of::<G>();

/// The record at `index` in the chunk at the address `chunk`.
fn record_at(chunk: usize, index: usize) -> *mut G {
    (chunk + size_of::<Chunk>() + index * size_of::<G>()) as *mut G
}

/// All records, goroutines or not (G4); those that are made meanwhile may be missing.
pub fn all() -> impl Iterator<Item = &'static G> {
    // Acquire: pairs with the Release in `make_chunk`.
    let mut chunk = CHUNKS.load(Ordering::Acquire);
    let chunks = std::iter::from_fn(move || {
        // SAFETY: a chunk that was published is never unmapped.
        let found = unsafe { chunk.as_ref::<'static>() }?;
        // Relaxed: written before the chunk was published.
        chunk = found.next.load(Ordering::Relaxed);
        Some(std::ptr::from_ref(found) as usize)
    });
    chunks.flat_map(|chunk| {
        (0..CHUNK_RECORDS).map(move |index| {
            // SAFETY: all records of a chunk are made before it is published, and live for ever (G1).
            unsafe { &*record_at(chunk, index) }
        })
    })
}

/// Address space for further chunks: where it begins and ends. Changes under the lock of [`crate::records`] only.
static ROOM: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Takes the memory of one chunk. Called under that lock.
fn take_chunk() -> std::io::Result<usize> {
    let [begin, end] = &ROOM;
    // Relaxed: under the lock.
    if begin.load(Ordering::Relaxed) == end.load(Ordering::Relaxed) {
        let room = map::reserve(ROOM_BYTES)?;
        begin.store(room, Ordering::Relaxed);
        end.store(room + ROOM_BYTES, Ordering::Relaxed);
    }
    Ok(begin.fetch_add(CHUNK_BYTES, Ordering::Relaxed))
}

/// Makes the records of a new chunk, puts them into `pool` and publishes the chunk. Called under that lock.
///
/// # Errors
/// When the kernel has no memory.
pub fn make_chunk(pool: &mut Batch<G>) -> std::io::Result<()> {
    let chunk = take_chunk()?;
    for index in 0..CHUNK_RECORDS {
        let record = record_at(chunk, index);
        // SAFETY: within the chunk, aligned (the chunk is to a page, its head's and the record's size
        // to the record's alignment).
        unsafe { record.write(blank()) };
        if let Some(record) = NonNull::new(record) {
            // SAFETY: the record lives for ever and is in no list yet.
            unsafe { pool.push_back(record) };
        }
    }
    let head = chunk as *mut Chunk;
    // Relaxed: changes under that lock only.
    let next = AtomicPtr::new(CHUNKS.load(Ordering::Relaxed));
    // SAFETY: the beginning of the chunk, which is aligned to a page.
    unsafe { head.write(Chunk { next }) };
    // Release: pairs with the Acquire in `all`; publishes the records and the link.
    CHUNKS.store(head, Ordering::Release);
    Ok(())
}

fn blank() -> G {
    G {
        task: Task::new(KIND_GOROUTINE),
        stack_pointer: Word(AtomicUsize::new(0)),
        fs: Word(AtomicUsize::new(0)),
        on: AtomicPtr::new(null_mut()),
        suspended_on: AtomicPtr::new(null_mut()),
        stack_claim: StackClaim::new(),
        next: Cell::new(None),
        id: Id(AtomicU64::new(0)),
        entry: Cell::new(None),
        slot: Cell::new(None),
        destructors: Cell::new(null_mut()),
        timer: Node::new(Kind::Wait),
        timed_wait: Cell::new(NO_WAIT),
        name: Cell::new(None),
        location: Cell::new(None),
        stack_class: Cell::new(0),
        stack_is_given: Cell::new(false),
        ended: Cell::new(false),
        migrations: Cell::new(0),
        last_m: Cell::new(u32::MAX),
        bound_to: AtomicPtr::new(null_mut()),
        locks: Cell::new(0),
        signal_mask: AtomicU64::new(0),
        signals_pending: AtomicU64::new(0),
        signal_waiter: AtomicI32::new(0),
        wait: Wait {
            reason: AtomicU8::new(0),
            since: AtomicU32::new(0),
        },
        parent: Cell::new(0),
        ready_at: Cell::new(0),
        times_readied: Cell::new(0),
    }
}

/// Makes a record from the pool the goroutine that `options` describe.
pub fn prepare(g: &'static G, options: SpawnOptions, entry: Entry, stack_class: u8, parent: u64) {
    g.stack_pointer
        .set(std::ptr::from_ref(&*entry).cast::<()>() as usize);
    g.entry.set(Some(entry));
    g.name.set(options.name);
    g.location.set(Some(options.location));
    g.stack_class.set(stack_class);
    g.stack_is_given.set(options.stack_bytes.is_some());
    g.ended.set(false);
    g.migrations.set(0);
    g.last_m.set(u32::MAX);
    crate::hooks::signal_queue::forget(g);
    g.wait.begin(WaitReason::Runnable);
    g.parent.set(parent);
    g.ready_at.set(0);
    // Relaxed: only uniqueness matters. G4: the number comes last.
    g.id.set(LAST_ID.fetch_add(1, Ordering::Relaxed) + 1);
}
