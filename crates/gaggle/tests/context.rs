//! What contexts promise, on whichever backend runs the tests.

use gaggle::chan::{bounded, unbuffered};
use gaggle::context::{Context, ContextError, background};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Later than any test runs.
const LATE: Duration = Duration::from_secs(3600);

#[test]
fn cancel_ends_the_context_and_those_below_not_those_above() {
    let (parent, _keep_parent) = background().with_cancel();
    let (context, cancel) = parent.with_cancel();
    let (child, _keep_child) = context.with_value(1u8).with_timeout(LATE);
    let (sibling, _keep_sibling) = parent.with_cancel();
    cancel.cancel();
    cancel.cancel();
    assert_eq!(context.err(), Some(ContextError::Canceled));
    assert_eq!(child.err(), Some(ContextError::Canceled));
    assert!(child.done().recv().is_err());
    assert_eq!((parent.err(), sibling.err()), (None, None));
}

#[test]
fn handle_dropped_cancels_handle_detached_does_not() {
    let (context, cancel) = background().with_cancel();
    drop(cancel);
    assert_eq!(context.err(), Some(ContextError::Canceled));
    let (parent, cancel_parent) = background().with_cancel();
    let (context, cancel) = parent.with_cancel();
    cancel.detach();
    assert_eq!(context.err(), None);
    cancel_parent.cancel();
    assert_eq!(context.err(), Some(ContextError::Canceled));
}

#[test]
fn context_below_an_ended_one_is_ended_from_the_start() {
    let (parent, cancel) = background().with_cancel_cause();
    cancel.cancel("early");
    let (context, _keep) = parent.with_deadline(Instant::now() + LATE);
    assert_eq!(context.err(), Some(ContextError::Canceled));
    assert_eq!(context.cause().unwrap().to_string(), "early");
}

#[test]
fn timeout_ends_the_context_with_deadline_exceeded() {
    let (start, timeout) = (Instant::now(), Duration::from_millis(5));
    let (context, _keep) = background().with_timeout(timeout);
    assert!(context.deadline().unwrap() >= start + timeout);
    assert!(context.done().recv().is_err());
    assert!(start.elapsed() >= timeout);
    assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
    assert_eq!(
        context.cause().unwrap().to_string(),
        "context deadline exceeded"
    );
}

#[test]
fn parents_earlier_deadline_counts() {
    let early = Instant::now() + Duration::from_millis(5);
    let (parent, _keep_parent) = background().with_deadline(early);
    let (child, _keep) = parent.with_timeout(LATE);
    assert_eq!(child.deadline(), Some(early));
    assert!(child.done().recv().is_err());
    assert_eq!(child.err(), Some(ContextError::DeadlineExceeded));
}

#[test]
fn childs_earlier_deadline_leaves_the_parent_alone() {
    let (parent, _keep_parent) = background().with_timeout(LATE);
    let (child, _keep) = parent.with_timeout(Duration::from_millis(2));
    assert!(child.done().recv().is_err());
    assert_eq!(
        (child.err(), parent.err()),
        (Some(ContextError::DeadlineExceeded), None)
    );
}

#[test]
fn deadline_in_the_past_ends_at_once_without_waiting() {
    let (context, _keep) = background().with_deadline(Instant::now());
    assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
}

#[test]
fn first_cause_stays() {
    let (context, cancel) = background().with_cancel_cause();
    assert!(context.cause().is_none());
    cancel.cancel("first");
    cancel.cancel("second");
    assert_eq!(context.cause().unwrap().to_string(), "first");
    assert_eq!(context.err(), Some(ContextError::Canceled));
}

#[test]
fn values_are_found_by_type_and_hidden_by_nearer_ones() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let outer = background().with_value(User("ann")).with_value(7u32);
    let (inner, _keep) = outer.with_value(User("bob")).with_cancel();
    assert_eq!(inner.value::<User>(), Some(&User("bob")));
    assert_eq!(inner.value::<u32>(), Some(&7));
    assert_eq!(outer.value::<User>(), Some(&User("ann")));
    assert_eq!(inner.value::<i8>(), None);
}

#[test]
fn without_cancel_keeps_the_values_and_loses_the_end() {
    let (context, cancel) = background().with_value(7u32).with_timeout(LATE);
    let free = context.without_cancel();
    cancel.cancel();
    assert_eq!((free.err(), free.deadline()), (None, None));
    assert_eq!(free.value::<u32>(), Some(&7));
    assert!(
        free.done()
            .try_recv()
            .is_err_and(|error| error != gaggle::chan::TryRecvError::Closed)
    );
}

#[test]
fn after_func_runs_once_when_the_context_ends() {
    let (context, cancel) = background().with_cancel_cause();
    let (sender, receiver) = bounded(2);
    let seen = context.clone();
    let function = context.after_func(move || {
        sender.send(seen.cause().unwrap().to_string()).unwrap();
    });
    assert!(receiver.try_recv().is_err());
    cancel.cancel("over");
    // Its sender has gone with it, so the channel ends after one value.
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["over"]);
    assert!(!function.stop());
}

#[test]
fn after_func_of_an_ended_context_runs_at_once() {
    let (context, cancel) = background().with_cancel();
    cancel.cancel();
    let (sender, receiver) = bounded(1);
    let function = context.after_func(move || sender.send(1).unwrap());
    assert_eq!(receiver.recv(), Ok(1));
    assert!(!function.stop());
}

