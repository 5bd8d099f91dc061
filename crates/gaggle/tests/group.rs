//! Groups, and scopes with a limit: the cases of `golang.org/x/sync/errgroup`, and what is Rust's own.

use gaggle::chan::{TryRecvError, bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::group::Group;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Waits for `group`, and answers the payload of its panic.
fn panic_of(group: &Group<String>) -> Box<dyn std::any::Any + Send> {
    let wait = AssertUnwindSafe(|| group.wait());
    catch_unwind(wait).expect_err("the panic goes on in wait")
}

#[test]
fn wait_answers_the_first_error_of_any_number_of_goroutines() {
    for outcomes in [vec![], vec![false], vec![true], vec![false, true, true]] {
        let group = Group::<usize>::new();
        let mut first = None;
        for (number, fails) in outcomes.into_iter().enumerate() {
            // One after the other, so that it is known which is the first.
            let (sender, receiver) = bounded(1);
            group.go(move || {
                let outcome = if fails { Err(number) } else { Ok(()) };
                sender.send(()).unwrap();
                outcome
            });
            receiver.recv().unwrap();
            first = first.or(fails.then_some(number));
            if fails {
                break;
            }
        }
        assert_eq!(group.wait(), first.map_or(Ok(()), Err));
    }
}

#[test]
fn first_failure_ends_the_context_and_so_the_others() {
    for failing in [0, 3] {
        let (group, context) = Group::<String>::with_context(&background());
        for number in 0..4 {
            let context = context.clone();
            group.go(move || {
                if number == failing {
                    return Err(format!("goose {number}"));
                }
                context.done().recv().unwrap_err();
                Err("told to end".to_owned())
            });
        }
        assert_eq!(group.wait(), Err(format!("goose {failing}")));
        assert_eq!(context.err(), Some(ContextError::Canceled));
        let cause = context.cause().unwrap().to_string();
        assert_eq!(cause, format!("goose {failing}"));
    }
}

#[test]
fn context_of_a_group_that_succeeds_ends_with_its_wait() {
    let (group, context) = Group::<String>::with_context(&background());
    group.go(|| Ok(()));
    assert!(context.err().is_none());
    group.wait().unwrap();
    assert_eq!(context.err(), Some(ContextError::Canceled));
    assert_eq!(context.cause().unwrap().to_string(), "context canceled");
}

#[test]
fn end_of_the_outer_context_reaches_the_group() {
    let (outer, cancel) = background().with_cancel();
    let (group, context) = Group::<ContextError>::with_context(&outer);
    group.go(move || {
        context.done().recv().unwrap_err();
        context.err().map_or(Ok(()), Err)
    });
    cancel.cancel();
    assert_eq!(group.wait(), Err(ContextError::Canceled));
}

#[test]
fn try_go_starts_as_many_as_the_limit_allows() {
    const LIMIT: usize = 42;
    let group = Group::<String>::new().limit(LIMIT);
    let (release, released) = unbuffered::<()>();
    for _ in 0..LIMIT {
        let released = released.clone();
        assert!(group.try_go(move || released.recv().map_err(|error| error.to_string())));
    }
    assert!(!group.try_go(|| Ok(())));
    release.send(()).unwrap();
    // As soon as one of them has ended.
    while !group.try_go(|| Ok(())) {
        gaggle::yield_now();
    }
    for _ in 1..LIMIT {
        release.send(()).unwrap();
    }
    group.wait().unwrap();
    // One of those that may run is free again, and with no limit all are.
    assert!(group.try_go(|| Ok(())));
    group.wait().unwrap();
    let unlimited = Group::<String>::new();
    assert!((0..100).all(|_| unlimited.try_go(|| Ok(()))));
    unlimited.wait().unwrap();
}

#[test]
fn never_more_run_than_the_limit() {
    const LIMIT: usize = 10;
    let group = Group::<String>::new().limit(LIMIT);
    let active = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let active = Arc::clone(&active);
        group.go(move || {
            let now = active.fetch_add(1, Ordering::Relaxed) + 1;
            gaggle::yield_now();
            active.fetch_sub(1, Ordering::Relaxed);
            match now {
                1..=LIMIT => Ok(()),
                _ => Err(format!("{now} at a time")),
            }
        });
    }
    group.wait().unwrap();
}

#[test]
fn limit_of_none_starts_none() {
    let group = Group::<String>::new().limit(0);
    assert!(!group.try_go(|| Ok(())));
    let go = catch_unwind(AssertUnwindSafe(|| group.go(|| Ok(()))));
    assert!(go.is_err(), "it would wait for ever");
}

