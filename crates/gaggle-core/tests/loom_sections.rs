//! Revocation under the model checker: an M in a section and the monitor never both have the P, and a
//! suspended goroutine's P is one M's at a time.
#![cfg(loom)]

use gaggle_core::sections::Sections;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use loom::thread;

/// A P: loom fails the model when two threads touch `data` without order between them.
struct Processor {
    sections: Sections,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is touched by the P's owner only; that this holds is what the models check.
unsafe impl Sync for Processor {}

impl Processor {
    fn new() -> Arc<Self> {
        Arc::new(Processor {
            sections: Sections::new(0),
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

    /// One section of the M; whether it still had its P.
    fn section(&self) -> bool {
        self.sections.enter();
        let holds = self.sections.holds();
        if holds {
            self.touch();
        }
        self.sections.leave();
        holds
    }

    /// One attempt of the monitor; whether it has the P now.
    fn revoke(&self) -> bool {
        if !self.sections.ask(|| true) {
            return false;
        }
        // The barrier on every thread: the M's side has one at each section under loom.
        fence(Ordering::SeqCst);
        let taken = self.sections.take();
        if taken {
            self.touch();
        }
        taken
    }
}

#[test]
fn the_m_and_the_monitor_never_both_have_the_p() {
    loom::model(|| {
        let p = Processor::new();
        let monitor = thread::spawn({
            let p = p.clone();
            move || p.revoke()
        });
        let first = p.section();
        let second = p.section();
        assert!(
            first || !second,
            "E3: a revoked P does not come back by itself"
        );
        let taken = monitor.join().expect("the monitor ends");
        assert_eq!(p.section(), !taken, "E2: the P has one owner");
    });
}

#[test]
fn a_nested_section_keeps_the_p_to_its_end() {
    loom::model(|| {
        let p = Processor::new();
        let monitor = thread::spawn({
            let p = p.clone();
            move || p.revoke()
        });
        p.sections.enter();
        if p.sections.holds() {
            p.touch();
            p.sections.enter();
            assert!(p.sections.holds(), "E1: not within a section that held it");
            p.touch();
            p.sections.leave();
            p.touch();
        }
        p.sections.leave();
        monitor.join().expect("the monitor ends");
    });
}

/// A suspended goroutine: its M waits on `word` until whoever took it from the queue has put a P there.
struct Suspended {
    word: AtomicU32,
    given: AtomicUsize,
}

#[test]
fn a_suspended_goroutine_goes_on_with_the_p_of_who_resumes_it() {
    loom::model(|| {
        // Two Ps' worth of data: the suspender's P is 0, the heir runs with it, then hands it back.
        let p = Processor::new();
        let queue = Arc::new(loom::sync::Mutex::new(None::<Arc<Suspended>>));
        let heir = thread::spawn({
            let (p, queue) = (p.clone(), queue.clone());
            move || {
                // The heir was given the P: it may touch it until it hands it over.
                let taken = loop {
                    if let Some(suspended) = queue.lock().expect("not poisoned").take() {
                        break suspended;
                    }
                    thread::yield_now();
                };
                p.touch();
                // Relaxed: published by the word.
                taken.given.store(1, Ordering::Relaxed);
                // Release: pairs with the Acquire of the waiting M.
                taken.word.store(0, Ordering::Release);
            }
        });
        // The handler: in a section, it owns its P, gives it up and enqueues its goroutine.
        p.sections.enter();
        assert!(p.sections.holds());
        p.touch();
        let own = Arc::new(Suspended {
            word: AtomicU32::new(1),
            given: AtomicUsize::new(0),
        });
        // The P passes to the heir with the queue's lock.
        *queue.lock().expect("not poisoned") = Some(own.clone());
        // Acquire: pairs with the Release of the resumer.
        while own.word.load(Ordering::Acquire) != 0 {
            thread::yield_now();
        }
        assert_eq!(own.given.load(Ordering::Relaxed), 1);
        p.touch();
        p.sections.leave();
        heir.join().expect("the heir ends");
    });
}

/// An M and two Ps; the monitor has seen it hold P 0.
struct Exchange {
    sections: Sections,
    own: AtomicUsize,
    data: [UnsafeCell<u32>; 2],
}

// SAFETY: each of `data` is touched by that P's owner only; that this holds is what the model checks.
unsafe impl Sync for Exchange {}

impl Exchange {
    fn touch(&self, number: usize) {
        self.data[number].with_mut(|data| {
            // SAFETY: the caller owns the P; loom verifies that nobody else is here.
            unsafe { *data += 1 }
        });
    }
}

#[test]
fn an_m_that_has_another_p_by_now_keeps_it() {
    loom::model(|| {
        let m = Arc::new(Exchange {
            sections: Sections::new(0),
            own: AtomicUsize::new(0),
            data: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        let monitor = thread::spawn({
            let m = m.clone();
            move || {
                // Relaxed: E5.
                if !m.sections.ask(|| m.own.load(Ordering::Relaxed) == 0) {
                    return false;
                }
                // The barrier on every thread.
                fence(Ordering::SeqCst);
                let taken = m.sections.take();
                if taken {
                    m.touch(0);
                }
                taken
            }
        });
        m.sections.enter();
        let gives = m.sections.holds();
        if gives {
            // It gives P 0 to somebody, for whom this thread acts below, and is given P 1.
            m.own.store(usize::MAX, Ordering::Relaxed);
            m.own.store(1, Ordering::Relaxed);
            m.sections.restore();
        }
        m.sections.leave();
        if gives {
            m.touch(0);
        }
        m.sections.enter();
        let holds = m.sections.holds();
        m.sections.leave();
        let taken = monitor.join().expect("the monitor ends");
        assert_eq!(holds, gives, "E5: P 1 was not asked for");
        assert_eq!(taken, !gives, "E2: P 0 has one owner");
    });
}
