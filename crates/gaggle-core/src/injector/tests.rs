//! The list and the global queue on ordinary threads; `tests/loom_run_queue.rs` has the model.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// An element with a number, for these tests and those of the run queue.
pub(crate) struct Node {
    pub(crate) number: usize,
    link: Cell<Option<NonNull<Node>>>,
}

// SAFETY: `link` is the node's own, at the same place for its whole life, and only lists use it.
unsafe impl Link for Node {
    unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>> {
        // SAFETY: the caller says that `this` is live, so the place lies in the element.
        unsafe { &raw const (*this.as_ptr()).link }
    }
}

/// Nodes shared by threads: each is touched by the one that holds it, or the list it is in.
pub(crate) struct Nodes(Vec<Node>);

// SAFETY: the tests reach a node's link only through a list, whose owner alone follows it (J1).
unsafe impl Sync for Nodes {}

impl Nodes {
    pub(crate) fn new(count: usize) -> Self {
        Nodes(
            (0..count)
                .map(|number| Node {
                    number,
                    link: Cell::new(None),
                })
                .collect(),
        )
    }

    pub(crate) fn at(&self, number: usize) -> NonNull<Node> {
        NonNull::from(&self.0[number])
    }
}

/// The number of a node of a [`Nodes`] that still exists.
pub(crate) fn number_of(node: NonNull<Node>) -> usize {
    // SAFETY: every test keeps its nodes until its queues are gone.
    unsafe { node.as_ref() }.number
}

/// Empties a batch into its elements' numbers.
pub(crate) fn numbers(mut batch: Batch<Node>) -> Vec<usize> {
    std::iter::from_fn(|| batch.pop_front())
        .map(number_of)
        .collect()
}

pub(crate) fn batch_of(nodes: &Nodes, range: std::ops::Range<usize>) -> Batch<Node> {
    let mut batch = Batch::new();
    for number in range {
        // SAFETY: the nodes outlive the batch, and each test puts them in one list at a time.
        unsafe { batch.push_back(nodes.at(number)) };
    }
    batch
}

/// Of an atomic alone, so that a race detector that does not know std's locks sees it.
struct TestLock(AtomicBool);

