//! Waits under `Context::run`: they end with the context, and leave everything fit for use.

use crate::{Where, everywhere, until, until_waiting};
use gaggle::chan::bounded;
use gaggle::context::{Cancel, Context, ContextError, background};
use gaggle::group::Group;
use gaggle::pool::{DynamicPool, PoolError, WorkerPool};
use gaggle::sync::{
    Barrier, Condvar, Mutex, Once, OnceLock, RwLock, Semaphore, SingleFlight, WaitGroup,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A wait that has begun under a context of its own: what it answers, or the text of its panic.
struct Waiting<T> {
    task: crate::Task<Result<T, String>>,
    cancel: Cancel,
}

impl<T: Send + 'static> Waiting<T> {
    fn begin(place: Where, wait: impl FnOnce(&Context) -> T + Send + 'static) -> Self {
        let (context, cancel) = background().with_cancel();
        let task = place.go(move || {
            let run = AssertUnwindSafe(|| context.run(|| wait(&context)));
            catch_unwind(run).map_err(|payload| {
                let text = payload.downcast_ref::<String>();
                text.expect("the panic says why").clone()
            })
        });
        Waiting { task, cancel }
    }

    /// Cancels, and answers what came of the wait.
    fn end(self) -> Result<T, String> {
        self.cancel.cancel();
        self.task.join().expect("its panic was caught")
    }

    /// Cancels; the wait must have ended by a panic that says why.
    fn must_panic(self) {
        let text = self.end().err().expect("it cannot answer an error");
        assert!(text.contains("context canceled"), "{text}");
    }
}

#[test]
fn wait_for_a_mutex_ends_and_takes_nothing() {
    everywhere(|place| {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock();
        let theirs = Arc::clone(&mutex);
        let plain = Waiting::begin(place, move |_| *theirs.lock() += 1);
        until_waiting(&mutex, 1);
        plain.must_panic();
        let theirs = Arc::clone(&mutex);
        let timed = Waiting::begin(place, move |_| theirs.lock_timeout(Duration::MAX).is_none());
        until_waiting(&mutex, 1);
        assert_eq!(timed.end(), Ok(true));
        let theirs = Arc::clone(&mutex);
        let other = Waiting::begin(place, move |_| {
            theirs.lock_context(&background()).map(|_| ())
        });
        until_waiting(&mutex, 1);
        assert_eq!(other.end(), Ok(Err(ContextError::Canceled)));
        drop(guard);
        assert_eq!(*mutex.try_lock().expect("nobody has it"), 0);
    });
}

