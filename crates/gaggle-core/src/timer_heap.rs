//! Timers in the order of their deadlines: a 4-ary min-heap in storage that the caller provides.
//!
//! Source: LaMarca and Ladner, "The Influence of Caches on the Performance of Heaps" (1996), for
//! four children a node, whose entries share a cache line; Go's `siftupTimer` and `siftdownTimer`
//! (runtime/time.go), where the deadline also lies in the heap's own array, so that sifting reads no
//! node.
//!
//! - H1: no entry's deadline is before its parent's; entry `i` has the children `4i+1 ..= 4i+4`.
//! - H2: a node in the heap knows its place: `entries[node.index].node == node`; a node in no heap
//!   has the index [`NOT_IN_HEAP`].
//! - H3: a node lives as long as it is in the heap, and only who holds the heap's lock touches its
//!   index.
//! - H4: `len <= capacity`, and the first `len` entries are initialised.
//!
//! Nothing here allocates or locks: the caller holds one lock around each operation.

use crate::contract::Nanos;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// The index of a node that is in no heap.
pub const NOT_IN_HEAP: u32 = u32::MAX;

/// How many children an entry has.
const ARITY: u32 = 4;

/// What a heap keeps in order: a timer's record, which carries its place in the heap.
///
/// # Safety
/// For every live node, `index_cell` answers the same cell each time; the cell lives as long as the
/// node, begins as [`NOT_IN_HEAP`], and nobody but a heap writes it. A node may be handed from thread
/// to thread by its address.
pub unsafe trait TimerNode: Sized {
    /// Where the node keeps its place in the heap.
    ///
    /// # Safety
    /// `this` points to a live node.
    unsafe fn index_cell(this: NonNull<Self>) -> *const Cell<u32>;
}

/// One place in a heap's storage.
pub struct Entry<N> {
    deadline: Nanos,
    node: NonNull<N>,
}

impl<N> Clone for Entry<N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Entry<N> {}

impl<N> std::fmt::Debug for Entry<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The heap's storage has no place for one more timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the timer heap is full")
    }
}

impl std::error::Error for Full {}

/// A heap of timers; see the module's text. Dropping it leaves its nodes alone.
///
/// # Examples
/// ```
/// use gaggle_core::timer_heap::{Entry, NOT_IN_HEAP, TimerHeap, TimerNode};
/// use std::cell::Cell;
/// use std::mem::MaybeUninit;
/// use std::ptr::NonNull;
///
/// struct Alarm {
///     index: Cell<u32>,
/// }
/// // SAFETY: `index` is the alarm's own, at the same place for its whole life, and only heaps use it.
/// unsafe impl TimerNode for Alarm {
///     unsafe fn index_cell(this: NonNull<Self>) -> *const Cell<u32> {
///         // SAFETY: the caller says that `this` is live, so the place lies in the node.
///         unsafe { &raw const (*this.as_ptr()).index }
///     }
/// }
///
/// let late = Alarm { index: Cell::new(NOT_IN_HEAP) };
/// let early = Alarm { index: Cell::new(NOT_IN_HEAP) };
/// let mut storage = [const { MaybeUninit::<Entry<Alarm>>::uninit() }; 8];
/// // SAFETY: the storage outlives the heap and nobody else uses it meanwhile.
/// let mut heap = unsafe { TimerHeap::with_storage(NonNull::from(&mut storage).cast(), 8) };
/// // SAFETY: the alarm outlives the heap and is in no other.
/// let first = unsafe { heap.push(2_000, NonNull::from(&late)) };
/// assert_eq!(first, Ok(true));
/// // SAFETY: as above.
/// let first = unsafe { heap.push(1_000, NonNull::from(&early)) };
/// assert_eq!(first, Ok(true));
/// assert_eq!(heap.peek(), Some(1_000));
/// assert_eq!(heap.pop_due(1_500), Some((1_000, NonNull::from(&early))));
/// assert_eq!(heap.pop_due(1_500), None);
/// // SAFETY: the alarm is live and this heap the only one that it was ever in.
/// assert!(unsafe { heap.remove(NonNull::from(&late)) });
/// ```
pub struct TimerHeap<N: TimerNode> {
    entries: NonNull<MaybeUninit<Entry<N>>>,
    capacity: u32,
    len: u32,
}

