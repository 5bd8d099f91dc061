//! The queue of runnable goroutines that belong to no processor, and the intrusive list it is made of.
//!
//! Source: Go's `gQueue`, `globrunqput`, `globrunqputbatch` and `globrunqget` (runtime/proc.go).
//! Nothing here allocates: the links live in the elements ([`Link`]), so the queue may be used where
//! no malloc is allowed (on a scheduler stack, in a signal handler that holds no lock of its own).
//!
//! - J1: an element is in at most one list (a [`Batch`], an [`Injector`], a run queue) at a time, and
//!   lives as long as it is in it.
//! - J2: `Injector::len` changes only under the lock, and under the lock equals the list's length.
//! - J3: the queue is FIFO: elements leave in the order in which they were pushed.
//! - J4: whoever sees `Injector::len` above 0 and then takes the lock finds the element, unless
//!   somebody else has taken it.

use crate::lock::{Lock, RawLock};
use crate::run_queue::RunQueue;
use crate::shim::atomic::{AtomicUsize, Ordering};
use std::cell::Cell;
use std::ptr::NonNull;

/// An element that carries the link of an intrusive list.
///
/// # Safety
/// For every live element, `next` answers the same cell each time; the cell lives as long as the
/// element, and nobody but the lists of this crate touches it while the element is in one. An
/// element may be handed from thread to thread by its address.
pub unsafe trait Link: Sized {
    /// Where the element keeps the address of the one behind it.
    ///
    /// # Safety
    /// `this` points to a live element.
    unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>>;

    /// Told when a list is made of what a run queue has no room for: `later` stands [`AHEAD`] places behind
    /// `this`. An element that has room for a hint keeps it for [`Link::fetch_ahead`].
    ///
    /// # Safety
    /// `this` points to a live element that the caller holds.
    #[inline]
    unsafe fn note_ahead(_this: NonNull<Self>, _later: NonNull<Self>) {}

    /// Told when a list is walked and has come to `this`: it may begin to fetch into the processor's cache
    /// what was noted last. Whoever follows the links of a long list otherwise waits for memory at each.
    ///
    /// # Safety
    /// As for [`Link::note_ahead`].
    #[inline]
    unsafe fn fetch_ahead(_this: NonNull<Self>) {}
}

/// How many places lie between the elements of [`Link::note_ahead`]: more than memory is slower than a step.
pub const AHEAD: u32 = 16;

/// Writes `element`'s link.
///
/// # Safety
/// `element` is live, and the calling thread owns it or the list that it is in.
unsafe fn set_next<T: Link>(element: NonNull<T>, behind: Option<NonNull<T>>) {
    // SAFETY: the caller says that `element` is live.
    let cell = unsafe { T::next(element) };
    // SAFETY: `Link` answers a cell that lives as long as the element does.
    let cell = unsafe { &*cell };
    cell.set(behind);
}

/// Reads `element`'s link.
///
/// # Safety
/// As for [`set_next`].
unsafe fn next_of<T: Link>(element: NonNull<T>) -> Option<NonNull<T>> {
    // SAFETY: the caller says that `element` is live.
    let cell = unsafe { T::next(element) };
    // SAFETY: `Link` answers a cell that lives as long as the element does.
    let cell = unsafe { &*cell };
    cell.get()
}

/// An intrusive FIFO list, owned by one thread at a time.
///
/// Dropping one that is not empty forgets its elements: they are never run, so do not.
///
/// # Examples
/// ```
/// use gaggle_core::injector::{Batch, Link};
/// use std::cell::Cell;
/// use std::ptr::NonNull;
///
/// struct Job {
///     number: u32,
///     link: Cell<Option<NonNull<Job>>>,
/// }
/// // SAFETY: `link` is the job's own, at the same place for its whole life, and only lists use it.
/// unsafe impl Link for Job {
///     unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>> {
///         // SAFETY: the caller says that `this` is live, so the place lies in the element.
///         unsafe { &raw const (*this.as_ptr()).link }
///     }
/// }
///
/// let first = Job { number: 1, link: Cell::new(None) };
/// let second = Job { number: 2, link: Cell::new(None) };
/// let mut batch = Batch::new();
/// // SAFETY: both jobs live to the end of the program and are in no other list.
/// unsafe { batch.push_back(NonNull::from(&first)) };
/// // SAFETY: as above.
/// unsafe { batch.push_back(NonNull::from(&second)) };
/// assert_eq!(batch.len(), 2);
/// assert_eq!(batch.pop_front(), Some(NonNull::from(&first)));
/// assert_eq!(batch.pop_front(), Some(NonNull::from(&second)));
/// assert!(batch.is_empty());
/// # assert_eq!(first.number + second.number, 3);
/// ```
#[must_use = "the elements of a dropped batch are never run"]
pub struct Batch<T: Link> {
    head: Option<NonNull<T>>,
    tail: Option<NonNull<T>>,
    len: usize,
}