impl RawLock for TestLock {
    fn new() -> Self {
        TestLock(AtomicBool::new(false))
    }
    fn lock(&self) {
        // Acquire: pairs with the Release in `unlock`.
        while self.0.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    unsafe fn unlock(&self) {
        // Release: pairs with the Acquire in `lock`.
        self.0.store(false, Ordering::Release);
    }
}

type TestInjector = Injector<Node, TestLock>;

fn drain(injector: &TestInjector) -> Vec<usize> {
    std::iter::from_fn(|| injector.pop())
        .map(number_of)
        .collect()
}

#[test]
fn append_joins_lists_in_order_whichever_is_empty() {
    let nodes = Nodes::new(4);
    for (left, right) in [(0, 4), (4, 0), (1, 3), (0, 0), (3, 1)] {
        let mut batch = batch_of(&nodes, 0..left);
        let mut other = batch_of(&nodes, left..left + right);
        batch.append(&mut other);
        assert!(other.is_empty());
        assert_eq!(other.pop_front(), None);
        assert_eq!(batch.len(), left + right);
        assert_eq!(numbers(batch), (0..left + right).collect::<Vec<_>>());
    }
}

#[test]
fn take_front_splits_and_both_parts_go_on_working() {
    let nodes = Nodes::new(6);
    for max in 0..7 {
        let mut rest = batch_of(&nodes, 0..5);
        let mut front = rest.take_front(max);
        let count = max.min(5);
        assert_eq!((front.len(), rest.len()), (count, 5 - count));
        // SAFETY: node 5 is in no list yet.
        unsafe { rest.push_back(nodes.at(5)) };
        assert_eq!(
            numbers(std::mem::take(&mut front)),
            (0..count).collect::<Vec<_>>()
        );
        assert_eq!(numbers(rest), (count..6).collect::<Vec<_>>());
    }
}

#[test]
fn push_and_push_batch_keep_one_order_and_count() {
    let nodes = Nodes::new(5);
    let injector = TestInjector::new();
    assert!(injector.is_empty());
    // SAFETY: the node outlives the queue and is in no list.
    unsafe { injector.push(nodes.at(0)) };
    injector.push_batch(batch_of(&nodes, 1..4));
    injector.push_batch(Batch::new());
    // SAFETY: as above.
    unsafe { injector.push(nodes.at(4)) };
    assert_eq!(injector.len(), 5);
    assert_eq!(drain(&injector), [0, 1, 2, 3, 4]);
    assert!(injector.is_empty());
}

#[test]
fn share_is_an_equal_part_and_at_most_half_a_run_queue() {
    let nodes = Nodes::new(1_000);
    let injector = TestInjector::new();
    assert_eq!(injector.share(4), 1);
    injector.push_batch(batch_of(&nodes, 0..10));
    assert_eq!(injector.share(4), 3);
    injector.push_batch(batch_of(&nodes, 10..1_000));
    assert_eq!(injector.share(4), 128);
    assert_eq!(injector.share(100), 11);
    assert_eq!(drain(&injector).len(), 1_000);
}

#[test]
fn pop_into_answers_the_oldest_and_queues_the_rest() {
    let nodes = Nodes::new(10);
    let injector = TestInjector::new();
    let queue = RunQueue::new();
    injector.push_batch(batch_of(&nodes, 0..10));
    // SAFETY: this thread alone uses `queue`.
    assert_eq!(unsafe { injector.pop_into(&queue, 0) }, None);
    // SAFETY: as above.
    let first = unsafe { injector.pop_into(&queue, 4) };
    assert_eq!(first.map(number_of), Some(0));
    assert_eq!((queue.len(), injector.len()), (3, 6));
    for expected in 1..4 {
        // SAFETY: as above.
        let (node, from_next) = unsafe { queue.pop() }.expect("three were queued");
        assert_eq!((number_of(node), from_next), (expected, false));
    }
    assert_eq!(drain(&injector), [4, 5, 6, 7, 8, 9]);
}

#[test]
fn pop_into_takes_no_more_than_the_run_queue_has_room_for() {
    let nodes = Nodes::new(300);
    let injector = TestInjector::new();
    let queue = RunQueue::new();
    for number in 0..254 {
        // SAFETY: this thread alone uses `queue`; the nodes outlive it.
        assert!(unsafe { queue.push(nodes.at(number)) }.is_none());
    }
    injector.push_batch(batch_of(&nodes, 254..300));
    // SAFETY: as above.
    let first = unsafe { injector.pop_into(&queue, 100) };
    assert_eq!(first.map(number_of), Some(254));
    assert_eq!((queue.len(), injector.len()), (256, 43));
    // SAFETY: as above.
    let second = unsafe { injector.pop_into(&queue, 100) };
    assert_eq!(
        second.map(number_of),
        Some(257),
        "a full ring still lets one out to run"
    );
    assert_eq!(queue.len(), 256);
    assert_eq!(drain(&injector).len(), 42);
}

#[test]
fn pushers_and_poppers_pass_each_element_once_and_in_each_pushers_order() {
    const EACH: usize = 20_000;
    let nodes = Nodes::new(2 * EACH);
    let injector = TestInjector::new();
    let count = AtomicUsize::new(0);
    let popped: Vec<Vec<usize>> = std::thread::scope(|scope| {
        for half in 0..2 {
            let (nodes, injector) = (&nodes, &injector);
            scope.spawn(move || {
                for number in half * EACH..(half + 1) * EACH {
                    // SAFETY: the nodes outlive the queue; each is pushed once.
                    unsafe { injector.push(nodes.at(number)) };
                }
            });
        }
        let poppers: Vec<_> = (0..2)
            .map(|_| {
                let (injector, count) = (&injector, &count);
                scope.spawn(move || {
                    let mut popped = Vec::new();
                    // Relaxed: only counts; the join below synchronises.
                    while count.load(Ordering::Relaxed) < 2 * EACH {
                        match injector.pop() {
                            Some(node) => {
                                popped.push(number_of(node));
                                // Relaxed: as above.
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            None => std::thread::yield_now(),
                        }
                    }
                    popped
                })
            })
            .collect();
        poppers
            .into_iter()
            .map(|popper| popper.join().expect("no popper panics"))
            .collect()
    });
    for one in &popped {
        for half in 0..2 {
            let of_half = one.iter().filter(|&&number| number / EACH == half);
            assert!(of_half.is_sorted(), "J3");
        }
    }
    let mut all: Vec<usize> = popped.concat();
    all.sort_unstable();
    assert_eq!(all, (0..2 * EACH).collect::<Vec<_>>(), "J1");
}

#[test]
fn take_all_empties_the_queue_and_keeps_its_order() {
    let nodes = Nodes::new(4);
    let queue = TestInjector::new();
    assert!(queue.take_all().is_empty());
    for number in 0..4 {
        // SAFETY: the nodes outlive the queue; each is pushed once.
        unsafe { queue.push(nodes.at(number)) };
    }
    let mut all = queue.take_all();
    assert!(queue.is_empty());
    assert_eq!(queue.pop().map(number_of), None);
    for number in 0..4 {
        assert_eq!(all.pop_front().map(number_of), Some(number));
    }
    assert!(all.is_empty());
}
