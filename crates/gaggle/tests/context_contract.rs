//! Go's contract for contexts, case by case; `docs/contracts.md` says which of Go's cases each test is.
//!
//! Each runs on an OS thread and on a goroutine, on whichever backend runs the tests.

use gaggle::chan::{bounded, unbuffered};
use gaggle::context::{AfterFunc, Cancel, Context, ContextError, background};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Short enough to wait for, long enough to be waited for.
const SHORT: Duration = Duration::from_millis(2);
/// Later than any test runs.
const LATE: Duration = Duration::from_secs(3600);

/// Runs the case as an OS thread and as a goroutine.
fn on_both(case: fn()) {
    case();
    gaggle::go(case).join().unwrap();
}

/// What a context that has ended says in every way in which it can be asked.
#[track_caller]
fn assert_ended(context: &Context, error: ContextError) {
    assert_eq!(context.err(), Some(error));
    assert!(context.done().is_closed());
    assert!(context.done().recv().is_err());
    assert!(context.cause().is_some());
}

#[track_caller]
fn assert_lives(context: &Context) {
    assert_eq!(context.err(), None);
    assert!(!context.done().is_closed());
    assert!(context.cause().is_none());
}

/// A small generator of numbers; its seed is printed so that a failure can be run again.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Random(seed)
    }

    /// A number below `bound`. Steele, Lea and Flood's SplitMix64 (2014).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

#[test]
fn parent_that_ends_ends_children_of_every_kind() {
    on_both(|| {
        let (parent, cancel) = background().with_cancel();
        let (cancel_child, _keep) = parent.with_cancel();
        let (value_child, _keep) = parent.with_value(1u8).with_cancel();
        let value_only = parent.with_value(2u8);
        let (timer_child, _keep) = parent.with_timeout(LATE);
        let (grandchild, _keep) = timer_child.with_value(3u8).with_cancel();
        let all = [
            &parent,
            &cancel_child,
            &value_child,
            &value_only,
            &timer_child,
            &grandchild,
        ];
        all.iter().for_each(|context| assert_lives(context));
        cancel.cancel();
        for context in all {
            assert_ended(context, ContextError::Canceled);
        }
        let (born_ended, _keep) = parent.with_value(4u8).with_timeout(LATE);
        assert_ended(&born_ended, ContextError::Canceled);
    });
}

#[test]
fn child_that_ends_first_leaves_parent_and_siblings() {
    on_both(|| {
        let (parent, cancel_parent) = background().with_cancel();
        let (child, cancel_child) = parent.with_cancel();
        let (sibling, _keep) = parent.with_timeout(LATE);
        let (grandchild, _keep) = child.with_cancel();
        cancel_child.cancel();
        assert_ended(&child, ContextError::Canceled);
        assert_ended(&grandchild, ContextError::Canceled);
        assert_lives(&parent);
        assert_lives(&sibling);
        cancel_parent.cancel();
        assert_ended(&sibling, ContextError::Canceled);
    });
}

#[test]
fn background_never_ends_and_carries_nothing() {
    on_both(|| {
        let context = background();
        assert_lives(&context);
        assert!(context.done().recv_timeout(SHORT).is_err());
        assert_lives(&context);
        assert_eq!(context.deadline(), None);
        assert_eq!(context.value::<u8>(), None);
        assert!(context.after_func(|| unreachable!()).stop());
    });
}

#[test]
fn cancel_ends_and_again_changes_nothing() {
    on_both(|| {
        let (context, cancel) = background().with_cancel();
        assert_lives(&context);
        assert!(format!("{context:?}").contains("err: None"));
        for _ in 0..2 {
            cancel.cancel();
            // What waits for it, and what asks, sees the same at once.
            assert_ended(&context, ContextError::Canceled);
        }
        assert!(format!("{context:?}").contains("Canceled"));
    });
}