// SAFETY: a batch owns its elements' links (J1), and `Link` lets elements pass from thread to thread.
unsafe impl<T: Link> Send for Batch<T> {}

impl<T: Link> std::fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<T: Link> Default for Batch<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Link> Batch<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Batch {
            head: None,
            tail: None,
            len: 0,
        }
    }

    /// How many elements are in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `element` behind all others.
    ///
    /// # Safety
    /// `element` is in no list and lives until it has left this one (J1).
    pub unsafe fn push_back(&mut self, element: NonNull<T>) {
        // SAFETY: the caller says that the element lives and that no list has it, so it is ours.
        unsafe { set_next(element, None) };
        match self.tail {
            // SAFETY: `tail` is in this list, hence live (J1), and `&mut self` owns the list.
            Some(tail) => unsafe { set_next(tail, Some(element)) },
            None => self.head = Some(element),
        }
        self.tail = Some(element);
        self.len += 1;
    }

    /// Puts `element` before all others.
    ///
    /// # Safety
    /// As for [`Batch::push_back`].
    pub unsafe fn push_front(&mut self, element: NonNull<T>) {
        // SAFETY: the caller says that the element lives and that no list has it, so it is ours.
        unsafe { set_next(element, self.head) };
        self.head = Some(element);
        self.tail = self.tail.or(self.head);
        self.len += 1;
    }

    /// The oldest element, which stays.
    pub const fn front(&self) -> Option<NonNull<T>> {
        self.head
    }

    /// Takes the oldest element out.
    pub fn pop_front(&mut self) -> Option<NonNull<T>> {
        let first = self.head?;
        // SAFETY: `first` is in this list, hence live (J1), and `&mut self` owns the list.
        self.head = unsafe { next_of(first) };
        if self.head.is_none() {
            self.tail = None;
        }
        self.len -= 1;
        debug_assert_eq!(self.head.is_none(), self.len == 0, "J1");
        Some(first)
    }

    /// Moves all of `other` behind the elements of this list, in constant time.
    pub fn append(&mut self, other: &mut Batch<T>) {
        let Some(other_head) = other.head.take() else {
            return;
        };
        match self.tail {
            // SAFETY: `tail` is in this list, hence live (J1), and `&mut self` owns the list.
            Some(tail) => unsafe { set_next(tail, Some(other_head)) },
            None => self.head = Some(other_head),
        }
        self.tail = other.tail.take();
        self.len += std::mem::take(&mut other.len);
    }

    /// Splits the oldest elements off, at most `max` of them.
    pub fn take_front(&mut self, max: usize) -> Batch<T> {
        let count = max.min(self.len);
        if count == self.len {
            return std::mem::take(self);
        }
        let Some(head) = self.head.filter(|_| count > 0) else {
            return Batch::new();
        };
        let mut last = head;
        for _ in 1..count {
            // SAFETY: fewer than `len` elements lie before the one reached, so `last` is in this
            // list, hence live (J1), and `&mut self` owns the list.
            let behind = unsafe { next_of(last) };
            // SAFETY: as above.
            unsafe { T::fetch_ahead(last) };
            last = behind.expect("J1: the list is as long as its length says");
        }
        // SAFETY: as above.
        self.head = unsafe { next_of(last) };
        // SAFETY: as above.
        unsafe { set_next(last, None) };
        self.len -= count;
        Batch {
            head: Some(head),
            tail: Some(last),
            len: count,
        }
    }
}

