//! The pools, on whichever backend runs the tests.

use gaggle::chan::{bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::pool::{
    ContextPool, ContextPoolError, DynamicPool, PoolError, Results, TaskError, WorkerPool,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Lets others run until `condition` holds.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        gaggle::yield_now();
    }
}

/// Each of `count` tasks has failed once, with its own number.
fn each_failed_once(results: Results<usize>, count: usize) {
    let mut seen: Vec<_> = results
        .map(|error| match error {
            TaskError::Failed(number) => number,
            TaskError::Panicked(text) => panic!("{text}"),
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..count), "each task ran once");
}

#[test]
fn no_workers_are_bad_params() {
    assert_eq!(WorkerPool::<()>::new(0).unwrap_err(), PoolError::BadParams);
}

#[test]
fn no_task_is_taken_before_run_nor_after_shutdown() {
    let pool = WorkerPool::<()>::new(2).unwrap();
    assert_eq!(pool.add(|| Ok(())), Err(PoolError::NotStarted));
    assert_eq!(pool.add_task(None), Err(PoolError::NotStarted));
    pool.run();
    assert_eq!(pool.add(|| Ok(())), Ok(()));
    pool.shutdown();
    assert_eq!(pool.add(|| Ok(())), Err(PoolError::ShutDown));
    pool.run();
    assert_eq!(pool.add(|| Ok(())), Err(PoolError::ShutDown));
}

#[test]
fn absent_task_is_a_bad_task() {
    let pool = WorkerPool::<()>::new(2).unwrap();
    pool.run();
    assert_eq!(pool.add_task(None), Err(PoolError::BadTask));
    assert_eq!(pool.add_task(Some(Box::new(|| Ok(())))), Ok(()));
    pool.shutdown();
}

#[test]
fn run_twice_from_many_goroutines_starts_the_workers_once() {
    const WORKERS: usize = 3;
    let pool = WorkerPool::<()>::new(WORKERS).unwrap();
    let runners: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            gaggle::go(move || pool.run())
        })
        .collect();
    for runner in runners {
        runner.join().unwrap();
    }
    let (release, released) = unbuffered::<()>();
    let (started, starts) = bounded(100);
    let adder = {
        let pool = pool.clone();
        gaggle::go(move || {
            for _ in 0..4 * WORKERS {
                let (started, released) = (started.clone(), released.clone());
                let task = move || {
                    started.send(()).unwrap();
                    released.recv().unwrap();
                    Ok(())
                };
                pool.add(task).unwrap();
            }
        })
    };
    // As many tasks have begun as there are workers, though more wait: no other worker is there.
    for _ in 0..WORKERS {
        starts.recv().unwrap();
    }
    until(|| format!("{pool:?}").contains(&format!("queued: {WORKERS}")));
    assert!(starts.try_recv().is_err());
    for _ in 0..4 * WORKERS {
        release.send(()).unwrap();
    }
    adder.join().unwrap();
    pool.shutdown();
}

#[test]
fn results_are_the_errors_only_each_once() {
    let pool = WorkerPool::new(4).unwrap();
    pool.run();
    for number in 0..100 {
        let task = move || {
            if number % 10 == 3 {
                Err(number)
            } else {
                Ok(())
            }
        };
        pool.add(task).unwrap();
    }
    pool.shutdown();
    let mut errors: Vec<_> = pool.results().collect();
    errors.sort_by_key(|error| match error {
        TaskError::Failed(number) => *number,
        TaskError::Panicked(_) => usize::MAX,
    });
    let expected: Vec<_> = (0..10).map(|ten| TaskError::Failed(ten * 10 + 3)).collect();
    assert_eq!(errors, expected);
    assert!(pool.results().try_next().is_none());
}

#[test]
fn results_come_while_the_pool_runs_and_end_with_it() {
    let pool = WorkerPool::new(2).unwrap();
    let collector = {
        let results = pool.results();
        gaggle::go(move || results.count())
    };
    pool.run();
    pool.add(|| Err("one")).unwrap();
    let mut results = pool.results();
    // Either of the two may get it; the next is for the other.
    pool.add(|| Err("two")).unwrap();
    pool.shutdown();
    let own = results.by_ref().count();
    assert_eq!(own + collector.join().unwrap(), 2);
}

#[test]
fn results_of_a_pool_that_never_ran_end_with_it() {
    let pool = WorkerPool::<()>::new(2).unwrap();
    let results = pool.results();
    drop(pool);
    assert_eq!(results.count(), 0);
    let pool = WorkerPool::<()>::new(2).unwrap();
    pool.shutdown();
    assert_eq!(pool.results().count(), 0);
}

