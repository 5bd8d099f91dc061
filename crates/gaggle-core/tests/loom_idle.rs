//! The sleeping order under the model checker: no work is left while all sleep.
//!
//! Threads of the model are Ms. They sleep on a condition variable, in the place of a futex, until a
//! P is handed to them. Lost work leaves all of them asleep, which loom reports as a deadlock.
#![cfg(loom)]

use gaggle_core::idle::Idle;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// Where Ms sleep and what wakes them.
#[derive(Default)]
struct Bed {
    /// The Ps handed over and not picked up yet, each with a count of spinning.
    handed: Vec<u32>,
    /// How many pieces of work have run.
    ran: usize,
}

struct World {
    idle: Idle,
    /// How many pieces of work wait.
    work: AtomicUsize,
    bed: Mutex<Bed>,
    changed: Condvar,
    /// How many pieces of work there will be.
    total: usize,
    /// Whether each piece of work lasts until all of them run, which needs an M for each.
    rendezvous: bool,
    /// What belongs to each P: loom fails the model when two Ms own one (W1).
    processors: [UnsafeCell<usize>; 2],
}

// SAFETY: `processors[p]` is touched by the owner of P `p` only, which is what the models check; all
// else is `Sync`.
unsafe impl Sync for World {}

impl World {
    fn new(total: usize, rendezvous: bool) -> Arc<Self> {
        Arc::new(World {
            idle: Idle::new(),
            work: AtomicUsize::new(0),
            bed: Mutex::new(Bed::default()),
            changed: Condvar::new(),
            total,
            rendezvous,
            processors: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    /// What the owner of P `p` does with it.
    fn touch(&self, p: u32) {
        self.processors[p as usize].with_mut(|data| {
            // SAFETY: the caller owns `p` (W1); loom verifies that nobody else is here.
            unsafe { *data += 1 }
        });
    }

    /// Hands P `p` to some M that sleeps or is about to.
    fn hand(&self, p: u32) {
        self.bed.lock().unwrap().handed.push(p);
        self.changed.notify_all();
    }

    /// Sleeps until a P is handed over (`None`: until all work has run).
    fn sleep(&self) -> Option<u32> {
        let mut bed = self.bed.lock().unwrap();
        loop {
            if let Some(p) = bed.handed.pop() {
                return Some(p);
            }
            if bed.ran == self.total {
                return None;
            }
            bed = self.changed.wait(bed).unwrap();
        }
    }

    fn publish(&self) {
        // Relaxed: the weakest publication there is; all the order is in `Idle`.
        self.work.fetch_add(1, Ordering::Relaxed);
        if let Some(p) = self.idle.notify() {
            self.hand(p);
        }
    }

    fn take_work(&self) -> bool {
        // Relaxed, all: the pieces carry no data.
        let mut seen = self.work.load(Ordering::Relaxed);
        while seen > 0 {
            match self
                .work
                .compare_exchange(seen, seen - 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    fn run_work(&self) {
        let mut bed = self.bed.lock().unwrap();
        bed.ran += 1;
        self.changed.notify_all();
        while self.rendezvous && bed.ran < self.total {
            bed = self.changed.wait(bed).unwrap();
        }
    }

    /// An M's life, beginning with the P that it owns, or asleep. The numbers are the steps of the
    /// sleeping order in the module's text.
    fn machine(&self, first: Option<u32>) {
        let mut holding = first;
        let mut spinning = false;
        loop {
            let p = match holding {
                Some(p) => p,
                // 6. Whoever hands a P over has counted this M as spinning.
                None => match self.sleep() {
                    Some(p) => {
                        spinning = true;
                        p
                    }
                    None => return,
                },
            };
            holding = Some(p);
            self.touch(p);
            // 1.
            spinning = spinning || self.idle.spin_begin(1);
            if self.take_work() {
                if std::mem::take(&mut spinning)
                    && self.idle.spin_end()
                    && let Some(other) = self.idle.notify()
                {
                    self.hand(other);
                }
                self.run_work();
                continue;
            }
            // 2.
            self.idle.put(p);
            holding = None;
            // 3.
            if std::mem::take(&mut spinning) {
                self.idle.spin_end();
            }
            // 4. Relaxed: the fences are in `put` and `spin_end`.
            if self.work.load(Ordering::Relaxed) > 0 {
                // 5.
                holding = self.idle.take();
                if holding.is_some() {
                    assert!(self.idle.spin_begin(u32::MAX));
                    spinning = true;
                }
            }
        }
    }
}

/// Models with `bound` pre-emptions at most, which keeps the larger ones finite in practice.
fn model(bound: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.check(body);
}

fn start(world: &Arc<World>, first: Option<u32>) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || world.machine(first))
}

#[test]
fn work_published_while_the_only_m_goes_to_sleep_is_run() {
    model(4, || {
        let world = World::new(1, false);
        let m = start(&world, Some(0));
        world.publish();
        m.join().unwrap();
    });
}

#[test]
fn two_publishers_and_one_m_leave_nothing() {
    model(2, || {
        let world = World::new(2, false);
        let m = start(&world, Some(0));
        let other = thread::spawn({
            let world = world.clone();
            move || world.publish()
        });
        world.publish();
        other.join().unwrap();
        m.join().unwrap();
    });
}

#[test]
fn two_pieces_of_work_get_two_ms_though_one_went_to_sleep() {
    model(3, || {
        let world = World::new(2, true);
        let m = start(&world, Some(0));
        // This thread is the other M, and what it runs first publishes both.
        world.publish();
        world.publish();
        world.machine(Some(1));
        m.join().unwrap();
    });
}

#[test]
fn two_pieces_of_work_get_two_ms_though_both_slept() {
    model(2, || {
        let world = World::new(2, true);
        world.idle.put(0);
        world.idle.put(1);
        let ms = [start(&world, None), start(&world, None)];
        world.publish();
        world.publish();
        for m in ms {
            m.join().unwrap();
        }
    });
}

#[test]
fn a_notifier_that_finds_no_p_leaves_nobody_who_relied_on_it() {
    // One M takes the P that the notifier is after, searches, and goes to sleep again, while another
    // publishes and relies on the notifier's count in `spinning` (W6). Not a `World`: that would be
    // too much to explore with the three pre-emptions that this takes.
    model(4, || {
        let idle = Arc::new(Idle::new());
        let work = Arc::new(AtomicUsize::new(0));
        idle.put(1);
        let m = thread::spawn({
            let (idle, work) = (idle.clone(), work.clone());
            move || {
                let mut holding = idle.take_this(1);
                let mut ran = 0;
                while holding {
                    // Relaxed: the sleeping order brings the ordering; the work carries no data.
                    ran += work.swap(0, Ordering::Relaxed);
                    idle.put(1);
                    // Relaxed: as above.
                    holding = work.load(Ordering::Relaxed) > 0 && idle.take().is_some();
                }
                ran
            }
        });
        let publisher = thread::spawn({
            let (idle, work) = (idle.clone(), work.clone());
            move || {
                // Relaxed: as above.
                work.fetch_add(1, Ordering::Relaxed);
                idle.notify().is_some()
            }
        });
        let woken_here = idle.notify().is_some();
        let woken_there = publisher.join().unwrap();
        let ran = m.join().unwrap();
        assert!(
            woken_here || woken_there || ran == 1,
            "the work is left and everyone asleep"
        );
        assert_eq!(
            idle.spinning(),
            u32::from(woken_here) + u32::from(woken_there),
            "W2"
        );
    });
}

#[test]
fn who_takes_a_p_sees_what_its_last_owner_wrote() {
    loom::model(|| {
        let world = World::new(0, false);
        let owner = thread::spawn({
            let world = world.clone();
            move || {
                world.touch(0);
                world.idle.put(0);
            }
        });
        let other = thread::spawn({
            let world = world.clone();
            // Its write of the bitmap may come between, which must not cut the first P off.
            move || world.idle.put(1)
        });
        while let Some(p) = world.idle.take() {
            world.touch(p);
        }
        if world.idle.take_this(0) {
            world.touch(0);
        }
        owner.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn who_has_work_but_finds_no_p_is_seen_by_who_puts_one() {
    loom::model(|| {
        let world = World::new(1, false);
        let holder = thread::spawn({
            let world = world.clone();
            move || {
                world.idle.put(0);
                // Relaxed: the fence is in `put`.
                world.work.load(Ordering::Relaxed) > 0
            }
        });
        // Relaxed: the fence is in `take`.
        world.work.store(1, Ordering::Relaxed);
        let took = world.idle.take().is_some();
        let seen = holder.join().unwrap();
        assert!(took || seen, "W5");
    });
}