/// The global queue: what any thread may push to and any processor takes from.
///
/// Its operations hold the lock for a few memory accesses (for [`Injector::pop_into`], one for each
/// element taken) and never park; a caller that may be interrupted by a signal handler that uses the
/// same queue keeps the signal out for the while.
pub struct Injector<T: Link, L: RawLock> {
    queue: Lock<Batch<T>, L>,
    len: AtomicUsize,
}

impl<T: Link, L: RawLock> std::fmt::Debug for Injector<T, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Injector")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T: Link, L: RawLock> Default for Injector<T, L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Link, L: RawLock> Injector<T, L> {
    /// An empty queue around an unlocked `raw`: for statics, where `RawLock::new` cannot be called.
    #[cfg(not(loom))]
    pub const fn from_raw(raw: L) -> Self {
        Injector {
            queue: Lock::from_raw(raw, Batch::new()),
            len: AtomicUsize::new(0),
        }
    }

    /// An empty queue.
    pub fn new() -> Self {
        Injector {
            queue: Lock::new(Batch::new()),
            len: AtomicUsize::new(0),
        }
    }

    /// How many elements are in the queue; out of date as soon as it is answered.
    pub fn len(&self) -> usize {
        // Relaxed: the elements are reached only under the lock (J4). Where the answer decides
        // whether a thread may sleep, the SeqCst fences of `idle` order this against `publish_len`.
        self.len.load(Ordering::Relaxed)
    }

    /// Whether nothing is in the queue; one load, no lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps J2; `batch` is the locked list.
    fn publish_len(&self, batch: &Batch<T>) {
        // Relaxed: see `len`; the lock orders one store before the next.
        self.len.store(batch.len(), Ordering::Relaxed);
    }

    /// Puts `element` behind all others. Afterwards the caller calls
    /// [`Idle::notify`](crate::idle::Idle::notify), or it may never be run.
    ///
    /// # Safety
    /// `element` is in no list and lives until it has left this one (J1).
    pub unsafe fn push(&self, element: NonNull<T>) {
        let mut queue = self.queue.lock();
        // SAFETY: the caller's promise is the one that `push_back` asks for.
        unsafe { queue.push_back(element) };
        self.publish_len(&queue);
    }

    /// Puts the elements of `batch`, in their order, behind all others; as [`Injector::push`].
    pub fn push_batch(&self, mut batch: Batch<T>) {
        if batch.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        queue.append(&mut batch);
        self.publish_len(&queue);
    }

    /// Takes all elements, in their order.
    pub fn take_all(&self) -> Batch<T> {
        let mut queue = self.queue.lock();
        let all = std::mem::take(&mut *queue);
        self.publish_len(&queue);
        all
    }

    /// Takes the oldest element.
    pub fn pop(&self) -> Option<NonNull<T>> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let element = queue.pop_front();
        self.publish_len(&queue);
        element
    }

    /// The fair share of one of `processors` processors: an equal part of the queue, at least one
    /// element, at most half of a run queue (Go's `globrunqget`). What to give to
    /// [`Injector::pop_into`] as `max`.
    pub fn share(&self, processors: usize) -> usize {
        let part = self.len() / processors.max(1) + 1;
        part.min(RunQueue::<T>::CAPACITY / 2)
    }

    /// Takes at most `max` elements: answers the oldest and puts the others at the end of `queue`.
    /// Takes fewer where the queue has no room for more, so nothing ever overflows.
    ///
    /// # Safety
    /// The caller is the owner of `queue` (R1 of [`crate::run_queue`]).
    pub unsafe fn pop_into(&self, queue: &RunQueue<T>, max: usize) -> Option<NonNull<T>> {
        if max == 0 || self.is_empty() {
            return None;
        }
        // SAFETY: the caller is the owner of `queue`.
        let room = unsafe { queue.room() };
        let mut taken = {
            let mut list = self.queue.lock();
            let taken = list.take_front(max.min(room + 1));
            self.publish_len(&list);
            taken
        };
        // The ring is filled after the lock is free: nobody waits while its lines are fetched.
        let first = taken.pop_front();
        // SAFETY: the caller is the owner of `queue`; its room, which only the owner makes smaller,
        // was at least what is left of `taken`.
        unsafe { queue.push_all(taken) };
        first
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
