//! Pipelines: what comes out, in which order, how they end, and that nothing stays behind.

use gaggle::context::{self, ContextError};
use gaggle::pipeline::{self, Pipeline, Stage};
use gaggle::rate::{Limit, Limiter, WaitError};
use gaggle::testing::leak_check;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

fn numbers(count: u64) -> Stage<u64> {
    pipeline::source(&context::background(), 0..count)
}

#[gaggle::test]
fn every_value_goes_through_all_stages_once() {
    let mut all: Vec<u64> = numbers(1000)
        .map(4, |n| n + 1)
        .map(3, |n| n * 2)
        .collect()
        .expect("nothing fails");
    all.sort_unstable();
    assert_eq!(all, (1..=1000).map(|n| n * 2).collect::<Vec<_>>());
}

#[gaggle::test]
fn one_worker_keeps_the_order() {
    let all: Vec<u64> = numbers(500).map(1, |n| n).collect().expect("nothing fails");
    assert!(all.is_sorted());
    assert_eq!(all.len(), 500);
}

#[gaggle::test]
fn ordered_map_keeps_the_order_whichever_worker_is_slow() {
    for workers in [1, 2, 3, 8] {
        let all: Vec<u64> = numbers(300)
            .map_ordered(workers, |n| {
                for _ in 0..n % 7 {
                    gaggle::yield_now();
                }
                n
            })
            .collect()
            .expect("nothing fails");
        assert_eq!(all, (0..300).collect::<Vec<_>>(), "{workers} workers");
    }
}

#[gaggle::test]
fn ordered_map_runs_as_many_at_once_as_it_has_workers() {
    // Nobody of three goes on before all three are there.
    let meet = Arc::new(std::sync::Barrier::new(3));
    let count = numbers(9)
        .map_ordered(3, move |_| meet.wait())
        .fold(0, |n, _| n + 1);
    assert_eq!(count.expect("nothing fails"), 9);
}

#[gaggle::test]
fn no_stage_runs_far_ahead_of_a_consumer_that_waits() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let pipeline = Pipeline::new(&context::background()).buffer(2);
    let endless = (0..).inspect(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let mut items = pipeline.source(endless).map(1, |n: u32| n).items();
    assert_eq!(items.next(), Some(0));
    // Two channels of 2, one value in each goroutine's hands, and the one that was taken.
    let bound = 2 * 2 + 2 + 1;
    for _ in 0..1000 {
        gaggle::yield_now();
        assert!(made.load(Ordering::SeqCst) <= bound);
    }
    drop(items);
}

#[gaggle::test]
fn consumer_that_leaves_early_leaves_no_goroutine() {
    // The sources never end by themselves: one produces without end, the other waits without end.
    let (_keep, silent) = gaggle::chan::unbuffered::<u64>();
    leak_check(|| {
        let first: Vec<u64> = pipeline::source(&context::background(), 0..)
            .map(3, |n| n)
            .map_ordered(2, |n| n)
            .batch(3, HOUR)
            .items()
            .take(2)
            .flatten()
            .collect();
        assert_eq!(first.len(), 6);
        let stage = pipeline::receive(&context::background(), silent)
            .map(2, |n| n)
            .map_ordered(2, |n| n)
            .batch(3, HOUR)
            .throttle(HOUR);
        drop(stage);
    });
}

#[gaggle::test]
fn first_error_ends_the_pipeline_and_is_the_answer() {
    let result = pipeline::source(&context::background(), 0..)
        .try_map(2, |n: u64| if n == 50 { Err("fifty") } else { Ok(n) })
        .drain();
    assert_eq!(result.expect_err("it fails").to_string(), "fifty");
}

