//! Goroutines that a timer will start: until then each is a record of 56 bytes.
//!
//! - Y1: records are never unmapped and keep their type. A handle names a record and the number of its
//!   start, which no other start has, so a late handle reaches a record, and finds that it is not its own
//!   any more.
//! - Y2: a record is *pending* (in a heap, with something to start), *stale* (in a heap, stopped) or *free*
//!   (in the list of the heap that it was in last). Which, and all else in it but `processor`, changes
//!   under the lock of the heap that `processor` names.
//! - Y3: a stopped one that has others below it in the heap stays there, stale; once half of a heap is
//!   stale, all of those are taken out in one pass. So a stop costs a constant on average, and what is
//!   stopped takes at most as much room as what is not; a heap that holds stale ones only is empty.
//!
//! Source of Y3: Go's lazily deleted timers (`timers.cleanHead` and `adjust` in runtime/time.go).

use crate::g::G;
use crate::timers::{Kind, Node};
use crate::{fatal, p, sched};
use gaggle_core::contract::{Entry, SpawnOptions};
use gaggle_core::timer_heap::TimerHeap;
use gaggle_sys::stack::map;
use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

/// What few have: so the others have room for one pointer.
pub struct Rare {
    name: Option<Arc<str>>,
    stack_bytes: Option<usize>,
    signal_mask: u64,
    /// The next one that has been used, and is to be freed where malloc may be called.
    next: Option<Box<Rare>>,
}

impl Drop for Rare {
    fn drop(&mut self) {
        // One after the other, not one inside the other.
        let mut next = self.next.take();
        while let Some(mut used) = next {
            next = used.next.take();
        }
    }
}

/// What is to be started.
pub struct Start {
    entry: Entry,
    location: &'static Location<'static>,
    rare: Option<Box<Rare>>,
    /// Which goroutine asked for it; 0: an OS thread.
    parent: u64,
}

impl Start {
    /// A start for which the caller asks.
    pub fn new(options: SpawnOptions, entry: Entry) -> Self {
        let current = sched::current();
        let rare = Rare {
            name: options.name,
            stack_bytes: options.stack_bytes,
            signal_mask: current.map_or_else(gaggle_sys::signal::mask, G::signal_mask),
            next: None,
        };
        let is_plain = rare.name.is_none() && rare.stack_bytes.is_none() && rare.signal_mask == 0;
        Start {
            entry,
            location: options.location,
            rare: (!is_plain).then(|| Box::new(rare)),
            parent: current.map_or(0, |g| g.id.get()),
        }
    }

    /// The goroutine, which is not runnable yet. Called where malloc may not be: `used` takes what is to be
    /// freed later.
    pub fn into_goroutine(self, used: &mut Option<Box<Rare>>) -> &'static G {
        let (mut name, mut stack_bytes, mut signal_mask) = (None, None, 0);
        if let Some(mut rare) = self.rare {
            (name, stack_bytes, signal_mask) =
                (rare.name.take(), rare.stack_bytes, rare.signal_mask);
            rare.next = used.take();
            *used = Some(rare);
        }
        let options = SpawnOptions {
            name,
            stack_bytes,
            location: self.location,
        };
        let g = sched::new_goroutine(options, self.entry).unwrap_or_else(|error| {
            fatal(format_args!("no memory for a timer's goroutine: {error}"));
        });
        g.parent.set(self.parent);
        g.set_signal_mask(signal_mask);
        g
    }
}

/// A delayed start's record.
#[repr(C)]
pub struct Delayed {
    /// First, so that a node of this kind is its record.
    node: Node,
    /// The start's number; of a free record the address of the next free one, 0: there is none.
    number: Cell<u64>,
    /// None: stale or free.
    start: Cell<Option<Start>>,
}

// SAFETY: Y2: the cells are touched under a lock, or before the record is known to anybody.
unsafe impl Sync for Delayed {}

const _: () = assert!(size_of::<Delayed>() == 56, "as the module says");

/// A delayed start, to stop it or to move it (Y1).
pub struct Timer {
    delayed: &'static Delayed,
    number: u64,
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Timer {
    /// In whose heap the record is, or was last.
    pub fn processor(&self) -> u32 {
        self.delayed.node.processor()
    }

    /// The record's place in the heap, if this start is still pending. Under the heap's lock.
    pub fn pending(&self) -> Option<NonNull<Node>> {
        let start = self.delayed.start.take();
        let is_own = start.is_some() && self.delayed.number.get() == self.number;
        self.delayed.start.set(start);
        is_own.then(|| node_of(self.delayed))
    }
}

fn node_of(delayed: &'static Delayed) -> NonNull<Node> {
    // From the whole record's address, so that the way back in `of` stays open.
    NonNull::from(delayed).cast()
}

/// The record that begins with `node`, which is one of [`Kind::Start`].
fn of(node: NonNull<Node>) -> &'static Delayed {
    // SAFETY: nodes of this kind are made only as the first field of a record (`repr(C)`), and the
    // pointer by `node_of`; records live for ever (Y1).
    unsafe { node.cast::<Delayed>().as_ref() }
}

/// Bytes mapped at a time for new records.
const CHUNK_BYTES: usize = 64 << 10;