#[test]
fn waits_to_read_and_to_write_end_and_let_the_others_in() {
    everywhere(|place| {
        let lock = Arc::new(RwLock::new(0));
        let reading = lock.read();
        let theirs = Arc::clone(&lock);
        let writer = Waiting::begin(place, move |_| *theirs.write() += 1);
        until_waiting(&lock, 1);
        let theirs = Arc::clone(&lock);
        let reader = place.go(move || *theirs.read());
        until_waiting(&lock, 2);
        writer.must_panic();
        assert_eq!(reader.join().unwrap(), 0);
        drop(reading);
        let writing = lock.write();
        let theirs = Arc::clone(&lock);
        let reader = Waiting::begin(place, move |_| *theirs.read());
        until_waiting(&lock, 1);
        reader.must_panic();
        drop(writing);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn wait_for_a_notification_ends_with_the_mutex_taken_and_given_up_once() {
    everywhere(|place| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let (running, runs) = bounded(1);
        let begin = |wait: fn(&Condvar, &mut gaggle::sync::MutexGuard<'_, u32>) -> bool| {
            let (shared, running) = (Arc::clone(&shared), running.clone());
            Waiting::begin(place, move |_| {
                let mut guard = shared.0.lock();
                running.send(()).unwrap();
                let outcome = wait(&shared.1, &mut guard);
                *guard += 1;
                outcome
            })
        };
        let plain = begin(|change, guard| {
            change.wait(guard);
            true
        });
        runs.recv().unwrap();
        drop(shared.0.lock());
        plain.must_panic();
        assert_eq!(*shared.0.try_lock().expect("the guard was dropped"), 0);
        let timed = begin(|change, guard| change.wait_timeout(guard, Duration::MAX));
        runs.recv().unwrap();
        drop(shared.0.lock());
        assert_eq!(timed.end(), Ok(false));
        assert_eq!(*shared.0.try_lock().expect("the guard was dropped"), 1);
    });
}

#[test]
fn who_leaves_a_barrier_is_no_longer_counted() {
    everywhere(|place| {
        let barrier = Arc::new(Barrier::new(2));
        let arrived = Arc::new(AtomicUsize::new(0));
        let (theirs, counted) = (Arc::clone(&barrier), Arc::clone(&arrived));
        let waiting = Waiting::begin(place, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            theirs.wait();
        });
        until(|| arrived.load(Ordering::Relaxed) == 1);
        waiting.must_panic();
        let others = place.go_all(2, |_| {
            let barrier = Arc::clone(&barrier);
            move || barrier.wait().is_leader()
        });
        let led = crate::join_all(others);
        assert_eq!(led.into_iter().filter(|led| *led).count(), 1);
    });
}

#[test]
fn wait_for_a_wait_group_ends_and_the_others_are_released_by_the_last_done() {
    everywhere(|place| {
        let group = WaitGroup::new();
        group.add(1);
        let theirs = group.clone();
        let patient = place.go(move || theirs.wait());
        until_waiting(&group, 1);
        let theirs = group.clone();
        let plain = Waiting::begin(place, move |_| theirs.wait());
        until_waiting(&group, 2);
        plain.must_panic();
        let theirs = group.clone();
        let timed = Waiting::begin(place, move |_| theirs.wait_timeout(Duration::MAX));
        until_waiting(&group, 2);
        assert_eq!(timed.end(), Ok(false));
        let theirs = group.clone();
        let other = Waiting::begin(place, move |_| theirs.wait_context(&background()));
        until_waiting(&group, 2);
        assert_eq!(other.end(), Ok(Err(ContextError::Canceled)));
        until_waiting(&group, 1);
        assert!(!patient.is_finished());
        group.done();
        patient.join().unwrap();
        // It can be used again: nobody is counted who has left.
        group.add(1);
        group.done();
        group.wait();
    });
}

#[test]
fn ends_that_race_the_last_done_lose_no_waiter() {
    everywhere(|place| {
        for _ in 0..200 {
            let group = WaitGroup::new();
            group.add(1);
            let tasks = place.go_all(3, |_| {
                let group = group.clone();
                move || group.wait()
            });
            let theirs = group.clone();
            let hasty = Waiting::begin(place, move |context| {
                theirs.wait_context(context).is_ok() && theirs.wait_context(context).is_ok()
            });
            let theirs = group.clone();
            let last = place.go(move || theirs.done());
            assert!(hasty.end().is_ok());
            last.join().unwrap();
            crate::join_all(tasks);
        }
    });
}

#[test]
fn wait_for_a_group_ends_and_its_goroutines_go_on() {
    everywhere(|place| {
        let (release, released) = bounded::<()>(1);
        let group = Group::<String>::new().limit(1);
        group.go(move || {
            released.recv().unwrap();
            Err("late".to_owned())
        });
        let theirs = group.clone();
        Waiting::begin(place, move |_| theirs.wait()).must_panic();
        let theirs = group.clone();
        Waiting::begin(place, move |_| theirs.go(|| Ok(()))).must_panic();
        let theirs = group.clone();
        let other = Waiting::begin(place, move |_| theirs.wait_context(&background()));
        assert_eq!(other.end(), Ok(Err(ContextError::Canceled)));
        release.send(()).unwrap();
        assert_eq!(group.wait(), Err("late".to_owned()));
    });
}

#[test]
fn waits_for_a_pools_end_and_room_end_and_its_tasks_go_on() {
    everywhere(|place| {
        let (release, released) = bounded::<()>(4);
        let fixed = WorkerPool::<()>::new(1).unwrap();
        let growing = DynamicPool::<()>::with(1..=1, 1, Duration::MAX).unwrap();
        fixed.run();
        let (begun, has_begun) = bounded(4);
        let task = move || {
            begun.send(()).unwrap();
            released.recv().map_err(|_closed| ())
        };
        fixed.add(task.clone()).unwrap();
        growing.add(task.clone()).unwrap();
        for _ in 0..2 {
            has_begun.recv().unwrap();
        }
        // One runs, one waits, each pool is full.
        fixed.add(task.clone()).unwrap();
        growing.add(task.clone()).unwrap();
        let (theirs, third) = (fixed.clone(), task.clone());
        let added = Waiting::begin(place, move |_| theirs.add(third));
        assert_eq!(added.end(), Ok(Err(PoolError::ShutDown)));
        let theirs = growing.clone();
        Waiting::begin(place, move |_| theirs.add(task)).must_panic();
        let theirs = fixed.clone();
        Waiting::begin(place, move |_| theirs.shutdown()).must_panic();
        let theirs = growing.clone();
        Waiting::begin(place, move |_| theirs.shutdown()).must_panic();
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        fixed.shutdown();
        growing.shutdown();
        assert_eq!(fixed.results().chain(growing.results()).count(), 0);
    });
}

#[test]
fn wait_for_a_scopes_limit_ends_and_its_goroutines_are_waited_for() {
    everywhere(|place| {
        let (release, released) = bounded::<()>(1);
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ended);
        let waiting = Waiting::begin(place, move |context| {
            gaggle::scope_with_limit(1, |scope| {
                let counted = &counted;
                scope.go(move || {
                    released.recv().unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                });
                let refused = gaggle::Builder::new().spawn_scoped(scope, || ());
                let error = refused.expect_err("the context ends first");
                let source = error.get_ref().and_then(|e| e.downcast_ref());
                assert_eq!(source, context.err().as_ref());
                let refused = catch_unwind(AssertUnwindSafe(|| drop(scope.go(|| ()))));
                let payload = refused.expect_err("it has no error to answer");
                let text = payload.downcast_ref::<String>().expect("a text");
                assert!(text.contains("context canceled"), "{text}");
                // The wait for the end of the scope is not ended.
                release.send(()).unwrap();
            });
        });
        assert_eq!(waiting.end(), Ok(()));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn wait_for_permits_ends_and_those_behind_are_served() {
    everywhere(|place| {
        let semaphore = Semaphore::new(2);
        let permit = semaphore.acquire(1);
        let theirs = semaphore.clone();
        let large = Waiting::begin(place, move |_| drop(theirs.acquire(2)));
        let theirs = semaphore.clone();
        let other = Waiting::begin(place, move |_| {
            theirs.acquire_context(&background(), 2).map(drop)
        });
        let theirs = semaphore.clone();
        let small = place.go(move || drop(theirs.acquire(1)));
        large.must_panic();
        assert_eq!(other.end(), Ok(Err(ContextError::Canceled)));
        small.join().unwrap();
        drop(permit);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn who_waits_for_anothers_run_of_a_once_gives_up_alone() {
    everywhere(|place| {
        let (release, released) = bounded::<()>(1);
        let (begun, has_begun) = bounded(1);
        let once = Arc::new(Once::new());
        let theirs = Arc::clone(&once);
        let runner = place.go(move || {
            theirs.call_once(|| {
                begun.send(()).unwrap();
                released.recv().unwrap();
            });
        });
        has_begun.recv().unwrap();
        let theirs = Arc::clone(&once);
        Waiting::begin(place, move |_| theirs.call_once(|| unreachable!())).must_panic();
        assert!(!once.is_completed());
        release.send(()).unwrap();
        runner.join().unwrap();
        assert!(once.is_completed());
    });
}

#[test]
fn who_waits_for_anothers_value_or_call_gives_up_alone() {
    everywhere(|place| {
        let (release, released) = bounded::<()>(2);
        let (lock, flights) = (Arc::new(OnceLock::new()), SingleFlight::new());
        let (begun, has_begun) = bounded(2);
        let makers = {
            let (lock, flights, released) = (Arc::clone(&lock), flights.clone(), released.clone());
            let make = move || {
                begun.send(()).unwrap();
                released.recv().unwrap();
                7
            };
            let other = make.clone();
            [
                place.go(move || *lock.get_or_init(make)),
                place.go(move || flights.run("key", other).value),
            ]
        };
        for _ in 0..2 {
            has_begun.recv().unwrap();
        }
        let theirs = Arc::clone(&lock);
        let value = Waiting::begin(place, move |_| *theirs.get_or_init(|| 8));
        let theirs = flights.clone();
        let flight = Waiting::begin(place, move |_| theirs.run("key", || 8).value);
        value.must_panic();
        flight.must_panic();
        for _ in 0..2 {
            release.send(()).unwrap();
        }
        for maker in makers {
            assert_eq!(maker.join().unwrap(), 7);
        }
        assert_eq!(lock.get(), Some(&7));
    });
}

#[test]
fn what_needs_no_waiting_is_done_under_an_ended_context() {
    let (context, cancel) = background().with_cancel();
    cancel.cancel();
    context.run(|| {
        let mutex = Mutex::new(1);
        *mutex.lock() += 1;
        assert_eq!(*mutex.lock(), 2);
        let lock = RwLock::new(1);
        *lock.write() += 1;
        assert_eq!(*lock.read(), 2);
        assert_eq!(SingleFlight::new().run("key", || 1).value, 1);
        assert_eq!(OnceLock::new().get_or_init(|| 1), &1);
    });
}