#[gaggle::test]
fn error_at_the_last_value_is_not_taken_for_the_end() {
    for _ in 0..200 {
        let last: Result<Vec<u64>, _> = numbers(3)
            .try_map(1, |n| if n == 2 { Err("last") } else { Ok(n) })
            .collect();
        assert_eq!(last.expect_err("it fails").to_string(), "last");
        let ordered: Result<Vec<u64>, _> = numbers(3)
            .try_map_ordered(2, |n| if n == 2 { Err("last") } else { Ok(n) })
            .collect();
        assert_eq!(ordered.expect_err("it fails").to_string(), "last");
    }
}

#[gaggle::test]
fn error_of_a_source_ends_the_pipeline() {
    let values = vec![Ok(1), Err("unreadable"), Ok(3)];
    let mut seen = Vec::new();
    let result = Pipeline::new(&context::background())
        .buffer(0)
        .try_source(values)
        .for_each(|n| seen.push(n));
    assert_eq!(result.expect_err("it fails").to_string(), "unreadable");
    assert!(seen.len() <= 1, "{seen:?}");
}

#[gaggle::test]
fn error_of_the_sink_ends_the_pipeline() {
    let result = pipeline::source(&context::background(), 0..)
        .map(2, |n: u64| n)
        .try_for_each(|n| if n >= 10 { Err("enough") } else { Ok(()) });
    assert_eq!(result.expect_err("it fails").to_string(), "enough");
}

#[gaggle::test]
fn context_that_ends_ends_the_pipeline_and_is_the_answer() {
    let (context, cancel) = context::background().with_cancel_cause();
    let (begun, wait) = gaggle::chan::bounded(1);
    let ender = gaggle::go(move || {
        wait.recv().expect("the pipeline runs");
        cancel.cancel("the client is gone");
    });
    let result = pipeline::source(&context, 0..)
        .map(2, |n: u64| n)
        .for_each(|_| {
            let _ = begun.try_send(());
        });
    assert_eq!(
        result.expect_err("it is cut").to_string(),
        "the client is gone"
    );
    ender.join().expect("no panic");
}

#[gaggle::test]
fn deadline_ends_stages_that_wait() {
    let (_keep, silent) = gaggle::chan::unbuffered::<u8>();
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(5));
    let result = pipeline::receive(&context, silent)
        .map(1, |n| n)
        .map_ordered(2, |n| n)
        .batch(10, HOUR)
        .drain();
    let cause = result.expect_err("it is cut");
    assert_eq!(
        cause.downcast_ref::<ContextError>(),
        Some(&ContextError::DeadlineExceeded)
    );
}

#[gaggle::test]
fn deadline_ends_a_throttle_that_waits() {
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(5));
    let mut passed = 0;
    let result = pipeline::source(&context, 0..)
        .throttle(HOUR)
        .for_each(|_: u8| passed += 1);
    assert!(result.is_err());
    assert_eq!(passed, 1);
}

#[gaggle::test]
fn context_that_ended_before_lets_nothing_through() {
    let (context, cancel) = context::background().with_cancel();
    cancel.cancel();
    let result: Result<Vec<u32>, _> = pipeline::source(&context, 0..10).map(1, |n| n).collect();
    assert_eq!(
        result.expect_err("it is cut").to_string(),
        "context canceled"
    );
}

#[gaggle::test]
fn context_that_ends_after_the_last_value_does_no_harm() {
    let (context, cancel) = context::background().with_cancel();
    let mut items = pipeline::source(&context, 0..3).map(1, |n| n).items();
    assert_eq!(items.by_ref().count(), 3);
    cancel.cancel();
    items.finish().expect("all had come");
}

#[gaggle::test]
fn panic_in_a_stage_reaches_the_consumer() {
    let result = catch_unwind(AssertUnwindSafe(|| {
        numbers(100)
            .map(2, |n| assert_ne!(n, 7, "seven"))
            .map_ordered(2, |()| ())
            .drain()
    }));
    let payload = result.expect_err("it panics");
    let said = payload.downcast_ref::<String>().expect("words");
    assert!(said.contains("seven"), "{said}");
}

