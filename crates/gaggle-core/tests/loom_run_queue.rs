//! The local run queue and the global one under the model checker: each element is taken once, by a
//! thread that sees what its pusher wrote.
//!
//! The ring has four slots here, and its indices begin just before their wrap.
#![cfg(loom)]

mod model;

use gaggle_core::injector::{Batch, Injector, Link};
use gaggle_core::run_queue::RunQueue;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use model::ModelLock;
use std::cell::Cell;
use std::ptr::NonNull;

struct Node {
    number: usize,
    /// Written by the pusher, read by the taker: loom fails the model unless the queue orders them.
    payload: UnsafeCell<usize>,
    link: Cell<Option<NonNull<Node>>>,
}

// SAFETY: `link` is the node's own, at the same place for its whole life, and only lists use it.
unsafe impl Link for Node {
    unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>> {
        // SAFETY: the caller says that `this` is live, so the place lies in the element.
        unsafe { &raw const (*this.as_ptr()).link }
    }
}

/// Three run queues, a global one, and the nodes that pass through them.
struct World {
    nodes: Vec<Node>,
    queues: [RunQueue<Node>; 3],
    injector: Injector<Node, ModelLock>,
}

// SAFETY: a node's link is touched by the owner of the list that it is in, its payload by the thread
// that holds it; that this holds is what the models check.
unsafe impl Sync for World {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for World {}

impl World {
    fn new(count: usize) -> Arc<Self> {
        Self::with(count, RunQueue::new())
    }

    /// Its first run queue is `first`.
    fn with(count: usize, first: RunQueue<Node>) -> Arc<Self> {
        let nodes = (0..count)
            .map(|number| Node {
                number,
                payload: UnsafeCell::new(0),
                link: Cell::new(None),
            })
            .collect();
        let queues = [first, RunQueue::new(), RunQueue::new()];
        Arc::new(World {
            nodes,
            queues,
            injector: Injector::new(),
        })
    }

    /// The node as its pusher has prepared it.
    fn prepared(&self, number: usize) -> NonNull<Node> {
        self.nodes[number].payload.with_mut(|payload| {
            // SAFETY: the caller is the node's pusher; loom verifies that nobody else is here.
            unsafe { *payload = number + 100 }
        });
        NonNull::from(&self.nodes[number])
    }

    /// What its taker sees of a node.
    fn taken(&self, node: NonNull<Node>) -> usize {
        // SAFETY: the nodes live as long as the world.
        let node = unsafe { node.as_ref() };
        node.payload.with_mut(|payload| {
            // SAFETY: the caller has taken the node; loom verifies that nobody else is here.
            let payload = unsafe { &mut *payload };
            assert_eq!(
                *payload,
                node.number + 100,
                "taken twice, or before it was prepared"
            );
            *payload = 0;
        });
        node.number
    }

    fn taken_all(&self, mut batch: Batch<Node>) -> Vec<usize> {
        std::iter::from_fn(|| batch.pop_front())
            .map(|node| self.taken(node))
            .collect()
    }

    /// Pushes to queue `queue`; answers what overflowed.
    fn push(&self, queue: usize, number: usize) -> Vec<usize> {
        // SAFETY: each model calls this from the queue's one owner; the node is in no list.
        let overflow = unsafe { self.queues[queue].push(self.prepared(number)) };
        overflow
            .map(|batch| self.taken_all(batch))
            .unwrap_or_default()
    }

    fn push_next(&self, queue: usize, number: usize) {
        // SAFETY: as in `push`.
        let overflow = unsafe { self.queues[queue].push_next(self.prepared(number)) };
        assert!(overflow.is_none(), "no model fills the ring in this way");
    }

    fn pop(&self, queue: usize) -> Option<usize> {
        // SAFETY: each model calls this from the queue's one owner.
        unsafe { self.queues[queue].pop() }.map(|(node, _)| self.taken(node))
    }

    fn drain(&self, queue: usize) -> Vec<usize> {
        std::iter::from_fn(|| self.pop(queue)).collect()
    }