#[test]
fn deadlines_and_timeouts_end_through_layers() {
    on_both(|| {
        let soon = Instant::now() + SHORT;
        let (plain, _keep) = background().with_deadline(soon);
        let (inner, _keep_inner) = background().with_deadline(soon);
        let through_value = inner.with_value("layer");
        let (far, _keep_far) = through_value.with_deadline(Instant::now() + LATE);
        let (past, _keep_past) = background().with_deadline(Instant::now());
        let (no_time, _keep_no_time) = background().with_timeout(Duration::ZERO);
        let (short, _keep_short) = background().with_timeout(SHORT);
        let (under, _keep_under) = short.with_cancel();
        assert_ended(&past, ContextError::DeadlineExceeded);
        assert_ended(&no_time, ContextError::DeadlineExceeded);
        for context in [&plain, &inner, &through_value, &far, &short, &under] {
            assert!(context.done().recv().is_err());
            assert_ended(context, ContextError::DeadlineExceeded);
            assert!(context.deadline().unwrap() <= Instant::now());
        }
        // The nearest counts, whoever set it.
        assert_eq!(far.deadline(), Some(soon));
        assert_eq!(far.value::<&str>(), Some(&"layer"));
    });
}

#[test]
fn deadline_is_not_kept_before_its_time() {
    on_both(|| {
        let begun = Instant::now();
        let (context, _keep) = background().with_timeout(SHORT);
        assert!(context.done().recv().is_err());
        assert!(begun.elapsed() >= SHORT);
    });
}

#[test]
fn cancelled_before_its_deadline_is_cancelled() {
    on_both(|| {
        let (far, _keep) = background().with_timeout(LATE);
        let (context, cancel) = far.with_timeout(LATE);
        cancel.cancel();
        assert_ended(&context, ContextError::Canceled);
        // Nor does the deadline of one above, when it comes, change what was decided.
        let (parent, _keep) = background().with_timeout(SHORT);
        let (child, cancel) = parent.with_timeout(LATE);
        cancel.cancel();
        assert!(parent.done().recv().is_err());
        assert_ended(&child, ContextError::Canceled);
    });
}