#[test]
fn task_that_panics_is_an_error_and_its_worker_goes_on() {
    let pool = WorkerPool::<String>::new(1).unwrap();
    pool.run();
    pool.add(|| panic!("honk")).unwrap();
    pool.add(|| Err("hiss".to_owned())).unwrap();
    pool.shutdown();
    let errors: Vec<_> = pool.results().collect();
    let expected = [
        TaskError::Panicked("honk".to_owned()),
        TaskError::Failed("hiss".to_owned()),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn shutdown_waits_for_the_tasks_in_flight_and_those_in_the_queue() {
    let pool = WorkerPool::<()>::new(2).unwrap();
    pool.run();
    let done = Arc::new(AtomicUsize::new(0));
    let (release, released) = unbuffered::<()>();
    for _ in 0..4 {
        let (released, done) = (released.clone(), Arc::clone(&done));
        let task = move || {
            released.recv().unwrap();
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        pool.add(task).unwrap();
    }
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (pool, done) = (pool.clone(), Arc::clone(&done));
            gaggle::go(move || {
                pool.shutdown();
                done.load(Ordering::Relaxed)
            })
        })
        .collect();
    until(|| pool.add(|| Ok(())) == Err(PoolError::ShutDown));
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    for _ in 0..4 {
        release.send(()).unwrap();
    }
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), 4);
    }
}

#[test]
fn last_handle_dropped_lets_the_workers_finish_and_end() {
    let pool = WorkerPool::<u32>::new(2).unwrap();
    pool.run();
    let results = pool.results();
    for number in 0..3 {
        pool.add(move || Err(number)).unwrap();
    }
    drop(pool);
    assert_eq!(results.count(), 3);
}

#[test]
fn pool_is_fed_and_drained_from_many_goroutines_and_threads() {
    const EACH: usize = 200;
    let pool = WorkerPool::new(4).unwrap();
    pool.run();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let pool = pool.clone();
            let feed = move || {
                for index in 0..EACH {
                    pool.add(move || Err(number * EACH + index)).unwrap();
                }
            };
            if number % 2 == 0 {
                scope.spawn(feed);
            } else {
                drop(scope.spawn(|| gaggle::go(feed).join().unwrap()));
            }
        }
    });
    pool.shutdown();
    each_failed_once(pool.results(), 4 * EACH);
}

#[test]
fn context_pool_does_all_when_nothing_fails() {
    let pool = ContextPool::<String>::new(&background(), 3).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let done = Arc::clone(&done);
        let task = move |_: &_| {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        pool.add(task).unwrap();
    }
    assert_eq!(pool.wait(), Ok(()));
    assert_eq!(done.load(Ordering::Relaxed), 50);
    assert_eq!(
        ContextPool::<String>::new(&background(), 0).unwrap_err(),
        PoolError::BadParams
    );
}

#[test]
fn context_pool_ends_all_at_the_first_failure() {
    let pool = ContextPool::<String>::new(&background(), 4).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let told = Arc::clone(&told);
        let task = move |context: &gaggle::context::Context| {
            context.done().recv().unwrap_err();
            told.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        pool.add(task).unwrap();
    }
    pool.add(|_| Err("no such goose".to_owned())).unwrap();
    // The context ends, so tasks are refused from some moment on.
    until(|| pool.add(|_| Ok(())) == Err(PoolError::ShutDown));
    assert_eq!(pool.context().cause().unwrap().to_string(), "no such goose");
    let failed = ContextPoolError::Failed("no such goose".to_owned());
    assert_eq!(pool.wait(), Err(failed));
    assert_eq!(told.load(Ordering::Relaxed), 3);
}

#[test]
fn context_pool_ends_at_the_deadline_and_drops_what_has_not_begun() {
    let (context, _cancel) = background().with_timeout(Duration::from_millis(5));
    let pool = ContextPool::<String>::new(&context, 1).unwrap();
    let held = Arc::new(());
    pool.add(|context| {
        context.done().recv().unwrap_err();
        Ok(())
    })
    .unwrap();
    let never_begun = Arc::clone(&held);
    let added = pool.add(move |_| {
        drop(never_begun);
        panic!("the deadline came before")
    });
    assert!(matches!(added, Ok(()) | Err(PoolError::ShutDown)));
    let ended = ContextPoolError::Ended(ContextError::DeadlineExceeded);
    assert_eq!(pool.wait(), Err(ended));
    assert_eq!(Arc::strong_count(&held), 1, "it was dropped");
}

#[test]
fn context_pool_refuses_tasks_of_who_waits_when_it_ends() {
    let (context, cancel) = background().with_cancel();
    let pool = Arc::new(ContextPool::<String>::new(&context, 1).unwrap());
    let (filled, is_full) = bounded(1);
    let adder = {
        let pool = Arc::clone(&pool);
        gaggle::go(move || {
            let wait = |context: &gaggle::context::Context| {
                context.done().recv().unwrap_err();
                Ok(())
            };
            // The worker's, the queue's, and the one that waits for room, or is about to.
            assert_eq!([pool.add(wait), pool.add(wait)], [Ok(()); 2]);
            filled.send(()).unwrap();
            pool.add(wait)
        })
    };
    is_full.recv().unwrap();
    cancel.cancel();
    assert_eq!(adder.join().unwrap(), Err(PoolError::ShutDown));
}