// SAFETY: the heap owns its storage and, by H3, its nodes' indices; `TimerNode` lets nodes pass from
// thread to thread.
unsafe impl<N: TimerNode> Send for TimerHeap<N> {}

impl<N: TimerNode> std::fmt::Debug for TimerHeap<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimerHeap")
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<N: TimerNode> TimerHeap<N> {
    /// An empty heap in the storage that begins at `storage`.
    ///
    /// # Safety
    /// `storage` points to `capacity` places, valid for reads and writes, which outlive the heap and
    /// which nobody else uses while it exists.
    ///
    /// # Panics
    /// If `capacity` is 2^32 - 1 or more.
    pub const unsafe fn with_storage(
        storage: NonNull<MaybeUninit<Entry<N>>>,
        capacity: usize,
    ) -> Self {
        assert!(
            capacity < NOT_IN_HEAP as usize,
            "a timer heap holds fewer than 2^32 - 1 timers"
        );
        TimerHeap {
            entries: storage,
            capacity: capacity as u32,
            len: 0,
        }
    }

    /// How many timers are in the heap.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no timer is in the heap.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many timers the storage holds.
    pub const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Adds `node` with its `deadline`. `true`: it is the new first, so that whoever sleeps until
    /// the first deadline has to be told.
    ///
    /// # Errors
    /// [`Full`] when the storage is; the node is not added.
    ///
    /// # Safety
    /// `node` is in no heap, and lives until it has left this one (H3).
    pub unsafe fn push(&mut self, deadline: Nanos, node: NonNull<N>) -> Result<bool, Full> {
        if self.len == self.capacity {
            return Err(Full);
        }
        let hole = self.len;
        self.len += 1;
        let index = self.sift_up(hole, Entry { deadline, node });
        Ok(index == 0)
    }

    /// The deadline of the first timer.
    pub fn peek(&self) -> Option<Nanos> {
        if self.is_empty() {
            None
        } else {
            Some(self.entry(0).deadline)
        }
    }

    /// Takes the first timer out, if its deadline is `now` or before. Timers with equal deadlines
    /// come in no particular order.
    pub fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, NonNull<N>)> {
        if self.peek()? > now {
            return None;
        }
        let first = self.entry(0);
        self.take_out(0);
        Some((first.deadline, first.node))
    }

    /// Takes `node` out. `false`: it is not in this heap (it has fired, or was removed before).
    ///
    /// # Safety
    /// `node` is live, and if it is in a heap at all, that heap is this one or under the same lock.
    pub unsafe fn remove(&mut self, node: NonNull<N>) -> bool {
        // SAFETY: the caller says that the node is live and that the lock covers its index.
        let index = unsafe { index_of(node) }.get();
        // The second half is for a node in another heap under the same lock.
        if index >= self.len || self.entry(index).node != node {
            return false;
        }
        self.take_out(index);
        true
    }

    /// Whether no entry is below `node`'s, so that taking it out is a matter of one or two moves. As three
    /// of four entries are.
    ///
    /// # Safety
    /// `node` is live and in this heap.
    pub unsafe fn is_leaf(&self, node: NonNull<N>) -> bool {
        // SAFETY: the caller says that the node is live and that the lock covers its index.
        let index = unsafe { index_of(node) }.get();
        u64::from(index) * u64::from(ARITY) + 1 >= u64::from(self.len)
    }

    /// Takes out all nodes for which `keep` says no, in a time that grows with the length of the heap
    /// only. The nodes stay live during the call.
    ///
    /// Source: Floyd, "Algorithm 245: Treesort" (1964), for the second half.
    pub fn retain(&mut self, mut keep: impl FnMut(NonNull<N>) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            let entry = self.entry(index);
            if keep(entry.node) {
                self.set_entry(kept, entry);
                kept += 1;
            } else {
                // SAFETY: H3: until this moment the node was in the heap, and it stays live.
                unsafe { index_of(entry.node) }.set(NOT_IN_HEAP);
            }
        }
        self.len = kept;
        // Those that have children, from the last one on.
        for parent in (0..kept.saturating_add(ARITY - 2) / ARITY).rev() {
            self.sift_down(parent, self.entry(parent));
        }
    }

    /// Takes the entry at `index` out and puts the last one in its place.
    fn take_out(&mut self, index: u32) {
        let out = self.entry(index);
        self.len -= 1;
        let last = self.entry_at(self.len);
        if index < self.len {
            // The last one may belong above the hole as well as below it, being from another branch.
            if self.sift_up(index, last) == index {
                self.sift_down(index, last);
            }
        }
        // SAFETY: H3: until this moment the node was in the heap.
        unsafe { index_of(out.node) }.set(NOT_IN_HEAP);
    }

    /// Moves the hole at `hole` towards the root until `entry` may lie in it; answers where.
    fn sift_up(&mut self, mut hole: u32, entry: Entry<N>) -> u32 {
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            let above = self.entry(parent);
            if above.deadline <= entry.deadline {
                break;
            }
            self.set_entry(hole, above);
            hole = parent;
        }
        self.set_entry(hole, entry);
        hole
    }

    /// Moves the hole at `hole` towards the leaves until `entry` may lie in it.
    fn sift_down(&mut self, mut hole: u32, entry: Entry<N>) {
        while let Some((child, below)) = self.first_child(hole) {
            if below.deadline >= entry.deadline {
                break;
            }
            self.set_entry(hole, below);
            hole = child;
        }
        self.set_entry(hole, entry);
    }

    /// The child of `parent` with the earliest deadline, if there is a child.
    fn first_child(&self, parent: u32) -> Option<(u32, Entry<N>)> {
        // In 64 bits: four times an index may exceed 32.
        let begin = u64::from(parent) * u64::from(ARITY) + 1;
        let end = (begin + u64::from(ARITY)).min(u64::from(self.len));
        (begin..end)
            .map(|child| (child as u32, self.entry(child as u32)))
            .min_by_key(|(_, entry)| entry.deadline)
    }

    fn entry(&self, index: u32) -> Entry<N> {
        debug_assert!(index < self.len, "H4");
        self.entry_at(index)
    }

    /// As [`Self::entry`], also for the entry that has just ceased to be the last.
    fn entry_at(&self, index: u32) -> Entry<N> {
        // SAFETY: every caller's `index` is below `len`, or was before `take_out` lowered it, so
        // below `capacity` (H4), which is the size of the storage.
        let place = unsafe { self.entries.add(index as usize) };
        // SAFETY: the storage is valid for reads and nobody else uses it.
        let place = unsafe { place.as_ref() };
        // SAFETY: an entry at an index below `len` is initialised (H4), and taking one out leaves
        // its bytes.
        unsafe { place.assume_init() }
    }

    /// Writes an entry and tells its node where it is (H2).
    fn set_entry(&mut self, index: u32, entry: Entry<N>) {
        debug_assert!(index < self.len, "H4");
        // SAFETY: `index` is below `len`, so below `capacity` (H4), the size of the storage.
        let mut place = unsafe { self.entries.add(index as usize) };
        // SAFETY: the storage is valid for writes and nobody else uses it; `&mut self`.
        unsafe { place.as_mut() }.write(entry);
        // SAFETY: H3: the node is in the heap.
        unsafe { index_of(entry.node) }.set(index);
    }
}

/// The cell in which `node` keeps its place.
///
/// # Safety
/// `node` is live during `'a`, and the caller holds the lock that covers its index.
unsafe fn index_of<'a, N: TimerNode>(node: NonNull<N>) -> &'a Cell<u32> {
    // SAFETY: the caller says that the node is live.
    let cell = unsafe { N::index_cell(node) };
    // SAFETY: `TimerNode` answers a cell that lives as long as the node does.
    unsafe { &*cell }
}

#[cfg(all(test, not(loom)))]
mod tests;
