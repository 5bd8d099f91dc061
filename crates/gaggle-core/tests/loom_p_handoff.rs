//! The hand-off of a processor under the model checker: exactly one owner at any time.
#![cfg(loom)]

use gaggle_core::p_handoff::Handoff;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// A P: loom fails the model when two threads touch `data` without order between them.
struct Processor {
    handoff: Handoff,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is touched by the P's owner only; that this holds is what the models check.
unsafe impl Sync for Processor {}

impl Processor {
    fn new() -> Arc<Self> {
        Arc::new(Processor {
            handoff: Handoff::new(),
            data: UnsafeCell::new(0),
        })
    }

    /// What an owner does with its P.
    fn touch(&self) {
        self.data.with_mut(|data| {
            // SAFETY: the caller owns the P; loom verifies that nobody else is here.
            unsafe { *data += 1 }
        });
    }

    /// An owner works and calls `calls` times, until the P is lost; answers how often it touched it.
    fn run(&self, calls: u32) -> u32 {
        self.touch();
        for call in 0..calls {
            let tick = self.handoff.enter();
            if !self.handoff.leave(tick) {
                return call + 1;
            }
            self.touch();
        }
        calls + 1
    }

    fn touches(&self) -> u32 {
        // SAFETY: the callers have joined all other threads; loom verifies it.
        self.data.with(|data| unsafe { *data })
    }
}

#[test]
fn a_p_has_one_owner_whoever_wins_each_call() {
    loom::model(|| {
        let p = Processor::new();
        let monitor = thread::spawn({
            let p = p.clone();
            move || match p.handoff.observe() {
                Some(tick) if p.handoff.take(tick) => {
                    p.touch();
                    p.handoff.give();
                    1 + p.run(1)
                }
                _ => 0,
            }
        });
        let by_owner = p.run(2);
        let by_monitor = monitor.join().unwrap();
        assert_eq!(p.touches(), by_owner + by_monitor);
        // Who lost the P in a call did not touch it again.
        assert_eq!(by_monitor > 0, by_owner < 3);
    });
}

#[test]
fn two_takers_and_the_leaver_have_one_winner() {
    loom::model(|| {
        let p = Processor::new();
        p.touch();
        let tick = p.handoff.enter();
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let p = p.clone();
                thread::spawn(move || {
                    let won = p.handoff.take(tick);
                    if won {
                        p.touch();
                    }
                    u32::from(won)
                })
            })
            .collect();
        let mut winners = u32::from(p.handoff.leave(tick));
        if winners == 1 {
            p.touch();
        }
        for taker in takers {
            winners += taker.join().unwrap();
        }
        assert_eq!(winners, 1);
        assert_eq!(p.touches(), 2);
    });
}

#[test]
fn a_take_concerns_the_call_that_was_observed() {
    loom::model(|| {
        let p = Processor::new();
        let taken = Arc::new(AtomicU64::new(0));
        let monitor = thread::spawn({
            let (p, taken) = (p.clone(), taken.clone());
            move || {
                if let Some(tick) = p.handoff.observe()
                    && p.handoff.take(tick)
                {
                    // Relaxed: read after the join.
                    taken.store(tick, Ordering::Relaxed);
                }
            }
        });
        let mut lost = 0;
        for _ in 0..2 {
            let tick = p.handoff.enter();
            if !p.handoff.leave(tick) {
                lost = tick;
                break;
            }
        }
        monitor.join().unwrap();
        // Relaxed: the join came first.
        assert_eq!(taken.load(Ordering::Relaxed), lost, "O2");
    });
}

#[test]
fn a_late_leave_fails_whatever_the_new_owner_does() {
    loom::model(|| {
        let p = Processor::new();
        p.touch();
        let late = p.handoff.enter();
        assert!(p.handoff.take(late));
        let new_owner = thread::spawn({
            let p = p.clone();
            move || {
                p.handoff.give();
                p.run(2)
            }
        });
        assert!(!p.handoff.leave(late), "O2");
        assert_eq!(
            new_owner.join().unwrap(),
            3,
            "nobody took it from the new owner"
        );
        assert_eq!(p.touches(), 4);
    });
}
