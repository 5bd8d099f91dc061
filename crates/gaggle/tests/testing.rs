//! What a checked function leaves behind is named, and what ends in time is not.

mod support;

use gaggle::testing::{LeakCheck, exempt, leak_check};
use std::panic::catch_unwind;
use std::sync::mpsc;
use std::time::Duration;

/// Goroutines that stay do so for ever, so a short time shows as much as a long one.
const SHORT: Duration = Duration::from_millis(20);

fn short() -> LeakCheck {
    LeakCheck::new().grace(SHORT)
}

fn is_green() -> bool {
    gaggle::runtime::backend_name() == "green"
}

#[inline(never)]
fn waits_for_nothing(receiver: &gaggle::chan::Receiver<u8>) -> bool {
    std::hint::black_box(receiver.recv().is_err())
}

#[test]
fn goroutine_left_is_named_with_its_stack_and_where_it_was_started() {
    let line = line!() + 5;
    let (sender, leaks) = short().run(|| {
        let (sender, receiver) = gaggle::chan::unbuffered();
        gaggle::Builder::new()
            .name("left")
            .spawn(move || waits_for_nothing(&receiver))
            .expect("it starts");
        sender
    });
    assert_eq!(leaks.len(), 1, "{leaks}");
    let leak = leaks.iter().next().expect("one");
    assert_eq!(leak.name(), Some("left"));
    assert!(leak.id().is_some());
    assert!(leak.started_at().file().ends_with("testing.rs"));
    assert_eq!(leak.started_at().line(), line);
    let text = leaks.to_string();
    assert!(text.starts_with("1 goroutine left behind\n"), "{text}");
    assert!(text.contains("\"left\""), "{text}");
    assert!(text.contains(&format!("testing.rs:{line}")), "{text}");
    assert_eq!(leak.stack().is_some(), is_green());
    if is_green() {
        assert!(text.contains("waits_for_nothing"), "{text}");
        assert!(text.contains("[chan receive"), "{text}");
    }
    drop(sender);
}

#[test]
fn descendant_whose_parent_has_ended_is_found() {
    let (sender, leaks) = short().run(|| {
        let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
        let parent = gaggle::go(move || {
            gaggle::go(move || drop(gaggle::go(move || receiver.recv())));
        });
        parent.join().expect("no panic");
        sender
    });
    assert_eq!(leaks.len(), 1, "{leaks}");
    drop(sender);
}

#[test]
fn everything_that_was_joined_scoped_or_ends_soon_is_no_leak() {
    let (_, leaks) = LeakCheck::new().run(|| {
        gaggle::go(|| ()).join().expect("no panic");
        gaggle::scope(|scope| {
            for _ in 0..10 {
                scope.go(gaggle::yield_now);
            }
        });
        let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
        // It ends as soon as the sender is dropped, which nobody waits for.
        gaggle::go(move || receiver.recv());
        drop(sender);
    });
    assert!(leaks.is_empty(), "{leaks}");
}

#[test]
fn goroutine_that_panicked_is_no_leak() {
    let (_, leaks) = LeakCheck::new().run(|| {
        drop(gaggle::go(|| panic!("as it should")));
    });
    assert!(leaks.is_empty(), "{leaks}");
}

#[test]
fn only_the_functions_own_descendants_count() {
    let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
    let other = gaggle::go(move || receiver.recv());
    let (_, leaks) = short().run(|| gaggle::go(|| ()).join().is_ok());
    assert!(leaks.is_empty(), "{leaks}");
    drop(sender);
    other.join().expect("no panic").expect_err("closed");
}

#[test]
fn what_is_exempt_and_its_descendants_are_no_leaks() {
    let (sender, leaks) = short().run(|| {
        let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
        let starter = exempt(|| {
            gaggle::go(move || {
                gaggle::go(move || receiver.recv());
            })
        });
        starter.join().expect("no panic");
        // From here on it counts again.
        gaggle::go(|| ()).join().expect("no panic");
        sender
    });
    assert!(leaks.is_empty(), "{leaks}");
    drop(sender);
}

