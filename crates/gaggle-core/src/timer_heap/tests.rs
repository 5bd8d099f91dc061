//! The heap against a model: a map from deadline to how many timers have it.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

struct Node {
    index: Cell<u32>,
}

// SAFETY: `index` is the node's own, at the same place for its whole life, and only heaps use it.
unsafe impl TimerNode for Node {
    unsafe fn index_cell(this: NonNull<Self>) -> *const Cell<u32> {
        // SAFETY: the caller says that `this` is live, so the place lies in the node.
        unsafe { &raw const (*this.as_ptr()).index }
    }
}

fn nodes(count: usize) -> Vec<Node> {
    (0..count)
        .map(|_| Node {
            index: Cell::new(NOT_IN_HEAP),
        })
        .collect()
}

/// A heap with storage of its own, and every invariant checked on demand.
struct Fixture {
    heap: TimerHeap<Node>,
    _storage: Box<[MaybeUninit<Entry<Node>>]>,
}

impl Fixture {
    fn new(capacity: usize) -> Self {
        let mut storage: Box<[MaybeUninit<Entry<Node>>]> =
            (0..capacity).map(|_| MaybeUninit::uninit()).collect();
        let begin = NonNull::new(storage.as_mut_ptr()).expect("a box is never null");
        // SAFETY: the storage lives beside the heap and is not touched but by it.
        let heap = unsafe { TimerHeap::with_storage(begin, capacity) };
        Fixture {
            heap,
            _storage: storage,
        }
    }

    fn push(&mut self, deadline: Nanos, node: &Node) -> Result<bool, Full> {
        // SAFETY: every test's nodes outlive its heap, and each is pushed only while in none.
        unsafe { self.heap.push(deadline, NonNull::from(node)) }
    }

    fn remove(&mut self, node: &Node) -> bool {
        // SAFETY: every test's nodes outlive its heap and are used by one thread.
        unsafe { self.heap.remove(NonNull::from(node)) }
    }

    fn check(&self) {
        assert!(self.heap.len <= self.heap.capacity, "H4");
        for index in 0..self.heap.len {
            let entry = self.heap.entry(index);
            if index > 0 {
                let parent = self.heap.entry((index - 1) / ARITY);
                assert!(parent.deadline <= entry.deadline, "H1");
            }
            // SAFETY: the node is in the heap, so it lives (H3).
            assert_eq!(unsafe { entry.node.as_ref() }.index.get(), index, "H2");
        }
    }
}

#[test]
fn equal_deadlines_all_come_out() {
    let nodes = nodes(9);
    let mut fixture = Fixture::new(9);
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(
            fixture.push(5, node),
            Ok(number == 0),
            "an equal deadline is no new first"
        );
    }
    fixture.check();
    let mut popped: Vec<_> = std::iter::from_fn(|| fixture.heap.pop_due(5))
        .map(|(_, node)| node)
        .collect();
    popped.sort();
    assert_eq!(popped, nodes.iter().map(NonNull::from).collect::<Vec<_>>());
    assert!(
        nodes.iter().all(|node| node.index.get() == NOT_IN_HEAP),
        "H2"
    );
}

#[test]
fn push_to_a_full_heap_fails_and_leaves_the_node_out() {
    let nodes = nodes(3);
    let mut fixture = Fixture::new(2);
    assert_eq!(fixture.push(2, &nodes[0]), Ok(true));
    assert_eq!(fixture.push(1, &nodes[1]), Ok(true));
    assert_eq!(fixture.push(0, &nodes[2]), Err(Full));
    assert_eq!(nodes[2].index.get(), NOT_IN_HEAP);
    assert!(!fixture.remove(&nodes[2]));
    assert_eq!(fixture.heap.peek(), Some(1));
    fixture.check();
}

#[test]
fn remove_of_a_node_in_another_heap_does_nothing() {
    let nodes = nodes(2);
    let mut ours = Fixture::new(2);
    let mut other = Fixture::new(2);
    assert_eq!(ours.push(1, &nodes[0]), Ok(true));
    assert_eq!(other.push(2, &nodes[1]), Ok(true));
    assert!(
        !ours.remove(&nodes[1]),
        "its index is valid here, but the place is another's"
    );
    assert_eq!((ours.heap.len(), other.heap.len()), (1, 1));
    assert!(other.remove(&nodes[1]));
    assert!(!other.remove(&nodes[1]), "a second removal finds nothing");
}

