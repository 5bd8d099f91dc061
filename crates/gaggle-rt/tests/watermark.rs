//! A spawn site whose goroutines get deep has larger stacks the next time; a size that was asked for
//! stays. Each case has a process of its own: what is learnt is learnt for ever.
#![cfg(green)]
#![allow(missing_docs)]

mod support;

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::time::Duration;
use support::{Go, in_child};

#[inline(never)]
fn use_stack(bytes: usize) -> usize {
    let frame = black_box([1u8; 4000]);
    let below = match bytes.checked_sub(frame.len() + 96) {
        Some(left) => use_stack(left),
        None => 0,
    };
    below + usize::from(frame[17])
}

/// The size of the calling goroutine's stack, in KiB to the next power of two.
fn stack_kib() -> usize {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: only asks.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: fills the attributes in for the calling thread.
    let result = unsafe { libc::pthread_getattr_np(own, attributes.as_mut_ptr()) };
    assert_eq!(result, 0);
    let (mut base, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised by the call above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut base, &raw mut bytes) };
    // SAFETY: as above; not used after.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    bytes.next_power_of_two() >> 10
}

/// The next goroutine of this one site: it uses `used` bytes and answers how large its stack is.
fn next(used: usize) -> usize {
    Go::new().run(move || {
        black_box(use_stack(used));
        stack_kib()
    })
}

/// Runs `case` in a process of its own, and asserts that it went well there.
fn alone(name: &str, case: fn()) {
    match in_child(name) {
        None => case(),
        Some(output) => assert!(output.status.success(), "{output:?}"),
    }
}

/// The goroutine that was joined has said its answer but may not have ended yet: its site may be raised
/// a moment later.
fn next_until(used: usize, kib: usize) {
    while next(used) != kib {}
}

#[test]
fn a_site_is_raised_step_by_step_as_its_goroutines_get_deeper() {
    alone(
        "a_site_is_raised_step_by_step_as_its_goroutines_get_deeper",
        || {
            assert_eq!(next(100 << 10), 1024);
            assert_eq!(next(700 << 10), 1024);
            next_until(0, 2048);
            next_until(1500 << 10, 4096);
            next_until(3 << 20, 8192);
            assert_eq!(next(0), 8192, "it is never lowered");
            assert_eq!(Go::new().run(stack_kib), 1024, "another site");
        },
    );
}

#[test]
fn a_size_that_was_asked_for_is_respected_and_not_learnt_from() {
    alone(
        "a_size_that_was_asked_for_is_respected_and_not_learnt_from",
        || {
            for _ in 0..10 {
                let kib = Go::with_stack(900 << 10).run(|| {
                    black_box(use_stack(700 << 10));
                    stack_kib()
                });
                assert_eq!(kib, 1024);
            }
        },
    );
}

#[test]
fn what_a_goroutine_leaves_on_its_stack_is_not_counted_as_the_next_ones() {
    alone(
        "what_a_goroutine_leaves_on_its_stack_is_not_counted_as_the_next_ones",
        || {
            for _ in 0..20 {
                Go::with_stack(900 << 10).run(|| black_box(use_stack(800 << 10)));
                assert_eq!(next(10 << 10), 1024);
            }
        },
    );
}

#[test]
fn a_site_is_found_after_the_first_goroutines_too() {
    alone("a_site_is_found_after_the_first_goroutines_too", || {
        let (say, hear) = mpsc::channel();
        for _ in 0..2000 {
            let say = say.clone();
            Go::new().start(move || say.send(()).expect("the test hears"));
        }
        drop(say);
        assert_eq!(hear.iter().count(), 2000);
        let tries = (0..4096).take_while(|_| next(700 << 10) == 1024).count();
        assert!(tries < 4096, "one of 256 is watched");
    });
}

#[test]
fn depth_is_seen_before_it_is_given_back() {
    alone("depth_is_seen_before_it_is_given_back", || {
        fn deep_then_rest() -> usize {
            let (end, wait) = mpsc::channel::<()>();
            let (say, hear) = mpsc::channel();
            Go::new().start(move || {
                say.send(stack_kib()).expect("the test hears");
                black_box(use_stack(700 << 10));
                let _ = wait.recv();
            });
            let kib = hear.recv().expect("it says how large its stack is");
            // It never ends: only the giver can have seen how deep it was.
            std::mem::forget(end);
            kib
        }
        while deep_then_rest() == 1024 {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}