#[gaggle::test]
fn panic_in_the_consumer_ends_the_pipeline() {
    leak_check(|| {
        let result = catch_unwind(AssertUnwindSafe(|| {
            pipeline::source(&context::background(), 0..)
                .map(2, |n: u32| n)
                .for_each(|n| assert!(n < 5, "five"))
        }));
        assert!(result.is_err());
    });
}

#[gaggle::test]
fn merge_hands_on_everything_of_all() {
    let pipeline = Pipeline::new(&context::background());
    let stages = (0..5).map(|k| pipeline.source((0..100).map(move |n| 100 * k + n)));
    let mut stages: Vec<_> = stages.collect();
    let first = stages.remove(0);
    let all: BTreeSet<u32> = first.merge(stages).collect().expect("nothing fails");
    assert_eq!(all.len(), 500);
}

#[gaggle::test]
fn merge_of_different_pipelines_is_refused() {
    let payload = catch_unwind(AssertUnwindSafe(|| numbers(1).merge([numbers(1)])));
    assert!(payload.is_err());
}

#[gaggle::test]
fn tee_hands_everything_to_each() {
    let [first, second, third] = numbers(200).tee();
    let second = gaggle::go(move || second.map(2, |n| n).fold(0, |sum, n| sum + n));
    let third = gaggle::go(move || third.collect::<Vec<_>>());
    let first = first.fold(0, |sum, n| sum + n).expect("nothing fails");
    assert_eq!(first, 199 * 200 / 2);
    let second = second.join().expect("no panic").expect("nothing fails");
    assert_eq!(second, first);
    let third = third.join().expect("no panic").expect("nothing fails");
    assert_eq!(third, (0..200).collect::<Vec<_>>());
}

#[gaggle::test]
fn tee_goes_on_for_those_who_stay() {
    let [stays, leaves] = numbers(500).tee();
    let mut leaver = leaves.items();
    let left = gaggle::go(move || leaver.next());
    let sum = stays.fold(0, |sum, n| sum + n).expect("nothing fails");
    assert_eq!(sum, 499 * 500 / 2);
    assert_eq!(left.join().expect("no panic"), Some(0));
}

#[gaggle::test]
fn error_behind_a_tee_is_the_answer_of_each() {
    let [left, right] = pipeline::source(&context::background(), 0..).tee();
    let left = gaggle::go(move || {
        left.try_map(1, |n: u64| if n == 20 { Err("twenty") } else { Ok(n) })
            .drain()
    });
    let right = right.drain().expect_err("it fails");
    let left = left.join().expect("no panic").expect_err("it fails");
    assert_eq!(
        (left.to_string(), right.to_string()),
        ("twenty".into(), "twenty".into())
    );
}

#[gaggle::test]
fn batch_is_handed_on_when_it_is_full_or_has_waited() {
    let (sender, receiver) = gaggle::chan::bounded(10);
    let mut batches = pipeline::receive(&context::background(), receiver)
        .batch(3, Duration::from_millis(1))
        .items();
    for n in 0..3 {
        sender.send(n).expect("somebody receives");
    }
    // Two at most that were handed on because they had waited.
    let mut all = Vec::new();
    while all.len() < 3 {
        let batch = batches.next().expect("more comes");
        assert!((1..=3).contains(&batch.len()));
        all.extend(batch);
    }
    sender.send(3).expect("somebody receives");
    assert_eq!(batches.next(), Some(vec![3]), "although it is not full");
    all.push(3);
    sender.send(4).expect("somebody receives");
    drop(sender);
    assert_eq!(batches.next(), Some(vec![4]));
    assert_eq!(batches.next(), None);
    batches.finish().expect("nothing fails");
    assert_eq!(all, [0, 1, 2, 3]);
}