#[test]
fn values_are_looked_up_from_the_inside_outwards() {
    #[derive(Debug, PartialEq)]
    struct First(&'static str);
    #[derive(Debug, PartialEq)]
    struct Second(&'static str);
    #[derive(Debug, PartialEq)]
    struct Third;
    on_both(|| {
        let one = background().with_value(First("c1"));
        let two = one.with_value(Second("c2"));
        let three = two.with_value(Third);
        let hidden = three.with_value(First("c4"));
        assert_eq!(one.value(), Some(&First("c1")));
        assert_eq!(one.value::<Second>(), None);
        assert_eq!(two.value(), Some(&Second("c2")));
        assert_eq!(three.value(), Some(&First("c1")));
        assert_eq!(three.value(), Some(&Third));
        assert_eq!(hidden.value(), Some(&First("c4")));
        assert_eq!(three.value(), Some(&First("c1")), "it stays as it was");
        // Types are keys: a number of another width is another key.
        assert_eq!(background().with_value(1u32).value::<i32>(), None);
    });
}

#[test]
fn simultaneous_cancels_of_a_tree_end_all_of_it() {
    on_both(|| {
        let (root, cancel_root) = background().with_cancel();
        let mut contexts = vec![root.clone()];
        let mut cancels = vec![cancel_root];
        let mut layer = vec![root];
        // A tree of four layers with four branches each.
        for _ in 0..4 {
            let children: Vec<(Context, Cancel)> = layer
                .iter()
                .flat_map(|parent| (0..4).map(|_| parent.with_cancel()))
                .collect();
            layer.clear();
            for (child, cancel) in children {
                layer.push(child.clone());
                contexts.push(child);
                cancels.push(cancel);
            }
        }
        let cancelling: Vec<_> = cancels
            .into_iter()
            .map(|cancel| gaggle::go(move || cancel.cancel()))
            .collect();
        for context in &contexts {
            assert!(context.done().recv().is_err());
            assert_ended(context, ContextError::Canceled);
        }
        for canceling in cancelling {
            canceling.join().unwrap();
        }
    });
}

#[test]
fn cancel_called_by_what_another_cancel_woke_does_not_deadlock() {
    on_both(|| {
        let (parent, cancel_parent) = background().with_cancel();
        let (child, cancel_child) = parent.with_cancel();
        let woken = parent.clone();
        let other = gaggle::go(move || {
            assert!(woken.done().recv().is_err());
            cancel_child.cancel();
        });
        cancel_parent.cancel();
        assert!(child.done().recv().is_err());
        other.join().unwrap();
        // And from a function that runs because of it.
        let (parent, cancel_parent) = background().with_cancel();
        let cancel_parent = Arc::new(cancel_parent);
        let (sender, receiver) = bounded(1);
        let again = Arc::clone(&cancel_parent);
        parent.after_func(move || {
            again.cancel();
            sender.send(()).unwrap();
        });
        cancel_parent.cancel();
        receiver.recv().unwrap();
    });
}

/// A context of up to 20 layers chosen at random: values, cancellable ones, deadlines `timeout` ahead (or
/// far ahead). Checks the values, ends it by `by_timeout` or by the cancel of a layer, and checks which
/// layers have ended.
fn random_layers(seed: u64, by_timeout: bool) {
    struct Layer<const N: usize>(usize);
    let mut random = Random::new(seed);
    let mut context = background();
    let (mut values, mut cancels) = ([None; 3], Vec::new());
    let mut layers = Vec::new();
    for number in 0..1 + random.below(20) {
        match random.below(3) {
            0 => {
                let kind = random.below(3);
                values[kind] = Some(number);
                context = match kind {
                    0 => context.with_value(Layer::<0>(number)),
                    1 => context.with_value(Layer::<1>(number)),
                    _ => context.with_value(Layer::<2>(number)),
                };
            }
            1 => {
                let (child, cancel) = context.with_cancel();
                context = child;
                cancels.push((number, cancel));
            }
            _ => {
                let (child, cancel) = context.with_timeout(LATE);
                context = child;
                cancels.push((number, cancel));
            }
        }
        layers.push((number, context.clone()));
    }
    let found = [
        context.value::<Layer<0>>().map(|layer| layer.0),
        context.value::<Layer<1>>().map(|layer| layer.0),
        context.value::<Layer<2>>().map(|layer| layer.0),
    ];
    assert_eq!(found, values, "seed {seed:#x}");
    assert_lives(&context);
    if by_timeout {
        let (child, _keep) = context.with_timeout(SHORT);
        assert!(child.done().recv().is_err());
        assert_ended(&child, ContextError::DeadlineExceeded);
        assert_lives(&context);
    }
    if cancels.is_empty() {
        return;
    }
    let (cut, cancel) = cancels.swap_remove(random.below(cancels.len()));
    cancel.cancel();
    for (number, layer) in layers {
        if number >= cut {
            assert_ended(&layer, ContextError::Canceled);
        } else {
            assert_lives(&layer);
        }
    }
}

#[test]
fn random_layers_end_from_the_cancelled_one_inwards() {
    on_both(|| (1..60).for_each(|seed| random_layers(seed, false)));
}

#[test]
fn random_layers_keep_their_values_and_time_out() {
    on_both(|| (60..70).for_each(|seed| random_layers(seed, true)));
}

#[test]
fn child_of_an_ended_parent_has_its_error_and_cause() {
    on_both(|| {
        let (parent, cancel) = background().with_cancel_cause();
        cancel.cancel("because");
        let (child, _keep) = parent.with_cancel();
        assert_ended(&child, ContextError::Canceled);
        assert_eq!(child.cause().unwrap().to_string(), "because");
    });
}

#[test]
fn child_made_while_the_parent_is_cancelled_ends() {
    on_both(|| {
        for _ in 0..200 {
            let (parent, cancel) = background().with_cancel_cause();
            let canceling = gaggle::go(move || cancel.cancel("raced"));
            let (child, _keep) = parent.with_cancel();
            assert!(child.done().recv().is_err());
            assert_eq!(child.cause().unwrap().to_string(), "raced");
            canceling.join().unwrap();
        }
    });
}

#[test]
fn deadline_exceeded_is_a_time_out_to_input_and_output() {
    let timed_out = io::Error::from(ContextError::DeadlineExceeded);
    assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
    assert_eq!(timed_out.to_string(), "context deadline exceeded");
    let canceled = io::Error::from(ContextError::Canceled);
    assert_ne!(canceled.kind(), io::ErrorKind::TimedOut);
    assert_ne!(
        canceled.kind(),
        io::ErrorKind::Interrupted,
        "std calls again"
    );
}

#[test]
fn cause_is_the_first_given_or_the_error() {
    on_both(|| {
        let cause = |context: &Context| context.cause().map(|cause| cause.to_string());
        // Of a parent, to children of every kind.
        let (parent, cancel) = background().with_cancel_cause();
        let (child, cancel_child) = parent.with_cancel_cause();
        let (timed, _keep) = parent.with_timeout_cause(LATE, "too late");
        cancel.cancel("parent");
        cancel_child.cancel("child");
        for context in [&parent, &child, &timed] {
            assert_eq!(cause(context).as_deref(), Some("parent"));
            assert_eq!(context.err(), Some(ContextError::Canceled));
        }
        // Of a child, which comes first, and stays.
        let (parent, cancel) = background().with_cancel_cause();
        let (child, cancel_child) = parent.with_cancel_cause();
        cancel_child.cancel("child");
        assert_eq!(cause(&parent), None);
        cancel.cancel("parent");
        assert_eq!(cause(&child).as_deref(), Some("child"));
        assert_eq!(cause(&parent).as_deref(), Some("parent"));
        // None given.
        let (plain, cancel) = background().with_cancel();
        cancel.cancel();
        assert_eq!(cause(&plain).as_deref(), Some("context canceled"));
        let (dropped, cancel) = background().with_cancel_cause();
        drop(cancel);
        assert_eq!(cause(&dropped).as_deref(), Some("context canceled"));
        // Of a deadline.
        let (timed, _keep) = background().with_timeout_cause(SHORT, "too late");
        let (under, _keep_under) = timed.with_cancel();
        assert!(under.done().recv().is_err());
        for context in [&timed, &under] {
            assert_ended(context, ContextError::DeadlineExceeded);
            assert_eq!(cause(context).as_deref(), Some("too late"));
        }
        let (past, _keep) = background().with_deadline_cause(Instant::now(), "never in time");
        assert_eq!(cause(&past).as_deref(), Some("never in time"));
        let (cut, cancel) = background().with_timeout_cause(LATE, "too late");
        cancel.cancel();
        assert_eq!(cause(&cut).as_deref(), Some("context canceled"));
        // The nearer deadline of the parent has the parent's cause.
        let (parent, _keep) = background().with_timeout_cause(SHORT, "parent's");
        let (child, _keep_child) = parent.with_timeout_cause(LATE, "child's");
        assert!(child.done().recv().is_err());
        assert_eq!(cause(&child).as_deref(), Some("parent's"));
    });
}

#[test]
fn cause_is_there_as_soon_as_the_error_is() {
    on_both(|| {
        for _ in 0..200 {
            let (context, cancel) = background().with_cancel_cause();
            let canceling = gaggle::go(move || cancel.cancel("decided"));
            while context.err().is_none() {
                assert!(
                    context
                        .cause()
                        .is_none_or(|cause| cause.to_string() == "decided")
                );
                gaggle::yield_now();
            }
            assert_eq!(context.cause().unwrap().to_string(), "decided");
            canceling.join().unwrap();
        }
    });
}

#[test]
fn context_without_cancel_keeps_only_the_values() {
    on_both(|| {
        let (parent, cancel) = background().with_value(7u32).with_timeout(LATE);
        let free = parent.without_cancel();
        let (below, _keep) = free.with_cancel();
        cancel.cancel();
        assert_lives(&free);
        assert_lives(&below);
        assert_eq!(free.deadline(), None);
        assert_eq!(below.value::<u32>(), Some(&7));
        assert!(free.done().recv_timeout(SHORT).is_err());
    });
}

/// The function, a receiver that hears of its run, and its handle.
fn noted(context: &Context) -> (gaggle::chan::Receiver<()>, AfterFunc) {
    let (sender, receiver) = bounded(1);
    let function = context.after_func(move || sender.send(()).unwrap());
    (receiver, function)
}

#[test]
fn function_runs_after_a_cancel_a_time_out_or_at_once() {
    on_both(|| {
        let (context, cancel) = background().with_cancel();
        let (ran, function) = noted(&context);
        let (ran_too, _function) = noted(&context.with_value(1u8));
        assert!(ran.try_recv().is_err());
        cancel.cancel();
        assert!(ran.recv().is_ok() && ran_too.recv().is_ok());
        assert!(!function.stop());
        let (timed, _keep) = background().with_timeout(SHORT);
        assert!(noted(&timed).0.recv().is_ok());
        // The context has ended: at once.
        assert!(noted(&timed).0.recv().is_ok());
    });
}

#[test]
fn function_does_not_run_after_stop() {
    on_both(|| {
        let (context, cancel) = background().with_cancel();
        let (ran, function) = noted(&context);
        assert!(function.stop());
        assert!(!function.stop());
        cancel.cancel();
        // Its sender is gone with it, unsent.
        assert!(ran.recv().is_err());
    });
}

#[test]
fn function_that_blocks_holds_up_nobody() {
    on_both(|| {
        let (context, cancel) = background().with_cancel();
        let (entered_sender, entered) = unbuffered();
        let (release, released) = unbuffered::<()>();
        let function = context.after_func(move || {
            entered_sender.send(()).unwrap();
            let _ = released.recv();
        });
        let (ran, _other) = noted(&context);
        cancel.cancel();
        assert_ended(&context, ContextError::Canceled);
        entered.recv().unwrap();
        assert!(ran.recv().is_ok());
        assert!(!function.stop(), "it runs; that does not wait for it");
        drop(release);
    });
}

#[test]
fn error_is_set_before_done_is_closed() {
    on_both(|| {
        for _ in 0..200 {
            let (context, cancel) = background().with_cancel();
            let canceling = gaggle::go(move || cancel.cancel());
            while !context.done().is_closed() {
                gaggle::yield_now();
            }
            assert_eq!(context.err(), Some(ContextError::Canceled));
            canceling.join().unwrap();
        }
    });
}

#[test]
fn deep_chain_ends_to_its_last_context() {
    const DEPTH: usize = 10_000;
    let chain = || {
        let (root, cancel) = background().with_cancel();
        let mut contexts = vec![root];
        for depth in 0..DEPTH {
            let (child, keep) = contexts[depth].with_timeout(LATE);
            keep.detach();
            contexts.push(child.with_value(depth));
        }
        (contexts, cancel)
    };
    // On a stack on which a recursion of that depth has no room.
    let small = gaggle::Builder::new().stack_size(64 << 10);
    let ends = small.spawn(move || {
        let (contexts, cancel) = chain();
        let (ran, _function) = noted(&contexts[DEPTH]);
        cancel.cancel();
        for context in contexts.iter().step_by(997) {
            assert_ended(context, ContextError::Canceled);
        }
        assert_eq!(contexts[DEPTH].value::<usize>(), Some(&(DEPTH - 1)));
        ran.recv().unwrap();
        // Dropped from the outside inwards, so that the last one holds all.
        drop(contexts);
        let (mut contexts, cancel) = chain();
        cancel.detach();
        let last = contexts.pop();
        drop(contexts);
        drop(last);
    });
    ends.unwrap().join().unwrap();
}

#[test]
fn wide_tree_ends_every_child() {
    const WIDTH: usize = 100_000;
    let ended = Arc::new(AtomicUsize::new(0));
    let (parent, cancel) = background().with_cancel();
    let mut children: Vec<_> = (0..WIDTH)
        .map(|_| {
            let (child, keep) = parent.with_timeout(LATE);
            keep.detach();
            child
        })
        .collect();
    // Every other one leaves before: the places are free for those that come.
    let mut number = 0;
    children.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    let seen = Arc::clone(&ended);
    let last = children[0].after_func(move || {
        seen.fetch_add(1, Ordering::SeqCst);
    });
    cancel.cancel();
    assert!(
        children
            .iter()
            .all(|child| child.err() == Some(ContextError::Canceled))
    );
    assert!(!last.stop());
    while Arc::strong_count(&ended) > 1 {
        gaggle::yield_now();
    }
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}