    /// Queue `thief`'s owner steals once from queue `victim` and empties its own queue.
    fn steal(&self, victim: usize, thief: usize, take_next: bool) -> Vec<usize> {
        // SAFETY: each model calls this from the one owner of the thief's queue.
        let first = unsafe { self.queues[victim].steal_into(&self.queues[thief], take_next) };
        let mut all: Vec<usize> = first.map(|node| self.taken(node)).into_iter().collect();
        all.extend(self.drain(thief));
        all
    }
}

fn spawn(
    world: &Arc<World>,
    body: impl FnOnce(&World) -> Vec<usize> + 'static,
) -> thread::JoinHandle<Vec<usize>> {
    let world = world.clone();
    thread::spawn(move || body(&world))
}

fn assert_each_once(count: usize, parts: impl IntoIterator<Item = Vec<usize>>) {
    let mut all: Vec<usize> = parts.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
}

#[test]
fn owner_and_thief_take_each_element_once() {
    loom::model(|| {
        let world = World::new(3);
        let thief = spawn(&world, |world| world.steal(0, 1, false));
        let mut mine = Vec::new();
        for number in 0..3 {
            mine.extend(world.push(0, number));
        }
        mine.extend(world.drain(0));
        assert_each_once(3, [mine, thief.join().unwrap()]);
    });
}

#[test]
fn two_thieves_and_the_owner_take_each_element_once() {
    loom::model(|| {
        let world = World::new(3);
        for number in 0..3 {
            assert_eq!(world.push(0, number), []);
        }
        let thieves = [1, 2].map(|own| spawn(&world, move |world| world.steal(0, own, false)));
        let mut mine: Vec<usize> = world.pop(0).into_iter().collect();
        let stolen = thieves.map(|thief| thief.join().unwrap());
        mine.extend(world.drain(0));
        assert_each_once(3, stolen.into_iter().chain([mine]));
    });
}

#[test]
fn a_full_ring_overflows_or_a_thief_makes_room() {
    loom::model(|| {
        let world = World::new(6);
        for number in 0..4 {
            assert_eq!(world.push(0, number), []);
        }
        let thief = spawn(&world, |world| world.steal(0, 1, false));
        // The second push reuses the slots that the thief has read.
        let mut mine = world.push(0, 4);
        mine.extend(world.push(0, 5));
        let stolen = thief.join().unwrap();
        mine.extend(world.drain(0));
        assert_each_once(6, [mine, stolen]);
    });
}

#[test]
fn next_is_taken_by_the_owner_or_the_thief() {
    loom::model(|| {
        let world = World::new(2);
        world.push_next(0, 0);
        let thief = spawn(&world, |world| world.steal(0, 1, true));
        world.push_next(0, 1);
        let mine = world.drain(0);
        assert_each_once(2, [mine, thief.join().unwrap()]);
    });
}

#[test]
fn the_queue_never_looks_empty_while_next_moves_to_the_ring() {
    for new in [RunQueue::new, RunQueue::private] {
        loom::model(move || {
            let world = World::with(2, new());
            world.push_next(0, 0);
            let observer = spawn(&world, |world| {
                assert!(
                    !world.queues[0].is_empty(),
                    "R6: element 0 has been in it all the time"
                );
                Vec::new()
            });
            world.push_next(0, 1);
            assert_eq!(world.pop(0), Some(1));
            observer.join().unwrap();
            assert_eq!(world.drain(0), [0]);
        });
    }
}

#[test]
fn a_queue_that_is_shared_in_between_gives_each_element_once() {
    loom::model(|| {
        let world = World::with(4, RunQueue::private());
        let thief = spawn(&world, |world| world.steal(0, 1, true));
        world.push_next(0, 0);
        world.push_next(0, 1);
        let mut mine = world.push(0, 2);
        mine.extend(world.pop(0));
        mine.extend(world.pop(0));
        world.push_next(0, 3);
        // SAFETY: this thread is the owner of queue 0.
        assert!(unsafe { world.queues[0].share() });
        mine.extend(world.drain(0));
        assert_each_once(4, [mine, thief.join().unwrap()]);
    });
}

#[test]
fn what_was_stolen_can_be_stolen_from_the_thief() {
    loom::model(|| {
        let world = World::new(3);
        let first = spawn(&world, |world| world.steal(0, 1, false));
        let second = spawn(&world, |world| world.steal(1, 2, false));
        // Prepared and pushed only now, so that the second thief learns of it through the first.
        for number in 0..3 {
            assert_eq!(world.push(0, number), []);
        }
        let stolen = [first, second].map(|thief| thief.join().unwrap());
        let rest = world.drain(0);
        assert_each_once(3, stolen.into_iter().chain([rest]));
    });
}

#[test]
fn pushers_and_a_taker_pass_each_element_once() {
    loom::model(|| {
        let world = World::new(3);
        let pusher = spawn(&world, |world| {
            let mut batch = Batch::new();
            for number in 1..3 {
                // SAFETY: the node is in no list and lives as long as the world.
                unsafe { batch.push_back(world.prepared(number)) };
            }
            world.injector.push_batch(batch);
            Vec::new()
        });
        let taker = spawn(&world, |world| {
            let seen = world.injector.len();
            // SAFETY: this thread is the owner of queue 0; nobody else uses it.
            let first = unsafe { world.injector.pop_into(&world.queues[0], 2) };
            assert!(first.is_some() || seen == 0, "J4: this is the only taker");
            let mut all: Vec<usize> = first.map(|node| world.taken(node)).into_iter().collect();
            all.extend(world.drain(0));
            all
        });
        // SAFETY: the node is in no list and lives as long as the world.
        unsafe { world.injector.push(world.prepared(0)) };
        pusher.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(world.injector.len(), 3 - taken.len(), "J2");
        let rest = std::iter::from_fn(|| world.injector.pop())
            .map(|node| world.taken(node))
            .collect();
        assert_each_once(3, [taken, rest]);
    });
}
