//! The timers of one P: goroutines that wait for a point in time.
//!
//! A timer does one thing: it claims a wait and readies the goroutine (one that parked with a
//! deadline, or one that has not started: a delayed call).
//!
//! - M1: `first` is the earliest deadline in the heap, or `NEVER`; it changes under the lock.
//! - M2: who adds a timer that becomes the first looks afterwards whether somebody sleeps past it
//!   ([`crate::find_work::timer_added`]); who is about to sleep publishes until when and looks at
//!   `first` afterwards. One of the two sees the other (SeqCst on both sides).
//! - M3: `processor` of a timer names the P in whose heap it is or was last, and changes only under
//!   that heap's lock; moving to another heap holds both, the one of the higher P taken first.

use crate::Green;
use crate::find_work;
use crate::g::{G, NO_WAIT, from_link};
use crate::lock::Lock;
use crate::p::{self, P};
use gaggle_core::contract::{NEVER, Nanos, TIMED_OUT, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::Ticket;
use gaggle_core::timer_heap::{Entry, NOT_IN_HEAP, TimerHeap};
use gaggle_sys::stack::map;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Room for this many timers a P: address space only, committed as it is used.
const CAPACITY: usize = 1 << 25;

/// How many timers move to another P under the two locks.
const MOVED_AT_A_TIME: usize = 64;

struct Heap(Option<TimerHeap<G>>);

// SAFETY: the heap's nodes are goroutines' records, which may be reached from any thread under the
// lock that this is kept in.
unsafe impl Send for Heap {}

/// See the module's text.
pub struct Timers {
    heap: Guarded<Heap, Lock>,
    first: AtomicU64,
}

impl Timers {
    /// No timers yet, nor room for them.
    ///
    /// # Errors
    /// None today; room is reserved when the first timer is added.
    pub fn new() -> std::io::Result<Self> {
        Ok(Timers {
            heap: Guarded::new(Heap(None)),
            first: AtomicU64::new(NEVER),
        })
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

    /// Adds the timer of `g`, whose wait is `ticket`; whether it became the first.
    ///
    /// The room is reserved at the first call; a kernel that has no address space left ends the
    /// process, as it would at the next stack.
    pub fn add(&self, number: u32, g: &'static G, ticket: Ticket<Green>, deadline: Nanos) -> bool {
        let mut heap = self.heap.lock();
        let heap = heap.0.get_or_insert_with(reserve);
        // Relaxed: the goroutine itself, or who knows its timer by a lock or a queue, reads it.
        g.timer.processor.store(number, Ordering::Relaxed);
        g.timed_wait.set(ticket.number());
        // SAFETY: the record lives for ever, and is in no heap (its holder adds one timer at a time
        // and removes it before the next).
        let first = unsafe { heap.push(deadline, NonNull::from(g)) };
        let first = first.expect("fewer timers than bytes of memory");
        if first {
            // SeqCst: M2.
            self.first.store(deadline, Ordering::SeqCst);
        }
        first
    }

    /// Takes the timer of `g` out; whether it was still in. `None`: it is in another P's heap.
    fn remove(&self, number: u32, g: &'static G) -> Option<bool> {
        let mut heap = self.heap.lock();
        // Relaxed: changed under this lock (M3).
        if g.timer.processor.load(Ordering::Relaxed) != number {
            return None;
        }
        if g.timer.index.get() == NOT_IN_HEAP {
            return Some(false);
        }
        let Some(heap) = heap.0.as_mut() else {
            return Some(false);
        };
        // SAFETY: a live record that is in this heap: M3.
        let removed = unsafe { heap.remove(NonNull::from(g)) };
        self.publish(heap);
        Some(removed)
    }

    /// Moves the timers that are due first to P `to`, at most [`MOVED_AT_A_TIME`]; whether there may be
    /// more. Only from a P of a higher number (M3).
    pub fn move_some_to(&self, to: &'static P) -> bool {
        let mut heap = self.heap.lock();
        let Some(from) = heap.0.as_mut().filter(|from| !from.is_empty()) else {
            return false;
        };
        let mut is_first = None;
        {
            let mut heap = to.timers.heap.lock();
            let into = heap.0.get_or_insert_with(reserve);
            for _ in 0..MOVED_AT_A_TIME {
                let Some((deadline, node)) = from.pop_due(NEVER) else {
                    break;
                };
                // Relaxed: M3.
                from_link(node)
                    .timer
                    .processor
                    .store(to.number, Ordering::Relaxed);
                // SAFETY: a live record, taken from the other heap just now.
                let first = unsafe { into.push(deadline, node) };
                if first.expect("fewer timers than bytes of memory") {
                    is_first = Some(deadline);
                }
            }
            to.timers.publish(into);
        }
        self.publish(from);
        drop(heap);
        if let Some(deadline) = is_first {
            find_work::timer_added(deadline);
        }
        true
    }

    fn publish(&self, heap: &TimerHeap<G>) {
        // SeqCst: M2.
        self.first
            .store(heap.peek().unwrap_or(NEVER), Ordering::SeqCst);
    }

    /// Claims every wait that is due at `now` and collects the goroutines to be readied.
    pub fn run(&self, now: Nanos, ready: &mut Batch<G>) {
        if self.first_hint() > now {
            return;
        }
        let mut heap = self.heap.lock();
        let Some(heap) = heap.0.as_mut() else { return };
        while let Some((_, node)) = heap.pop_due(now) {
            let g = from_link(node);
            let number = g.timed_wait.replace(NO_WAIT);
            let ticket = Ticket::<Green>::again(g.as_task(), number);
            if number != NO_WAIT
                && let Some(claimed) = ticket.claim(TIMED_OUT)
            {
                claimed.into_task();
                g.wait.set(WaitReason::Runnable);
                // SAFETY: claiming made this thread the goroutine's holder; it waits in no list.
                unsafe { ready.push_back(node) };
            }
        }
        self.publish(heap);
    }
}

/// Takes the timer of `g` out of whichever heap it is in; whether it was still in one.
pub fn remove(g: &'static G) -> bool {
    loop {
        // Relaxed: a stale number is found out under the lock.
        let number = g.timer.processor.load(Ordering::Relaxed);
        if let Some(removed) = p::at(number).timers.remove(number, g) {
            return removed;
        }
    }
}

fn reserve() -> TimerHeap<G> {
    let bytes = CAPACITY * size_of::<Entry<G>>();
    let storage = map::reserve(bytes).unwrap_or_else(|error| {
        crate::fatal(format_args!("no address space for timers: {error}"));
    });
    let storage = NonNull::new(storage as *mut MaybeUninit<Entry<G>>);
    let storage = storage.expect("a mapping is not at address zero");
    // SAFETY: the mapping has room for CAPACITY entries, is aligned to a page and lives for ever.
    unsafe { TimerHeap::with_storage(storage, CAPACITY) }
}