#[test]
fn limit_is_not_changed_while_goroutines_run() {
    let group = Group::<String>::new();
    let (release, released) = unbuffered::<()>();
    group.go(move || released.recv().map_err(|error| error.to_string()));
    let limited = catch_unwind(AssertUnwindSafe(|| group.clone().limit(1)));
    assert!(limited.is_err());
    release.send(()).unwrap();
    group.wait().unwrap();
}

/// Go's `CancelCause`.
#[test]
fn cause_is_the_first_error_and_nothing_else() {
    let (group, context) = Group::<String>::with_context(&background());
    let (go_on, may_go_on) = unbuffered::<()>();
    group.go(|| Err("first".to_owned()));
    group.go(move || {
        may_go_on.recv().unwrap();
        Err("second".to_owned())
    });
    context.done().recv().unwrap_err();
    assert_eq!(context.cause().unwrap().to_string(), "first");
    go_on.send(()).unwrap();
    assert_eq!(group.wait(), Err("first".to_owned()));
    assert_eq!(context.cause().unwrap().to_string(), "first");
}

#[test]
fn panic_ends_the_context_and_goes_on_in_wait_after_all_have_ended() {
    let (group, context) = Group::<String>::with_context(&background());
    let ended = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (ended, context) = (Arc::clone(&ended), context.clone());
        group.go(move || {
            context.done().recv().unwrap_err();
            gaggle::yield_now();
            ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    }
    group.go(|| panic_any(7u8));
    assert_eq!(panic_of(&group).downcast_ref::<u8>(), Some(&7));
    assert_eq!(ended.load(Ordering::Relaxed), 3);
    assert!(context.cause().unwrap().to_string().contains("panicked"));
    assert_eq!(group.wait(), Ok(()), "one wait gets it");
}

#[test]
fn error_before_a_panic_is_the_first() {
    let group = Group::<String>::new();
    let (failed, has_failed) = bounded::<()>(0);
    let inner = group.clone();
    group.go(move || {
        inner.go(move || {
            // Closed when the first has been told of.
            has_failed.recv().unwrap_err();
            panic!("second")
        });
        Err("first".to_owned())
    });
    // The first has failed when it has let its own reference go.
    while !format!("{group:?}").contains("true") {
        gaggle::yield_now();
    }
    drop(failed);
    assert_eq!(group.wait(), Err("first".to_owned()));
}

#[test]
fn group_works_from_plain_threads() {
    let group = Group::<String>::new().limit(2);
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (group, count) = (group.clone(), Arc::clone(&count));
            scope.spawn(move || {
                for _ in 0..50 {
                    let count = Arc::clone(&count);
                    group.go(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    });
                }
            });
        }
    });
    group.wait().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 200);
}

#[test]
fn scope_with_a_limit_runs_never_more_and_all() {
    const LIMIT: usize = 3;
    let (active, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
    gaggle::scope_with_limit(LIMIT, |s| {
        for _ in 0..200 {
            s.go(|| {
                assert!(active.fetch_add(1, Ordering::Relaxed) < LIMIT);
                gaggle::yield_now();
                active.fetch_sub(1, Ordering::Relaxed);
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(ran.into_inner(), 200);
}

#[test]
fn scope_with_a_limit_blocks_its_owner_until_one_has_ended() {
    let (release, released) = unbuffered::<()>();
    let (started, starts) = bounded(2);
    gaggle::scope_with_limit(1, |s| {
        let first = started.clone();
        s.go(move || {
            first.send(1).unwrap();
            released.recv().unwrap();
        });
        assert_eq!(starts.recv(), Ok(1));
        let helper = gaggle::go(move || release.send(()).unwrap());
        s.go(|| started.send(2).unwrap());
        helper.join().unwrap();
    });
    assert_eq!(starts.recv(), Ok(2));
    assert_eq!(starts.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn scope_with_a_limit_counts_panics_and_refusals_as_ends() {
    let payload = catch_unwind(|| {
        gaggle::scope_with_limit(1, |s| {
            let refused = gaggle::Builder::new().stack_size(1 << 47);
            refused
                .spawn_scoped(s, || ())
                .expect_err("no machine has that much");
            s.go(|| panic!("unjoined"));
            s.go(|| ());
        });
    });
    assert!(payload.is_err());
    let zero = catch_unwind(|| gaggle::scope_with_limit(0, |_| ()));
    assert!(zero.is_err());
}