#[derive(Clone, Debug)]
enum Operation {
    Push(Nanos),
    PopDue(Nanos),
    /// Removes this node, in the heap or not.
    Remove(usize),
    /// Keeps those whose number has none of these bits.
    Retain(usize),
}

const NODES: usize = 64;

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let deadline = prop_oneof![8 => 0..40u64, 1 => any::<u64>()];
    let operation = prop_oneof![
        4 => deadline.clone().prop_map(Operation::Push),
        2 => deadline.prop_map(Operation::PopDue),
        2 => (0..NODES).prop_map(Operation::Remove),
        1 => (0..NODES).prop_map(Operation::Retain),
    ];
    prop::collection::vec(operation, 0..300)
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_map(operations in operations()) {
        let nodes = nodes(NODES);
        let mut fixture = Fixture::new(NODES - 8);
        let mut deadlines = [None; NODES];
        let mut model = BTreeMap::<Nanos, usize>::new();
        let forget = |model: &mut BTreeMap<Nanos, usize>, deadline: Nanos| {
            let count = model.get_mut(&deadline).expect("the model has what the heap had");
            *count -= 1;
            if *count == 0 {
                model.remove(&deadline);
            }
        };
        for operation in operations {
            match operation {
                Operation::Push(deadline) => {
                    let Some(free) = deadlines.iter().position(Option::is_none) else { continue };
                    let first = model.first_key_value().is_none_or(|(&first, _)| deadline < first);
                    let size = model.values().sum::<usize>();
                    let expected = if size < NODES - 8 { Ok(first) } else { Err(Full) };
                    prop_assert_eq!(fixture.push(deadline, &nodes[free]), expected);
                    if expected.is_ok() {
                        deadlines[free] = Some(deadline);
                        *model.entry(deadline).or_default() += 1;
                    }
                }
                Operation::PopDue(now) => {
                    let expected = model.first_key_value().map(|(&first, _)| first);
                    let expected = expected.filter(|&first| first <= now);
                    let popped = fixture.heap.pop_due(now);
                    prop_assert_eq!(popped.map(|(deadline, _)| deadline), expected);
                    if let Some((deadline, node)) = popped {
                        let number = nodes.iter().position(|n| NonNull::from(n) == node);
                        let number = number.expect("only these nodes were pushed");
                        prop_assert_eq!(deadlines[number].take(), Some(deadline));
                        prop_assert_eq!(nodes[number].index.get(), NOT_IN_HEAP);
                        forget(&mut model, deadline);
                    }
                }
                Operation::Remove(number) => {
                    let deadline = deadlines[number].take();
                    prop_assert_eq!(fixture.remove(&nodes[number]), deadline.is_some());
                    if let Some(deadline) = deadline {
                        forget(&mut model, deadline);
                    }
                }
                Operation::Retain(bits) => {
                    let number_of = |node| nodes.iter().position(|n| NonNull::from(n) == node);
                    fixture.heap.retain(|node| number_of(node).expect("one of these") & bits == 0);
                    for number in (0..NODES).filter(|number| number & bits != 0) {
                        prop_assert_eq!(nodes[number].index.get(), NOT_IN_HEAP);
                        if let Some(deadline) = deadlines[number].take() {
                            forget(&mut model, deadline);
                        }
                    }
                }
            }
            for node in nodes.iter().filter(|node| node.index.get() != NOT_IN_HEAP) {
                // SAFETY: the node is in the heap.
                let is_leaf = unsafe { fixture.heap.is_leaf(NonNull::from(node)) };
                let first_below = node.index.get() * ARITY + 1;
                prop_assert_eq!(is_leaf, first_below as usize >= fixture.heap.len());
            }
            fixture.check();
            prop_assert_eq!(fixture.heap.len(), model.values().sum::<usize>());
            prop_assert_eq!(fixture.heap.peek(), model.first_key_value().map(|(&first, _)| first));
        }
    }
}
