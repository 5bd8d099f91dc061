//! The timers of one P: goroutines that wait for a point in time, and those that begin at one.
//!
//! A timer does one thing: it readies a goroutine, one that parked with a deadline, whose wait it claims,
//! or one that it starts ([`crate::delayed`]).
//!
//! - M1: `first` is the earliest deadline in the heap, or `NEVER`; it changes under the lock. It may be
//!   that of a start that was stopped (Y3 of [`crate::delayed`]).
//! - M2: who adds a timer that becomes the first looks afterwards whether somebody sleeps past it
//!   ([`crate::find_work::timer_added`]); who is about to sleep publishes until when and looks at
//!   `first` afterwards. One of the two sees the other (SeqCst on both sides).
//! - M3: `processor` of a node names the P in whose heap it is or was last, and changes only under
//!   that heap's lock; moving to another heap holds both, the one of the higher P taken first.

use crate::Green;
use crate::delayed::{Records, Start, Timer};
use crate::find_work;
use crate::g::{G, NO_WAIT};
use crate::lock::Lock;
use crate::p::{self, P};
use gaggle_core::contract::{NEVER, Nanos, TIMED_OUT, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::Ticket;
use gaggle_core::timer_heap::{Entry, NOT_IN_HEAP, TimerHeap, TimerNode};
use gaggle_sys::stack::map;
use std::cell::Cell;
use std::mem::{MaybeUninit, offset_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// Room for this many timers a P: address space only, committed as it is used.
const CAPACITY: usize = 1 << 25;

/// How many timers move to another P under the two locks.
const MOVED_AT_A_TIME: usize = 64;

/// What a node in a heap belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A goroutine that waits: `timer` of a [`G`].
    Wait,
    /// A goroutine that begins: a record of [`crate::delayed`].
    Start,
}

/// A place in a heap, part of what it belongs to.
#[derive(Debug)]
pub struct Node {
    /// Under the heap's lock.
    index: Cell<u32>,
    /// M3.
    processor: AtomicU16,
    kind: Kind,
}

impl Node {
    /// A node in no heap.
    pub const fn new(kind: Kind) -> Self {
        Node {
            index: Cell::new(NOT_IN_HEAP),
            processor: AtomicU16::new(0),
            kind,
        }
    }

    /// What it belongs to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// M3.
    pub fn processor(&self) -> u32 {
        // Relaxed: a stale number is found out under the lock.
        u32::from(self.processor.load(Ordering::Relaxed))
    }

    /// M3.
    pub fn set_processor(&self, number: u32) {
        // Relaxed: changes under the lock.
        self.processor.store(number as u16, Ordering::Relaxed);
    }
}

// SAFETY: the index is at one place for the node's whole life; it is touched only under the heap's lock,
// and what nodes belong to lives for ever.
unsafe impl TimerNode for Node {
    unsafe fn index_cell(this: NonNull<Self>) -> *const Cell<u32> {
        // SAFETY: the caller says that `this` is live.
        unsafe { &raw const (*this.as_ptr()).index }
    }
}

/// The node of a goroutine's wait.
fn node_of(g: &'static G) -> NonNull<Node> {
    // From the whole record's address, so that the way back in `goroutine_of` stays open.
    let record = NonNull::from(g).cast::<u8>();
    // SAFETY: the field lies within the record.
    unsafe { record.add(offset_of!(G, timer)) }.cast()
}

/// The goroutine that a node of [`Kind::Wait`] belongs to.
fn goroutine_of(node: NonNull<Node>) -> NonNull<G> {
    // SAFETY: nodes of this kind are made only as that field of a record, and the pointer by `node_of`.
    unsafe { node.cast::<u8>().sub(offset_of!(G, timer)) }.cast()
}

/// What a P's lock guards.
struct State {
    heap: Option<TimerHeap<Node>>,
    records: Records,
}

// SAFETY: the nodes and records may be reached from any thread under the lock that this is kept in.
unsafe impl Send for State {}

/// See the module's text.
pub struct Timers {
    state: Guarded<State, Lock>,
    first: AtomicU64,
}

impl Timers {
    /// No timers yet, nor room for them.
    pub fn new() -> Self {
        Timers {
            state: Guarded::new(State {
                heap: None,
                records: Records::new(),
            }),
            first: AtomicU64::new(NEVER),
        }
    }

    /// The earliest deadline.
    pub fn first(&self) -> Nanos {
        // SeqCst: M2.
        self.first.load(Ordering::SeqCst)
    }

    /// The earliest deadline, at no cost; may be a moment old.
    pub fn first_hint(&self) -> Nanos {
        // Relaxed: whoever must not miss a timer asks `first`.
        self.first.load(Ordering::Relaxed)
    }

    /// How many goroutines are to be started.
    pub fn pending(&self) -> usize {
        self.state.lock().records.pending()
    }

    /// Adds the timer of `g`, whose wait is `ticket`; whether it became the first.
    ///
    /// The room is reserved at the first call; a kernel that has no address space left ends the
    /// process, as it would at the next stack.
    pub fn add(&self, number: u32, g: &'static G, ticket: Ticket<Green>, deadline: Nanos) -> bool {
        let mut state = self.state.lock();
        g.timer.set_processor(number);
        g.timed_wait.set(ticket.number());
        self.push(&mut state, deadline, node_of(g))
    }

    /// Adds a start; whether it became the first.
    pub fn start(&self, number: u32, start: Start, deadline: Nanos) -> (Timer, bool) {
        let mut state = self.state.lock();
        let used = state.records.take_used();
        let (timer, node) = state.records.keep(number, start);
        let is_first = self.push(&mut state, deadline, node);
        drop(state);
        drop(used);
        (timer, is_first)
    }

    fn push(&self, state: &mut State, deadline: Nanos, node: NonNull<Node>) -> bool {
        let heap = state.heap.get_or_insert_with(reserve);
        // SAFETY: what the node belongs to lives for ever, and is in no heap (its holder adds one timer
        // at a time and removes it before the next).
        let first = unsafe { heap.push(deadline, node) };
        let first = first.expect("fewer timers than bytes of memory");
        if first {
            self.publish(heap);
        }
        first
    }

    /// Takes the timer of `g` out; whether it was still in. `None`: it is in another P's heap.
    fn remove(&self, number: u32, g: &'static G) -> Option<bool> {
        let mut state = self.state.lock();
        if g.timer.processor() != number {
            return None;
        }
        if g.timer.index.get() == NOT_IN_HEAP {
            return Some(false);
        }
        let State { heap, records } = &mut *state;
        let Some(heap) = heap else {
            return Some(false);
        };
        // SAFETY: a live record that is in this heap: M3.
        let removed = unsafe { heap.remove(node_of(g)) };
        records.sweep(heap);
        self.publish(heap);
        Some(removed)
    }

    /// Stops a start; what it was to start, if it was pending. The outer `None`: it is in another P's heap.
    fn stop(&self, number: u32, timer: &Timer) -> Option<Option<Start>> {
        let mut state = self.state.lock();
        if timer.processor() != number {
            return None;
        }
        let State { heap, records } = &mut *state;
        let (Some(node), Some(heap)) = (timer.pending(), heap) else {
            return Some(None);
        };
        let start = records.stop(heap, node);
        self.publish(heap);
        Some(start)
    }

    /// Moves a start to another deadline; whether it became the first (`Some(None)`: it is not pending).
    /// `None`: it is in another P's heap.
    fn reset(&self, number: u32, timer: &Timer, deadline: Nanos) -> Option<Option<bool>> {
        let mut state = self.state.lock();
        if timer.processor() != number {
            return None;
        }
        let (Some(node), Some(heap)) = (timer.pending(), state.heap.as_mut()) else {
            return Some(None);
        };
        // SAFETY: a live record that is in this heap: M3.
        unsafe { heap.remove(node) };
        self.publish(heap);
        Some(Some(self.push(&mut state, deadline, node)))
    }

    /// Moves the timers that are due first to P `to`, at most [`MOVED_AT_A_TIME`]; whether there may be
    /// more. Only from a P of a higher number (M3).
    pub fn move_some_to(&self, to: &'static P) -> bool {
        let mut state = self.state.lock();
        let State { heap, records } = &mut *state;
        let Some(from) = heap.as_mut().filter(|from| !from.is_empty()) else {
            return false;
        };
        let mut first = None;
        {
            let mut target = to.timers.state.lock();
            for _ in 0..MOVED_AT_A_TIME {
                let Some((deadline, node)) = from.pop_due(NEVER) else {
                    break;
                };
                // SAFETY: nodes live for ever, and only the kind and atomics are read.
                let node_itself = unsafe { node.as_ref() };
                let is_stale = node_itself.kind() == Kind::Start
                    && !records.pass_on(node, &mut target.records);
                if is_stale {
                    continue;
                }
                node_itself.set_processor(to.number);
                if to.timers.push(&mut target, deadline, node) {
                    first = Some(deadline);
                }
            }
        }
        self.publish(from);
        drop(state);
        if let Some(deadline) = first {
            find_work::timer_added(deadline);
        }
        true
    }

    fn publish(&self, heap: &TimerHeap<Node>) {
        let first = heap.peek().unwrap_or(NEVER);
        // Relaxed: changes under the lock, which the caller holds.
        if self.first.load(Ordering::Relaxed) != first {
            // SeqCst: M2.
            self.first.store(first, Ordering::SeqCst);
        }
    }

    /// Claims every wait that is due at `now`, makes the goroutines that begin, and collects those that
    /// are to be readied.
    pub fn run(&self, now: Nanos, ready: &mut Batch<G>) {
        if self.first_hint() > now {
            return;
        }
        let mut state = self.state.lock();
        let State { heap, records } = &mut *state;
        let Some(heap) = heap else { return };
        while let Some((_, node)) = heap.pop_due(now) {
            // SAFETY: nodes live for ever, and only the kind is read.
            let readied = match unsafe { node.as_ref() }.kind() {
                Kind::Wait => claim(goroutine_of(node)),
                Kind::Start => records.fire(node).map(NonNull::from),
            };
            if let Some(g) = readied {
                // SAFETY: claiming or making it made this thread the goroutine's holder; it is in no list.
                unsafe { ready.push_back(g) };
            }
        }
        records.sweep(heap);
        self.publish(heap);
    }
}

/// Claims the wait of a goroutine whose time has come, if nobody has before.
fn claim(link: NonNull<G>) -> Option<NonNull<G>> {
    let g = crate::g::from_link(link);
    let number = g.timed_wait.replace(NO_WAIT);
    if number == NO_WAIT {
        return None;
    }
    let ticket = Ticket::<Green>::again(g.as_task(), number);
    ticket.claim(TIMED_OUT)?.into_task();
    g.wait.set(WaitReason::Runnable);
    Some(link)
}

/// Takes the timer of `g` out of whichever heap it is in; whether it was still in one.
pub fn remove(g: &'static G) -> bool {
    loop {
        let number = g.timer.processor();
        if let Some(removed) = p::at(number).timers.remove(number, g) {
            return removed;
        }
    }
}

/// Stops a start; what it was to start, if it was still to come.
pub fn stop(timer: &Timer) -> Option<Start> {
    loop {
        let number = timer.processor();
        if let Some(stopped) = p::at(number).timers.stop(number, timer) {
            return stopped;
        }
    }
}

/// Moves a start to another deadline; whether it was still to come.
pub fn reset(timer: &Timer, deadline: Nanos) -> bool {
    loop {
        let number = timer.processor();
        let Some(moved) = p::at(number).timers.reset(number, timer, deadline) else {
            continue;
        };
        if moved == Some(true) {
            find_work::timer_added(deadline);
        }
        return moved.is_some();
    }
}

/// How many goroutines are to be started by timers.
pub fn pending() -> usize {
    p::all().iter().map(|p| p.timers.pending()).sum()
}

fn reserve() -> TimerHeap<Node> {
    let bytes = CAPACITY * size_of::<Entry<Node>>();
    let storage = map::reserve(bytes).unwrap_or_else(|error| {
        crate::fatal(format_args!("no address space for timers: {error}"));
    });
    let storage = NonNull::new(storage as *mut MaybeUninit<Entry<Node>>);
    let storage = storage.expect("a mapping is not at address zero");
    // SAFETY: the mapping has room for CAPACITY entries, is aligned to a page and lives for ever.
    unsafe { TimerHeap::with_storage(storage, CAPACITY) }
}