#[test]
fn context_pool_goes_on_with_a_panic() {
    let pool = ContextPool::<String>::new(&background(), 2).unwrap();
    pool.add(|context| {
        context.done().recv().unwrap_err();
        Ok(())
    })
    .unwrap();
    pool.add(|_| panic!("honk")).unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| pool.wait())).expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"honk"));
}

#[test]
fn dynamic_pool_refuses_empty_bounds() {
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for bounds in [0..=0, 3..=2] {
        assert_eq!(
            DynamicPool::<()>::new(bounds).unwrap_err(),
            PoolError::BadParams
        );
    }
    let no_room = DynamicPool::<()>::with(1..=2, 0, Duration::ZERO);
    assert_eq!(no_room.unwrap_err(), PoolError::BadParams);
}

#[test]
fn dynamic_pool_grows_with_its_queue_and_shrinks_when_idle() {
    let keep_alive = Duration::from_millis(2);
    let pool = DynamicPool::<()>::with(1..=4, 8, keep_alive).unwrap();
    assert_eq!(pool.workers(), 1);
    let (release, released) = unbuffered::<()>();
    let (started, starts) = bounded(12);
    for number in 1..=12 {
        let (started, released) = (started.clone(), released.clone());
        let task = move || {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        };
        pool.add(task).unwrap();
        if number <= 4 {
            // Each task that finds nobody idle has a worker of its own.
            starts.recv().unwrap();
            assert_eq!(pool.workers(), number);
        }
    }
    assert_eq!((pool.workers(), pool.queued()), (4, 8));
    for _ in 0..12 {
        release.send(()).unwrap();
    }
    // Down to the lower bound, and no further.
    until(|| pool.workers() == 1);
    let at_rest = Instant::now();
    while at_rest.elapsed() < 4 * keep_alive {
        assert_eq!(pool.workers(), 1);
        gaggle::yield_now();
    }
    pool.shutdown();
    assert_eq!(pool.workers(), 0);
}

#[test]
fn dynamic_pool_of_none_at_least_starts_for_a_task_and_ends_again() {
    let pool = DynamicPool::with(0..=2, 4, Duration::from_millis(1)).unwrap();
    assert_eq!(pool.workers(), 0);
    pool.add(|| Err("honk")).unwrap();
    assert_eq!(pool.results().next(), Some(TaskError::Failed("honk")));
    until(|| pool.workers() == 0);
    pool.add(|| Err("hiss")).unwrap();
    pool.shutdown();
    assert_eq!(pool.results().count(), 1);
    assert_eq!(pool.add(|| Ok(())), Err(PoolError::ShutDown));
}

#[test]
fn dynamic_pool_makes_those_who_add_too_many_wait() {
    let pool = DynamicPool::<()>::with(1..=1, 1, Duration::from_secs(60)).unwrap();
    let (release, released) = unbuffered::<()>();
    let (started, starts) = bounded(3);
    let task = move || {
        started.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    };
    pool.add(task.clone()).unwrap();
    starts.recv().unwrap();
    pool.add(task.clone()).unwrap();
    let adder = {
        let pool = pool.clone();
        gaggle::go(move || pool.add(task))
    };
    for _ in 0..10 {
        gaggle::yield_now();
        assert!(!adder.is_finished(), "the queue is full");
    }
    release.send(()).unwrap();
    assert_eq!(adder.join().unwrap(), Ok(()));
    for _ in 0..2 {
        release.send(()).unwrap();
    }
    pool.shutdown();
}

#[test]
fn dynamic_pool_runs_each_task_once_under_load() {
    const EACH: usize = 500;
    let pool = DynamicPool::with(0..=8, 16, Duration::from_micros(50)).unwrap();
    let feeders: Vec<_> = (0..4)
        .map(|number| {
            let pool = pool.clone();
            gaggle::go(move || {
                for index in 0..EACH {
                    pool.add(move || Err(number * EACH + index)).unwrap();
                    assert!(pool.workers() <= 8);
                }
            })
        })
        .collect();
    for feeder in feeders {
        feeder.join().unwrap();
    }
    pool.shutdown();
    each_failed_once(pool.results(), 4 * EACH);
}

#[test]
fn dynamic_pool_dropped_finishes_what_was_added() {
    let pool = DynamicPool::new(1..=2).unwrap();
    let results = pool.results();
    for number in 0..2 {
        pool.add(move || Err(number)).unwrap();
    }
    drop(pool);
    assert_eq!(results.count(), 2);
}
