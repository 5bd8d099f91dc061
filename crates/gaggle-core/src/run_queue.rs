//! A processor's local queue of runnable goroutines: one owner pushes and pops, anyone steals.
//!
//! Source: Go's `runqput`, `runqputslow`, `runqget`, `runqgrab`, `runqsteal` and `runqempty`
//! (runtime/proc.go); the ring is a bounded single-producer queue whose consumers all compete on
//! `head`. Beside it is the slot `next`, the goroutine readied last: it runs before the ring and
//! inherits the time slice, so that two goroutines that talk to each other take turns.
//!
//! - R1: at any time at most one thread is the *owner*: the M that holds the P. Passing a P on
//!   synchronises the old owner with the new. The `unsafe` functions are the owner's.
//! - R2: only the owner writes `tail`, the slots, and anything but null to `next`.
//! - R3: `head <= tail <= head + CAPACITY`, counted modulo 2^32; the slots in between hold the
//!   queue, oldest at `head`.
//! - R4: an element leaves the ring by the one successful compare-and-swap that moves `head` past
//!   it; that one is its new holder. A slot is overwritten only after the owner has seen `head` past
//!   it, so whoever moved `head` had read the right element.
//! - R5: an element leaves `next` by the one swap or compare-and-swap that found it there.
//! - R6: the queue never looks empty to [`RunQueue::is_empty`] while an element stays in it, not
//!   even if the owner moves it from `next` to the ring meanwhile. One gap is left: while
//!   `push_next` runs, and a stealer takes the new `next` at once, the displaced element is in the
//!   owner's hands only. The owner is awake then, and its notification comes after `push_next`.
//! - R7: a queue may begin *private* ([`RunQueue::private`]): nobody steals from it, and its owner takes
//!   elements by plain loads and stores. Only the owner shares it, in between two of its operations, and
//!   for good; a stealer that sees that sees all that the owner did before.
//!
//! The model checker holds all this but one part of R4: it never lets a relaxed load read a store of
//! the future, so that the order between a stealer's reads and the owner's next use of the slots
//! (Release on `head`, Acquire in `push` and `room`) is argued here, not tested.
//!
//! R4 fails if a stealer sleeps between its reads and its compare-and-swap while exactly 2^32
//! elements pass; at ten nanoseconds each that is a pause of 43 seconds with an exact hit at its end.

use crate::injector::{AHEAD, Batch, Link};
use crate::shim::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use crate::shim::spin_hint;
use std::ptr::{NonNull, null_mut};

/// Slots in the ring. Small under the model checker, so that a test can fill it.
#[cfg(not(loom))]
const CAPACITY: u32 = 256;
/// Slots in the ring. Small under the model checker, so that a test can fill it.
#[cfg(loom)]
const CAPACITY: u32 = 4;

/// Keeps its content on cache lines of its own; 128 bytes, as processors fetch lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// The words that the owner writes.
struct OwnerWords<T> {
    /// One past the youngest element (R2, R3).
    tail: AtomicU32,
    /// What the owner runs before the ring, or null (R5).
    next: AtomicPtr<T>,
    /// Others may steal from it (R7).
    is_shared: AtomicBool,
}

impl<T> OwnerWords<T> {
    /// For the owner: whether it alone takes elements (R7).
    #[inline]
    fn is_private(&self) -> bool {
        // Relaxed: the owner itself wrote it.
        !self.is_shared.load(Ordering::Relaxed)
    }
}

/// A processor's queue; see the module's text.
///
/// No operation blocks, allocates or makes a system call.
///
/// # Examples
/// ```
/// use gaggle_core::injector::Link;
/// use gaggle_core::run_queue::RunQueue;
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
/// let job = Job { number: 7, link: Cell::new(None) };
/// let queue = RunQueue::new();
/// // SAFETY: this thread alone uses the queue; the job outlives it and is in no other list.
/// let overflow = unsafe { queue.push(NonNull::from(&job)) };
/// assert!(overflow.is_none());
/// // SAFETY: this thread alone uses the queue.
/// let (popped, inherits_slice) = unsafe { queue.pop() }.unwrap();
/// // SAFETY: it is the job pushed above.
/// assert_eq!(unsafe { popped.as_ref() }.number, 7);
/// assert!(!inherits_slice);
/// ```
pub struct RunQueue<T: Link> {
    /// The oldest element: owner and stealers compete for it (R4).
    head: Padded<AtomicU32>,
    owner: Padded<OwnerWords<T>>,
    ring: [AtomicPtr<T>; CAPACITY as usize],
}

