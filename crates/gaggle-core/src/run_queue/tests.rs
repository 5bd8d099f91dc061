//! The run queue on ordinary threads; `tests/loom_run_queue.rs` has the model.

use super::*;
use crate::injector::tests::{Node, Nodes, number_of, numbers};
use std::sync::atomic::AtomicBool;

/// The owner's view of a queue: each test calls it from one thread at a time.
struct Owned<'a>(&'a RunQueue<Node>, &'a Nodes);

impl Owned<'_> {
    fn push(&self, number: usize) -> Option<Vec<usize>> {
        // SAFETY: the calling thread is the owner; the nodes outlive the queue, each in one list.
        unsafe { self.0.push(self.1.at(number)) }.map(numbers)
    }
    fn push_if_room(&self, number: usize) -> bool {
        // SAFETY: as in `push`.
        unsafe { self.0.push_if_room(self.1.at(number)) }
    }
    fn push_next(&self, number: usize) -> Option<Vec<usize>> {
        // SAFETY: as in `push`.
        unsafe { self.0.push_next(self.1.at(number)) }.map(numbers)
    }
    fn pop(&self) -> Option<(usize, bool)> {
        // SAFETY: the calling thread is the owner.
        unsafe { self.0.pop() }.map(|(node, from_next)| (number_of(node), from_next))
    }
    fn pop_ring(&self) -> Option<usize> {
        // SAFETY: the calling thread is the owner.
        unsafe { self.0.pop_ring() }.map(number_of)
    }
    fn steal_from(&self, victim: &RunQueue<Node>, take_next: bool) -> Option<usize> {
        // SAFETY: the calling thread is the owner of the thief, `self`.
        unsafe { victim.steal_into(self.0, take_next) }.map(number_of)
    }
    fn drain(&self) -> Vec<usize> {
        std::iter::from_fn(|| self.pop())
            .map(|(number, _)| number)
            .collect()
    }
}

#[test]
fn next_runs_first_and_inherits_the_slice() {
    let nodes = Nodes::new(4);
    let queue = RunQueue::new();
    let owner = Owned(&queue, &nodes);
    assert!(queue.is_empty());
    assert_eq!(owner.push(0), None);
    assert_eq!(owner.push_next(1), None);
    assert_eq!(owner.push_next(2), None, "kicks 1 to the end of the ring");
    assert_eq!(owner.push(3), None);
    assert_eq!(queue.len(), 4);
    assert_eq!(owner.pop_ring(), Some(0));
    assert_eq!(owner.pop(), Some((2, true)));
    assert_eq!(owner.pop(), Some((1, false)));
    assert_eq!(owner.pop(), Some((3, false)));
    assert_eq!(owner.pop(), None);
    assert!(queue.is_empty());
}

#[test]
fn a_full_ring_gives_its_older_half_and_the_item_back() {
    let nodes = Nodes::new(258);
    // The indices wrap while the ring is in use.
    let queue = RunQueue::starting_at(u32::MAX - 100, true);
    let owner = Owned(&queue, &nodes);
    for number in 0..256 {
        assert_eq!(owner.push(number), None);
    }
    let overflow = owner.push(256).expect("257 do not fit");
    assert_eq!(overflow, (0..128).chain([256]).collect::<Vec<_>>());
    assert_eq!(owner.push(257), None);
    assert_eq!(owner.drain(), (128..256).chain([257]).collect::<Vec<_>>());
}

#[test]
fn a_full_ring_takes_no_more_where_only_room_is_asked_for() {
    let nodes = Nodes::new(258);
    let queue = RunQueue::starting_at(u32::MAX - 100, true);
    let owner = Owned(&queue, &nodes);
    for number in 0..256 {
        assert!(owner.push_if_room(number));
    }
    assert!(!owner.push_if_room(256));
    assert_eq!(queue.len(), 256);
    assert_eq!(owner.pop(), Some((0, false)));
    assert!(owner.push_if_room(257));
    assert_eq!(owner.drain(), (1..256).chain([257]).collect::<Vec<_>>());
}

#[test]
fn what_next_displaces_overflows_as_any_other() {
    let nodes = Nodes::new(258);
    let queue = RunQueue::new();
    let owner = Owned(&queue, &nodes);
    assert_eq!(owner.push_next(256), None);
    for number in 0..256 {
        assert_eq!(owner.push(number), None);
    }
    let overflow = owner
        .push_next(257)
        .expect("the displaced one does not fit");
    assert_eq!(overflow, (0..128).chain([256]).collect::<Vec<_>>());
    assert_eq!(owner.pop(), Some((257, true)));
    assert_eq!(owner.drain(), (128..256).collect::<Vec<_>>());
}