#[test]
fn inner_check_finds_its_own_and_the_outer_one_finds_all() {
    let ((senders, inner), outer) = short().run(|| {
        let (first, receiver) = gaggle::chan::unbuffered::<u8>();
        gaggle::go(move || receiver.recv());
        let (second, inner) = short().run(|| {
            let (second, receiver) = gaggle::chan::unbuffered::<u8>();
            gaggle::go(move || receiver.recv());
            second
        });
        ([first, second], inner)
    });
    assert_eq!((inner.len(), outer.len()), (1, 2), "{inner}\n{outer}");
    drop(senders);
}

#[test]
fn function_that_a_timer_runs_counts_from_when_it_begins() {
    let (timer, leaks) =
        short().run(|| gaggle::time::after_func(Duration::from_secs(3600), || unreachable!()));
    assert!(leaks.is_empty(), "it is no goroutine yet: {leaks}");
    assert!(timer.stop());

    let (sender, leaks) = short().run(|| {
        let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
        let (begun, wait) = mpsc::channel();
        gaggle::time::after_func(Duration::ZERO, move || {
            begun.send(()).expect("somebody waits");
            let _ = receiver.recv();
        });
        wait.recv().expect("it begins");
        sender
    });
    assert_eq!(leaks.len(), 1, "{leaks}");
    assert!(
        leaks
            .iter()
            .all(|leak| leak.started_at().file().ends_with("testing.rs")),
        "{leaks}"
    );
    drop(sender);
}

#[test]
fn function_that_a_context_runs_counts_from_when_it_begins() {
    let (_, leaks) = short().run(|| {
        let (context, cancel) = gaggle::context::background().with_cancel();
        assert!(context.after_func(|| unreachable!()).stop());
        let (context2, cancel2) = gaggle::context::background().with_cancel();
        drop(context2.after_func(|| ()));
        drop((context, cancel, cancel2));
    });
    assert!(leaks.is_empty(), "{leaks}");
}

#[test]
fn panic_of_the_function_goes_on_unchecked_and_restores_the_outer_check() {
    let (sender, leaks) = short().run(|| {
        let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
        let payload = catch_unwind(|| {
            leak_check(|| std::panic::panic_any(7_i32));
        });
        assert_eq!(payload.unwrap_err().downcast_ref::<i32>(), Some(&7));
        gaggle::go(move || receiver.recv());
        sender
    });
    assert_eq!(leaks.len(), 1, "the outer check is in force again: {leaks}");
    drop(sender);
}

#[test]
fn many_goroutines_that_come_and_go_are_all_counted_out() {
    let (_, leaks) = LeakCheck::new().run(|| {
        for _ in 0..20 {
            for _ in 0..20 {
                gaggle::go(|| drop(gaggle::go(gaggle::yield_now)));
            }
            gaggle::yield_now();
        }
    });
    assert!(leaks.is_empty(), "{leaks}");
}

#[test]
fn check_works_on_a_goroutine_as_on_an_os_thread() {
    let text = gaggle::run(|| {
        let (sender, leaks) = short().run(|| {
            let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
            gaggle::go(move || receiver.recv());
            sender
        });
        drop(sender);
        leaks.to_string()
    });
    assert!(text.starts_with("1 goroutine left behind"), "{text}");
}

/// The child's half of the next two tests.
#[gaggle::test(may_leak)]
fn test_that_may_leak_passes() {
    gaggle::go(|| gaggle::chan::never::<u8>().recv());
}

#[gaggle::test]
fn leaves_one() {
    if support::is_child("leaves_one") {
        gaggle::go(|| gaggle::chan::never::<u8>().recv());
    }
}

#[test]
fn test_attribute_fails_a_test_that_leaves_a_goroutine() {
    let output = support::run_child("leaves_one", &[]);
    let said = support::said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("1 goroutine left behind"), "{said}");
    assert!(said.contains("testing.rs:"), "{said}");
}