#[test]
fn stopped_after_func_is_dropped_and_the_others_run() {
    let (context, cancel) = background().with_cancel();
    let (sender, receiver) = unbuffered();
    let functions: Vec<_> = (0..10)
        .map(|number| {
            let sender = sender.clone();
            context.after_func(move || sender.send(number).unwrap())
        })
        .collect();
    drop(sender);
    for number in [0, 4, 9] {
        assert!(functions[number].stop());
        assert!(!functions[number].stop());
    }
    // The places that have become free are used again, and stopping twice does not touch the new ones.
    let (again_sender, again) = unbuffered();
    context.after_func(move || again_sender.send(()).unwrap());
    assert!(!functions[9].stop());
    cancel.cancel();
    let mut ran: Vec<usize> = receiver.iter().collect();
    ran.sort_unstable();
    assert_eq!(ran, [1, 2, 3, 5, 6, 7, 8]);
    assert!(again.recv().is_ok());
}

#[test]
fn after_func_of_a_context_that_is_dropped_is_dropped_too() {
    let value = Arc::new(());
    let (context, cancel) = background().with_cancel();
    let held = Arc::clone(&value);
    let function = context.after_func(move || drop(held));
    cancel.detach();
    drop(context);
    assert_eq!(Arc::strong_count(&value), 2);
    drop(function);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn dropped_children_leave_nothing_in_a_long_lived_parent() {
    const ROUNDS: usize = 10_000;
    let (parent, cancel) = background().with_cancel();
    let (sender, receiver) = bounded(ROUNDS);
    for round in 0..ROUNDS {
        let (child, cancel_child) = parent.with_timeout(LATE);
        let sender = sender.clone();
        child.after_func(move || sender.send(round).unwrap());
        if round % 2 == 0 {
            // Never ends: goes with its last handle.
            cancel_child.detach();
        } else {
            drop(child);
        }
    }
    drop(sender);
    // Half have ended and run their function; the other half have dropped it without. The iteration
    // ends only when the last function is gone, while the parent lives on.
    let mut ran: Vec<_> = receiver.iter().collect();
    ran.sort_unstable();
    assert!(ran.into_iter().eq((1..ROUNDS).step_by(2)));
    drop(cancel);
    assert_eq!(parent.err(), Some(ContextError::Canceled));
}

#[test]
fn deep_chain_is_cancelled_and_dropped_on_a_small_stack() {
    let handle = gaggle::Builder::new().stack_size(64 << 10).spawn(|| {
        let (root, cancel) = background().with_cancel();
        let mut deepest: Context = root;
        for _ in 0..100_000 {
            let (child, keep) = deepest.with_cancel();
            keep.detach();
            deepest = child.with_value(0u8);
        }
        assert_eq!(deepest.err(), None);
        cancel.cancel();
        assert_eq!(deepest.err(), Some(ContextError::Canceled));
        drop(deepest);
    });
    handle.unwrap().join().unwrap();
}

#[test]
fn children_made_while_the_parent_ends_all_end() {
    for _ in 0..200 {
        let (parent, cancel) = background().with_cancel();
        let makers: Vec<_> = (0..3)
            .map(|_| {
                let parent = parent.clone();
                gaggle::go(move || {
                    (0..10)
                        .map(|_| {
                            let (child, keep) = parent.with_cancel();
                            keep.detach();
                            child
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        cancel.cancel();
        for child in makers.into_iter().flat_map(|maker| maker.join().unwrap()) {
            assert!(child.done().recv().is_err());
            assert_eq!(child.err(), Some(ContextError::Canceled));
        }
    }
}

#[test]
fn cancel_racing_the_deadline_decides_once() {
    for _ in 0..300 {
        let (context, cancel) = background().with_timeout(Duration::from_micros(50));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let context = context.clone();
                gaggle::go(move || {
                    assert!(context.done().recv().is_err());
                    context.err().unwrap()
                })
            })
            .collect();
        cancel.cancel();
        let decided = context.err().unwrap();
        for other in others {
            assert_eq!(other.join().unwrap(), decided);
        }
    }
}

#[test]
fn renewed_context_is_as_new_and_one_that_is_held_ends() {
    let (parent, cancel_parent) = background().with_cancel();
    let new = || parent.with_cancel();
    // Whatever was done with it has gone.
    let (context, cancel) = new();
    let (child, cancel_child) = context.with_cancel();
    drop((context.clone(), context.done().clone(), child, cancel_child));
    assert!(context.after_func(|| panic!("it was stopped")).stop());
    context.run(|| ());
    let (context, cancel) = cancel.renew(context).expect("nobody has it");
    assert!(context.err().is_none());
    // A second life ends as the first would have.
    let done = context.done().clone();
    assert!(cancel.renew(context).is_none());
    assert!(done.recv().is_err());

    let (context, cancel) = new();
    let (child, _cancel_child) = context.with_cancel();
    assert!(cancel.renew(context).is_none());
    assert!(child.err().is_some());

    let (context, cancel) = new();
    let (called, is_called) = bounded(1);
    drop(context.after_func(move || called.send(()).expect("awaited")));
    assert!(cancel.renew(context).is_none());
    is_called.recv().expect("it was to be called at the end");

    // The handle of another.
    let ((one, cancel_one), (two, _cancel_two)) = (new(), new());
    let kept = one.clone();
    drop(one);
    assert!(cancel_one.renew(two).is_none());
    assert!(kept.err().is_some());

    let (context, cancel) = new();
    let (context, cancel) = cancel.renew(context).expect("nobody has it");
    cancel_parent.cancel();
    assert!(context.err().is_some());
    assert!(cancel.renew(context).is_none());
}