#[test]
fn steal_takes_the_older_half_rounded_up() {
    let nodes = Nodes::new(7);
    for count in 1..7 {
        let (victim, thief) = (
            RunQueue::starting_at(u32::MAX - 2, true),
            RunQueue::starting_at(9, true),
        );
        let (owner, robber) = (Owned(&victim, &nodes), Owned(&thief, &nodes));
        for number in 0..count {
            assert_eq!(owner.push(number), None);
        }
        assert_eq!(owner.push_next(count), None);
        assert_eq!(
            robber.steal_from(&victim, true),
            Some(0),
            "the oldest is answered"
        );
        let half = count.div_ceil(2);
        assert_eq!(robber.drain(), (1..half).collect::<Vec<_>>());
        assert_eq!(
            owner.pop(),
            Some((count, true)),
            "next stays while the ring has something"
        );
        assert_eq!(owner.drain(), (half..count).collect::<Vec<_>>());
    }
}

#[test]
fn steal_takes_next_only_if_asked_and_the_ring_is_empty() {
    let nodes = Nodes::new(1);
    let (victim, thief) = (RunQueue::new(), RunQueue::new());
    let (owner, robber) = (Owned(&victim, &nodes), Owned(&thief, &nodes));
    assert_eq!(robber.steal_from(&victim, true), None);
    assert_eq!(owner.push_next(0), None);
    assert_eq!(robber.steal_from(&victim, false), None);
    assert_eq!(robber.steal_from(&victim, true), Some(0));
    assert!(victim.is_empty() && thief.is_empty());
    assert_eq!(owner.pop(), None);
}

#[test]
fn steal_takes_no_more_than_the_thief_has_room_for() {
    let nodes = Nodes::new(512);
    let (victim, thief) = (RunQueue::new(), RunQueue::new());
    let (owner, robber) = (Owned(&victim, &nodes), Owned(&thief, &nodes));
    for number in 0..256 {
        assert_eq!(owner.push(number), None);
    }
    for number in 256..510 {
        assert_eq!(robber.push(number), None);
    }
    assert_eq!(robber.steal_from(&victim, false), Some(0));
    assert_eq!((victim.len(), thief.len()), (253, 256));
    assert_eq!(robber.steal_from(&victim, false), Some(3));
    assert_eq!(robber.drain(), (256..510).chain(1..3).collect::<Vec<_>>());
    assert_eq!(owner.drain(), (4..256).collect::<Vec<_>>());
}

#[test]
fn owner_and_thieves_take_each_element_once() {
    const COUNT: usize = 200_000;
    let nodes = Nodes::new(COUNT);
    // The indices wrap on the way.
    let victim = RunQueue::starting_at(u32::MAX - COUNT as u32 / 2, true);
    let mut seen = Vec::with_capacity(COUNT);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thieves = [(); 3].map(|()| {
            scope.spawn(|| {
                let thief = RunQueue::new();
                let robber = Owned(&thief, &nodes);
                let mut mine = Vec::new();
                // Acquire: pairs with the Release below; a last look after it misses nothing.
                while !done.load(Ordering::Acquire) || !victim.is_empty() {
                    if let Some(number) = robber.steal_from(&victim, true) {
                        mine.push(number);
                        mine.extend(robber.drain());
                    } else {
                        std::thread::yield_now();
                    }
                }
                mine
            })
        });
        let owner = Owned(&victim, &nodes);
        let mut mine = Vec::new();
        for number in 0..COUNT {
            let overflow = if number % 3 == 0 {
                owner.push_next(number)
            } else {
                owner.push(number)
            };
            mine.extend(overflow.into_iter().flatten());
            if number % 4 == 0 {
                mine.extend(owner.pop().map(|(number, _)| number));
            }
        }
        // Release: pairs with the Acquire above.
        done.store(true, Ordering::Release);
        mine.extend(owner.drain());
        seen.extend(mine);
        for thief in thieves {
            seen.extend(thief.join().expect("no thief panics"));
        }
    });
    seen.sort_unstable();
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn a_private_queue_is_stolen_from_only_when_shared() {
    let nodes = Nodes::new(8);
    let queue = RunQueue::private();
    let thieves_queue = RunQueue::new();
    let (owner, thief) = (Owned(&queue, &nodes), Owned(&thieves_queue, &nodes));
    for number in 0..4 {
        assert_eq!(owner.push(number), None);
    }
    assert_eq!(owner.push_next(4), None);
    assert_eq!(owner.push_next(5), None, "kicks 4 to the end of the ring");
    assert!(!queue.is_shared());
    assert_eq!(thief.steal_from(&queue, true), None);
    assert_eq!(owner.pop(), Some((5, true)));
    assert_eq!(owner.pop(), Some((0, false)));
    assert_eq!(owner.pop_ring(), Some(1));
    assert_eq!(queue.len(), 3);
    assert_eq!(owner.push_next(6), None);
    // SAFETY: this thread is the owner.
    assert!(unsafe { queue.share() } && queue.is_shared());
    // SAFETY: as above.
    assert!(!unsafe { queue.share() }, "for good");
    assert_eq!(thief.steal_from(&queue, true), Some(2), "two of three");
    assert_eq!(thief.drain(), [3]);
    assert_eq!(owner.drain(), [6, 4]);
}
