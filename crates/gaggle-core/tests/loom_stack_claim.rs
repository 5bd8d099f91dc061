//! The claim on a resting goroutine's stack under the model checker: a runner and the giver never
//! touch the stack at once.
#![cfg(loom)]

use gaggle_core::stack_claim::{StackClaim, Visit};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

/// A goroutine: loom fails the model when two threads touch `stack` without order between them.
struct Goroutine {
    on: AtomicBool,
    claim: StackClaim,
    stack: UnsafeCell<u32>,
}

// SAFETY: `stack` is touched by the runner or the giver; that it is never both is what is checked.
unsafe impl Sync for Goroutine {}

impl Goroutine {
    fn new() -> Arc<Self> {
        Arc::new(Goroutine {
            on: AtomicBool::new(false),
            claim: StackClaim::new(),
            stack: UnsafeCell::new(0),
        })
    }

    fn touch(&self) {
        self.stack.with_mut(|stack| {
            // SAFETY: by the protocol nobody else is here; loom verifies it.
            unsafe { *stack += 1 }
        });
    }

    /// What an M does: X1.
    fn run(&self) {
        self.on.store(true, Ordering::Relaxed);
        self.claim.arrive(thread::yield_now);
        self.touch();
        self.on.store(false, Ordering::Release);
    }

    /// One visit, and what follows from it: X2. Answers whether it touched the stack.
    fn visit(&self) -> bool {
        let runs = || self.on.load(Ordering::Acquire);
        if self.claim.visit(runs()) != Visit::Marked {
            return false;
        }
        fence(Ordering::SeqCst);
        if !self.claim.claim(runs) {
            return false;
        }
        self.touch();
        self.claim.release();
        true
    }
}

#[test]
fn a_runner_and_the_giver_exclude_each_other() {
    loom::model(|| {
        let g = Goroutine::new();
        assert!(!g.visit());
        let runner = thread::spawn({
            let g = g.clone();
            move || g.run()
        });
        g.visit();
        runner.join().expect("the runner ends");
    });
}

#[test]
fn a_runner_that_comes_twice_is_excluded_too() {
    loom::model(|| {
        let g = Goroutine::new();
        assert!(!g.visit());
        let runner = thread::spawn({
            let g = g.clone();
            move || {
                g.run();
                g.run();
            }
        });
        g.visit();
        g.visit();
        runner.join().expect("the runner ends");
    });
}

#[test]
fn what_was_given_back_is_seen_by_the_next_runner() {
    loom::model(|| {
        let g = Goroutine::new();
        let giver = thread::spawn({
            let g = g.clone();
            move || {
                g.visit();
                u32::from(g.visit())
            }
        });
        g.run();
        let given = giver.join().expect("the giver ends");
        g.run();
        // SAFETY: the giver has ended, and this thread is the only runner.
        let touches = g.stack.with(|stack| unsafe { *stack });
        assert_eq!(touches, 2 + given);
    });
}