/// The records of one heap that are free, and a count of the others. Under the heap's lock.
pub struct Records {
    /// The address of the first; 0: there is none.
    free: u64,
    /// How many starts this heap has numbered.
    numbered: u64,
    pending: usize,
    stale: usize,
    used: Option<Box<Rare>>,
}

impl Records {
    pub const fn new() -> Self {
        Records {
            free: 0,
            numbered: 0,
            pending: 0,
            stale: 0,
            used: None,
        }
    }

    /// How many starts are to come.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// What those that have been started left to be freed: behind the lock, where malloc may be called.
    pub fn take_used(&mut self) -> Option<Box<Rare>> {
        self.used.take()
    }

    /// Makes a record of the start; it is to be put into the heap of the P `number`.
    pub fn keep(&mut self, number: u32, start: Start) -> (Timer, NonNull<Node>) {
        let delayed = self.take();
        delayed.node.set_processor(number);
        delayed.start.set(Some(start));
        self.pending += 1;
        self.numbered += 1;
        // No other heap makes this number, to which the record may pass.
        let number = self.numbered * p::MAX as u64 + u64::from(number);
        delayed.number.set(number);
        (Timer { delayed, number }, node_of(delayed))
    }

    /// The goroutine of a record that has come out of the heap because it is due; `None`: it is stale.
    pub fn fire(&mut self, node: NonNull<Node>) -> Option<&'static G> {
        let delayed = of(node);
        let start = delayed.start.take();
        self.put(delayed);
        if start.is_some() {
            self.pending -= 1;
        } else {
            self.stale -= 1;
        }
        start.map(|start| start.into_goroutine(&mut self.used))
    }

    /// Hands a record that has come out of the heap to another heap's records; `false`: it is stale, and
    /// free now.
    pub fn pass_on(&mut self, node: NonNull<Node>, to: &mut Records) -> bool {
        let delayed = of(node);
        let start = delayed.start.take();
        if start.is_none() {
            self.stale -= 1;
            self.put(delayed);
            return false;
        }
        delayed.start.set(start);
        self.pending -= 1;
        to.pending += 1;
        true
    }

    /// Stops the start of the record `node`, which is pending and in `heap` (Y3).
    pub fn stop(&mut self, heap: &mut TimerHeap<Node>, node: NonNull<Node>) -> Option<Start> {
        let delayed = of(node);
        let start = delayed.start.take();
        self.pending -= 1;
        // SAFETY: live and in this heap, whose lock the caller holds.
        if unsafe { heap.is_leaf(node) } {
            // SAFETY: as above.
            unsafe { heap.remove(node) };
            self.put(delayed);
        } else {
            self.stale += 1;
        }
        self.sweep(heap);
        start
    }

    /// Takes the stale ones out of `heap`, if they are half of it (Y3). Called after anything has left it.
    #[inline]
    pub fn sweep(&mut self, heap: &mut TimerHeap<Node>) {
        if self.stale > 0 && self.stale * 2 >= heap.len() {
            self.take_out_stale(heap);
        }
    }

    #[cold]
    fn take_out_stale(&mut self, heap: &mut TimerHeap<Node>) {
        heap.retain(|node| {
            // SAFETY: nodes in the heap live (H3), and only the kind is read.
            let is_start = unsafe { node.as_ref() }.kind() == Kind::Start;
            !is_start || self.is_kept(of(node))
        });
        debug_assert_eq!(self.stale, 0, "Y3");
    }

    /// Whether a record in the heap is pending; one that is stale becomes free.
    fn is_kept(&mut self, delayed: &'static Delayed) -> bool {
        let start = delayed.start.take();
        let is_pending = start.is_some();
        delayed.start.set(start);
        if !is_pending {
            self.stale -= 1;
            self.put(delayed);
        }
        is_pending
    }

    /// Makes a record free (Y1).
    fn put(&mut self, delayed: &'static Delayed) {
        let address = std::ptr::from_ref(delayed).expose_provenance() as u64;
        delayed
            .number
            .set(std::mem::replace(&mut self.free, address));
    }

    fn take(&mut self) -> &'static Delayed {
        if self.free == 0 {
            self.free = make_chunk();
        }
        let record = std::ptr::with_exposed_provenance::<Delayed>(self.free as usize);
        // SAFETY: the address of a record, exposed by `put` or `make_chunk`; records live for ever (Y1).
        let record = unsafe { &*record };
        self.free = record.number.get();
        record
    }
}

/// Maps room for more records, makes them and answers the address of the first of their list.
#[cold]
fn make_chunk() -> u64 {
    let chunk = map::reserve(CHUNK_BYTES).unwrap_or_else(|error| {
        fatal(format_args!("no memory for timers: {error}"));
    });
    let mut next = 0;
    for index in (0..CHUNK_BYTES / size_of::<Delayed>()).rev() {
        let record = (chunk + index * size_of::<Delayed>()) as *mut Delayed;
        let blank = Delayed {
            node: Node::new(Kind::Start),
            number: Cell::new(next),
            start: Cell::new(None),
        };
        // SAFETY: within the mapping, which is aligned to a page.
        unsafe { record.write(blank) };
        next = record.expose_provenance() as u64;
    }
    next
}