impl<T: Link> std::fmt::Debug for RunQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunQueue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T: Link> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Link> RunQueue<T> {
    /// How many elements the ring holds, not counting the one in the `next` slot.
    pub const CAPACITY: usize = CAPACITY as usize;

    /// An empty queue.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self::starting_at(0, true)
    }

    /// An empty queue from which nobody steals until its owner shares it (R7).
    #[cfg(not(loom))]
    pub const fn private() -> Self {
        Self::starting_at(0, false)
    }

    /// An empty queue whose indices begin at `index`.
    #[cfg(not(loom))]
    const fn starting_at(index: u32, is_shared: bool) -> Self {
        RunQueue {
            head: Padded(AtomicU32::new(index)),
            owner: Padded(OwnerWords {
                tail: AtomicU32::new(index),
                next: AtomicPtr::new(null_mut()),
                is_shared: AtomicBool::new(is_shared),
            }),
            ring: [const { AtomicPtr::new(null_mut()) }; CAPACITY as usize],
        }
    }

    /// An empty queue.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self::in_model(true)
    }

    /// An empty queue from which nobody steals until its owner shares it (R7).
    #[cfg(loom)]
    pub fn private() -> Self {
        Self::in_model(false)
    }

    #[cfg(loom)]
    fn in_model(is_shared: bool) -> Self {
        // Begins near the end, so that every model also runs over the wrap of the indices.
        let index = u32::MAX - 1;
        RunQueue {
            head: Padded(AtomicU32::new(index)),
            owner: Padded(OwnerWords {
                tail: AtomicU32::new(index),
                next: AtomicPtr::new(null_mut()),
                is_shared: AtomicBool::new(is_shared),
            }),
            ring: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
        }
    }

    /// Whether others may steal from it.
    pub fn is_shared(&self) -> bool {
        // Acquire: pairs with the Release in `share` (R7).
        self.owner.0.is_shared.load(Ordering::Acquire)
    }

    /// Lets others steal from it from now on (R7); whether that is new. If so, and if the queue is not
    /// empty, the caller tells them as for work that it has just published.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    pub unsafe fn share(&self) -> bool {
        if !self.owner.0.is_private() {
            return false;
        }
        // Release: pairs with the Acquire in `is_shared`: what the owner did by plain stores came before.
        self.owner.0.is_shared.store(true, Ordering::Release);
        true
    }

    fn slot(&self, index: u32) -> &AtomicPtr<T> {
        &self.ring[(index % CAPACITY) as usize]
    }

    /// Reads a slot that holds an element, or, for a stealer that lost its race, anything (R4).
    fn read_slot(&self, index: u32) -> *mut T {
        // Relaxed: the stealer's Acquire of `tail`, or being the owner, made the store visible.
        self.slot(index).load(Ordering::Relaxed)
    }

    /// How many elements are in the queue; out of date as soon as it is answered, exact for the
    /// owner but for what is stolen meanwhile.
    pub fn len(&self) -> usize {
        // Acquire: pairs with the Release of whoever moved `head`, who had seen a `tail` at least
        // as far; so `tail`, read after it, is not behind `head`.
        let head = self.head.0.load(Ordering::Acquire);
        // Acquire: pairs with the owner's Release; keeps the read of `next` behind it.
        let tail = self.owner.0.tail.load(Ordering::Acquire);
        // Relaxed: only compared with null.
        let in_next = !self.owner.0.next.load(Ordering::Relaxed).is_null();
        // `head` may have moved since, so that the difference exceeds the ring.
        tail.wrapping_sub(head).min(CAPACITY) as usize + usize::from(in_next)
    }

    /// Whether nothing is in the queue (R6). Where the answer decides whether a thread may sleep,
    /// the SeqCst fences of [`crate::idle`] order it against the owner's push.
    pub fn is_empty(&self) -> bool {
        loop {
            // Acquire: as in `len`.
            let head = self.head.0.load(Ordering::Acquire);
            // Acquire: as in `len`.
            let tail = self.owner.0.tail.load(Ordering::Acquire);
            // Acquire: pairs with the Release of the swap that emptied the slot. An element kicked
            // from `next` to the ring before that swap then shows in the `tail` read below.
            let next = self.owner.0.next.load(Ordering::Acquire);
            // Relaxed: the Acquire above orders it; nothing is reached through it.
            if tail == self.owner.0.tail.load(Ordering::Relaxed) {
                return head == tail && next.is_null();
            }
            spin_hint();
        }
    }

    /// How many elements the ring has room for; stealers only make it more.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    pub unsafe fn room(&self) -> usize {
        // Relaxed: the owner itself wrote it (R2).
        let tail = self.owner.0.tail.load(Ordering::Relaxed);
        // Acquire: pairs with the Release of the stealer that moved `head` (R4).
        let head = self.head.0.load(Ordering::Acquire);
        (CAPACITY - tail.wrapping_sub(head)) as usize
    }

    /// Puts `item` at the end of the ring.
    ///
    /// When the ring is full, half of it and the item come back instead, oldest first and the item
    /// last, for the global queue.
    ///
    /// # Safety
    /// The caller is the owner (R1). `item` is in no list and lives until it has left this one.
    #[inline]
    #[must_use = "what did not fit must go to the global queue"]
    pub unsafe fn push(&self, item: NonNull<T>) -> Option<Batch<T>> {
        loop {
            match self.end() {
                Ok(tail) => {
                    // SAFETY: the caller's promise, and `tail` is the end that was just found.
                    unsafe { self.put(tail, item) };
                    return None;
                }
                Err(head) => {
                    // SAFETY: the caller's promise, and `head` is where the full ring began.
                    if let Some(batch) = unsafe { self.overflow(head, item) } {
                        return Some(batch);
                    }
                    // A stealer made room meanwhile, so that this is not repeated for ever.
                }
            }
        }
    }

    /// As [`RunQueue::push`], but does nothing when the ring is full; whether it had room.
    ///
    /// # Safety
    /// As for [`RunQueue::push`].
    #[inline]
    #[must_use = "what did not fit must be pushed otherwise"]
    pub unsafe fn push_if_room(&self, item: NonNull<T>) -> bool {
        let end = self.end();
        if let Ok(tail) = end {
            // SAFETY: the caller's promise, and `tail` is the end that was just found.
            unsafe { self.put(tail, item) };
        }
        end.is_ok()
    }

    /// For the owner: where the next element goes, or, if the ring is full, where it begins.
    #[inline]
    fn end(&self) -> Result<u32, u32> {
        // Relaxed: the owner itself wrote it (R2).
        let tail = self.owner.0.tail.load(Ordering::Relaxed);
        // Acquire: pairs with the Release of the stealer that moved `head`: its reads of the
        // slots came before the store in `put` (R4).
        let head = self.head.0.load(Ordering::Acquire);
        if tail.wrapping_sub(head) < CAPACITY {
            Ok(tail)
        } else {
            Err(head)
        }
    }

    /// Puts `item` at the end of the ring, which [`RunQueue::end`] has found to be `tail`.
    ///
    /// # Safety
    /// As for [`RunQueue::push`].
    #[inline]
    unsafe fn put(&self, tail: u32, item: NonNull<T>) {
        // Relaxed: the Release below publishes it.
        self.slot(tail).store(item.as_ptr(), Ordering::Relaxed);
        // Release: pairs with the Acquire of `tail` in `steal_into`; publishes the slot and
        // what the owner wrote to the item.
        self.owner
            .0
            .tail
            .store(tail.wrapping_add(1), Ordering::Release);
    }

    /// Takes the older half of the ring and `item`, if no stealer has moved `head` on.
    ///
    /// # Safety
    /// As for [`RunQueue::push`]; the ring was full and began at `head`.
    #[cold]
    unsafe fn overflow(&self, head: u32, item: NonNull<T>) -> Option<Batch<T>> {
        let half = CAPACITY / 2;
        // Release: keeps `head` a chain of Releases for the Acquires in `len` and `steal_into`.
        // Relaxed on failure: the caller reads `head` again.
        self.head
            .0
            .compare_exchange(
                head,
                head.wrapping_add(half),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .ok()?;
        let mut batch = Batch::new();
        for offset in 0..half {
            // Reading after the exchange is safe for the owner: nobody else writes slots (R2).
            let element = NonNull::new(self.read_slot(head.wrapping_add(offset)));
            let element = element.expect("R3: a slot between head and tail holds an element");
            if let Some(earlier) = offset.checked_sub(AHEAD) {
                let earlier = NonNull::new(self.read_slot(head.wrapping_add(earlier)));
                let earlier = earlier.expect("R3: as above");
                // SAFETY: taken out of the ring as `element`, and live.
                unsafe { T::note_ahead(earlier, element) };
            }
            // SAFETY: the exchange took the element out of the ring (R4), its pusher promised that
            // it lives until it has left the lists.
            unsafe { batch.push_back(element) };
        }
        // SAFETY: the caller's promise.
        unsafe { batch.push_back(item) };
        Some(batch)
    }

    /// Puts all of `batch` at the end of the ring.
    ///
    /// # Safety
    /// The caller is the owner (R1), and has seen in [`RunQueue::room`] that `batch` fits.
    pub(crate) unsafe fn push_all(&self, mut batch: Batch<T>) {
        // SAFETY: the caller is the owner.
        debug_assert!(batch.len() <= unsafe { self.room() }, "R3");
        // Relaxed: the owner itself wrote it (R2).
        let mut tail = self.owner.0.tail.load(Ordering::Relaxed);
        while let Some(element) = batch.pop_front() {
            // Relaxed: the Release below publishes it. Overwriting is allowed (R4): `room` acquired
            // the `head` that lies past this slot.
            self.slot(tail).store(element.as_ptr(), Ordering::Relaxed);
            tail = tail.wrapping_add(1);
        }
        // Release: as in `push`.
        self.owner.0.tail.store(tail, Ordering::Release);
    }

    /// Makes `item` the one that runs next. The one that it displaces goes to the end of the ring,
    /// which may overflow as in [`RunQueue::push`].
    ///
    /// # Safety
    /// As for [`RunQueue::push`].
    #[must_use = "what did not fit must go to the global queue"]
    pub unsafe fn push_next(&self, item: NonNull<T>) -> Option<Batch<T>> {
        let words = &self.owner.0;
        // Relaxed: the owner itself wrote what is not null (R2).
        let before = words.next.load(Ordering::Relaxed);
        let displaced = if before.is_null() || words.is_private() {
            // Null it stays until the owner writes something else (R2), and of a private queue nobody takes
            // anything (R7): a plain store does what the swap below would, at a fraction of its cost.
            // Release: as below.
            words.next.store(item.as_ptr(), Ordering::Release);
            before
        } else {
            // Release: pairs with the Acquire in `steal_next`; publishes what was written to the item.
            // The value that comes back was the owner's own, or null.
            words.next.swap(item.as_ptr(), Ordering::Release)
        };
        let displaced = NonNull::new(displaced)?;
        // SAFETY: the caller is the owner; the swap took the displaced one out (R5), and it lives
        // by the promise made when it was pushed.
        unsafe { self.push(displaced) }
    }

    /// Which element runs next, only to be compared; out of date as soon as it is answered.
    pub fn next_hint(&self) -> *const T {
        // Relaxed: only compared.
        self.owner.0.next.load(Ordering::Relaxed)
    }

    /// Whether the ring is empty, `next` left alone.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    pub unsafe fn is_ring_empty(&self) -> bool {
        // Relaxed: the owner itself wrote it (R2).
        let tail = self.owner.0.tail.load(Ordering::Relaxed);
        // Relaxed: nothing is read or overwritten by this answer.
        self.head.0.load(Ordering::Relaxed) == tail
    }

    /// Takes what is to run now: `next` if there is one (`true`: it inherits the time slice), else
    /// the oldest of the ring.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    #[inline]
    pub unsafe fn pop(&self) -> Option<(NonNull<T>, bool)> {
        let words = &self.owner.0;
        // Relaxed: only a hint that saves the swap; the owner itself wrote what is not null (R2).
        let hint = words.next.load(Ordering::Relaxed);
        if !hint.is_null() {
            if words.is_private() {
                // R7: nobody else takes it. Release: as below.
                words.next.store(null_mut(), Ordering::Release);
                return NonNull::new(hint).map(|next| (next, true));
            }
            // Release: pairs with the Acquire of `next` in `is_empty` (R6). A swap, as a stealer may
            // have taken it meanwhile (R5); its null brings nothing that need be acquired.
            let next = words.next.swap(null_mut(), Ordering::Release);
            if let Some(next) = NonNull::new(next) {
                return Some((next, true));
            }
        }
        // SAFETY: the caller is the owner.
        unsafe { self.pop_ring() }.map(|element| (element, false))
    }

    /// The element that `places` pops after the next one would take from the ring, if there are so many:
    /// a hint, as it can be stolen at any time.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    #[inline]
    pub unsafe fn ahead(&self, places: u32) -> Option<NonNull<T>> {
        // Relaxed: the owner itself wrote it (R2).
        let tail = self.owner.0.tail.load(Ordering::Relaxed);
        // Relaxed: a stale value is an element that is gone; slots are the owner's own stores.
        let head = self.head.0.load(Ordering::Relaxed);
        let there = places < tail.wrapping_sub(head);
        there
            .then(|| NonNull::new(self.read_slot(head.wrapping_add(places))))
            .flatten()
    }

    /// Takes the oldest of the ring, leaving `next` alone.
    ///
    /// # Safety
    /// The caller is the owner (R1).
    #[inline]
    pub unsafe fn pop_ring(&self) -> Option<NonNull<T>> {
        // Relaxed: the owner itself wrote it (R2).
        let tail = self.owner.0.tail.load(Ordering::Relaxed);
        // Relaxed: a stale value fails the exchange below; slots are the owner's own stores.
        let mut head = self.head.0.load(Ordering::Relaxed);
        if self.owner.0.is_private() && head != tail {
            // R7: nobody else moves it. Release: as in `overflow`.
            self.head.0.store(head.wrapping_add(1), Ordering::Release);
            return NonNull::new(self.read_slot(head));
        }
        while head != tail {
            // Release: as in `overflow`. Relaxed on failure: as the load above.
            match self.head.0.compare_exchange(
                head,
                head.wrapping_add(1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                // Reading after the exchange is safe for the owner: nobody else writes slots (R2).
                Ok(_) => return NonNull::new(self.read_slot(head)),
                Err(now) => head = now,
            }
        }
        None
    }

    /// Steals from this queue, the *victim*, for the owner of `thief`: half of the ring, rounded up.
    /// The oldest is answered, the others go to the end of the thief's ring (fewer are taken if it
    /// has no room for more). Only if the ring is empty and `take_next` is set, takes `next`.
    ///
    /// `take_next` robs the victim of what it is about to run, which as a rule makes two processors
    /// play ping-pong with one goroutine: ask for it in the last pass only.
    ///
    /// # Safety
    /// The caller is the owner of `thief` (R1), which is not this queue.
    pub unsafe fn steal_into(&self, thief: &RunQueue<T>, take_next: bool) -> Option<NonNull<T>> {
        debug_assert!(
            !std::ptr::eq(self, thief),
            "R1: a queue does not steal from itself"
        );
        if !self.is_shared() {
            return None; // R7
        }
        // Relaxed: the thief itself wrote it (R2).
        let thief_tail = thief.owner.0.tail.load(Ordering::Relaxed);
        // SAFETY: the caller is the owner of `thief`. Its room only grows, so one look is enough;
        // the Acquire in it lets the slots be overwritten below (R4).
        let room = unsafe { thief.room() } as u32;
        loop {
            // Acquire: pairs with the Releases that move `head`, so that the `tail` read next is
            // not behind it; the test of `available` below is the second line of defence.
            let head = self.head.0.load(Ordering::Acquire);
            // Acquire: pairs with the owner's Release in `push`; makes slots and items visible.
            let tail = self.owner.0.tail.load(Ordering::Acquire);
            let available = tail.wrapping_sub(head);
            if available == 0 {
                return if take_next { self.steal_next() } else { None };
            }
            if available > CAPACITY {
                // `head` was old news by the time `tail` was read: look again.
                spin_hint();
                continue;
            }
            let count = (available - available / 2).min(room + 1);
            let first = self.read_slot(head);
            for offset in 1..count {
                let element = self.read_slot(head.wrapping_add(offset));
                // Relaxed: published by the Release of the thief's `tail` below.
                thief
                    .slot(thief_tail.wrapping_add(offset - 1))
                    .store(element, Ordering::Relaxed);
            }
            // Release: pairs with the Acquire of `head` in `push`: the reads above come before the
            // owner's next use of the slots (R4). Relaxed on failure: all is read again.
            if self
                .head
                .0
                .compare_exchange(
                    head,
                    head.wrapping_add(count),
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok()
            {
                if count > 1 {
                    // Release: as in `push`.
                    thief
                        .owner
                        .0
                        .tail
                        .store(thief_tail.wrapping_add(count - 1), Ordering::Release);
                }
                return NonNull::new(first);
            }
            spin_hint();
        }
    }

    /// Takes what `next` holds, for a stealer.
    fn steal_next(&self) -> Option<NonNull<T>> {
        // Relaxed: only a hint that saves the swap.
        if self.owner.0.next.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire: pairs with the Release in `push_next`; makes the item visible. Release: pairs
        // with the Acquire of `next` in `is_empty` (R6).
        NonNull::new(self.owner.0.next.swap(null_mut(), Ordering::AcqRel))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