#[gaggle::test]
fn throttle_keeps_the_interval() {
    let interval = Duration::from_millis(3);
    let mut times = Vec::new();
    let start = Instant::now();
    numbers(4)
        .throttle(interval)
        .for_each(|_| times.push(start.elapsed()))
        .expect("nothing fails");
    for (number, time) in times.iter().enumerate() {
        assert!(*time >= interval * number as u32, "{times:?}");
    }
}

#[gaggle::test]
fn limit_lets_pass_what_the_limiter_allows_and_fails_where_it_never_will() {
    let limiter = Arc::new(Limiter::new(Limit::every(Duration::from_millis(3)), 1));
    let start = Instant::now();
    numbers(4).limit(limiter).drain().expect("nothing fails");
    assert!(start.elapsed() >= Duration::from_millis(9));

    let limiter = Arc::new(Limiter::new(Limit::every(HOUR), 1));
    let (context, _cancel) = context::background().with_timeout(HOUR / 2);
    let mut passed = 0;
    let result = pipeline::source(&context, 0..4)
        .limit(limiter)
        .for_each(|_| passed += 1);
    let cause = result.expect_err("the second would come too late");
    assert_eq!(cause.downcast_ref(), Some(&WaitError::ExceedsDeadline));
    assert!(passed <= 1);
}

#[gaggle::test]
fn sink_under_a_context_that_ends_answers_why() {
    for is_deadline in [true, false] {
        let (_keep, silent) = gaggle::chan::unbuffered::<u8>();
        let (context, cancel) = context::background().with_timeout(if is_deadline {
            Duration::from_millis(2)
        } else {
            HOUR
        });
        let canceller = gaggle::go(move || {
            if !is_deadline {
                cancel.cancel();
            }
            cancel
        });
        let stage = pipeline::receive(&context::background(), silent).map(2, |n| n);
        let result = context.run(|| stage.map_ordered(2, |n| n).drain());
        let expected = match is_deadline {
            true => ContextError::DeadlineExceeded,
            false => ContextError::Canceled,
        };
        let cause = result.expect_err("it is cut");
        assert_eq!(cause.downcast_ref(), Some(&expected));
        drop(canceller.join());
    }
}

#[gaggle::test]
fn receive_leaves_what_it_does_not_consume() {
    let (sender, receiver) = gaggle::chan::bounded(10);
    for n in 0..5 {
        sender.send(n).expect("there is room");
    }
    let mut items = pipeline::receive(&context::background(), receiver.clone()).items();
    assert_eq!(items.next(), Some(0));
    drop(items);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[gaggle::test]
fn values_that_are_not_consumed_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (made, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    leak_check(|| {
        let (made, dropped) = (Arc::clone(&made), Arc::clone(&dropped));
        let endless = std::iter::repeat_with(move || {
            made.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(&dropped))
        });
        let stage = pipeline::source(&context::background(), endless)
            .map_ordered(3, |value| value)
            .batch(4, HOUR);
        assert_eq!(
            stage
                .items()
                .take(3)
                .map(|batch| batch.len())
                .sum::<usize>(),
            12
        );
    });
    assert_eq!(
        made.load(Ordering::Relaxed),
        dropped.load(Ordering::Relaxed)
    );
}

#[gaggle::test]
fn stage_of_your_own_may_stop_early() {
    let firsts = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&firsts);
    let two: Vec<u64> = pipeline::source(&context::background(), 0..)
        .through(1, move |input, output| {
            for _ in 0..2 {
                let Some(n) = input.recv() else { break };
                taken.lock().expect("no panic").push(n);
                output.send(n)?;
            }
            Ok(())
        })
        .collect()
        .expect("nothing fails");
    assert_eq!(two, [0, 1]);
    assert_eq!(*firsts.lock().expect("no panic"), [0, 1]);
}

#[test]
fn pipeline_runs_from_an_os_thread_too() {
    let sum = numbers(100).map(2, |n| n).fold(0, |sum, n| sum + n);
    assert_eq!(sum.expect("nothing fails"), 4950);
}
