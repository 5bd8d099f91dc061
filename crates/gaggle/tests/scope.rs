//! `scope`: borrows are safe, all goroutines have ended when it is left, panics go on as std's do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

#[test]
fn goroutines_borrow_and_have_ended_at_the_end() {
    let mut squares = vec![0_usize; 64];
    gaggle::scope(|s| {
        for (number, square) in squares.iter_mut().enumerate() {
            s.go(move || {
                gaggle::yield_now();
                *square = number * number;
            });
        }
    });
    assert!(
        squares
            .iter()
            .enumerate()
            .all(|(number, square)| *square == number * number)
    );
}

#[test]
fn scope_answers_what_its_function_answers() {
    let words = ["honk", "hiss"];
    let length: usize = gaggle::scope(|s| {
        let lengths = words.map(|word| s.go(|| word.len()));
        lengths
            .into_iter()
            .map(|length| length.join().unwrap())
            .sum()
    });
    assert_eq!(length, 8);
}

#[test]
fn scoped_goroutines_start_more_in_the_same_scope() {
    let started = AtomicUsize::new(0);
    gaggle::scope(|s| {
        s.go(|| {
            for _ in 0..8 {
                s.go(|| started.fetch_add(1, Ordering::Relaxed));
            }
        });
    });
    assert_eq!(started.into_inner(), 8);
}

#[test]
fn scope_in_a_scope_in_a_goroutine() {
    let total = gaggle::go(|| {
        let total = AtomicUsize::new(0);
        gaggle::scope(|outer| {
            for _ in 0..4 {
                outer.go(|| {
                    gaggle::scope(|inner| {
                        for _ in 0..4 {
                            inner.go(|| total.fetch_add(1, Ordering::Relaxed));
                        }
                    });
                });
            }
        });
        total.into_inner()
    });
    assert_eq!(total.join().unwrap(), 16);
}

#[test]
fn panic_of_a_joined_goroutine_stays_with_its_joiner() {
    let payload = gaggle::scope(|s| s.go(|| std::panic::panic_any("mine")).join().unwrap_err());
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"mine"));
}

#[test]
fn panic_that_nobody_joined_makes_the_scope_panic() {
    let payload = catch_unwind(|| {
        gaggle::scope(|s| {
            s.go(|| panic!("unjoined"));
        });
    });
    let payload = payload.unwrap_err();
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"a scoped goroutine panicked")
    );
}

#[test]
fn panic_of_the_scopes_function_waits_for_its_goroutines() {
    let ended = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel::<()>();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        gaggle::scope(|s| {
            // Moved in, so that the panic drops it and lets the goroutine go on.
            let _sender = sender;
            let ended = &ended;
            s.go(move || {
                receiver.recv().unwrap_err();
                gaggle::yield_now();
                ended.fetch_add(1, Ordering::Relaxed);
            });
            panic!("the function's own");
        })
    }));
    assert_eq!(
        payload.unwrap_err().downcast_ref::<&str>(),
        Some(&"the function's own")
    );
    assert_eq!(ended.into_inner(), 1);
}

#[test]
fn tls_destructors_have_run_when_the_scope_is_left() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            gaggle::yield_now();
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local!(static LOCAL: Counts = const { Counts });
    gaggle::scope(|s| {
        for _ in 0..10 {
            s.go(|| LOCAL.with(|_| ()));
        }
    });
    assert_eq!(DROPS.load(Ordering::SeqCst), 10);
}

#[test]
fn refused_goroutine_does_not_keep_the_scope() {
    gaggle::scope(|s| {
        let builder = gaggle::Builder::new().stack_size(1 << 47);
        builder
            .spawn_scoped(s, || ())
            .expect_err("no machine has that much");
    });
}

#[test]
fn unjoined_handles_and_results_are_dropped_with_the_scope() {
    struct Counts<'a>(&'a AtomicUsize);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = AtomicUsize::new(0);
    gaggle::scope(|s| {
        for _ in 0..16 {
            s.go(|| Counts(&drops));
        }
    });
    assert_eq!(drops.load(Ordering::Relaxed), 16);
}
