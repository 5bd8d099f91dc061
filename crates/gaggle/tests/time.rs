//! `time`: sleeps last long enough, timers fire once or are stopped, never both.

use gaggle::time::{after_func, sleep};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Keeps the tests that start thousands of timers from running at the same time, as each looks at how many the
/// process has.
fn many_timers() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn sleep_lasts_as_long_as_asked_on_goroutines_and_os_threads() {
    const NAP: Duration = Duration::from_millis(5);
    let nap = || {
        let start = Instant::now();
        sleep(NAP);
        start.elapsed()
    };
    assert!(nap() >= NAP);
    assert!(gaggle::go(nap).join().unwrap() >= NAP);
}

#[test]
fn longest_sleep_does_not_end() {
    // There is no ending it either: the goroutine is left asleep.
    let sleeper = gaggle::go(|| sleep(Duration::MAX));
    sleep(Duration::from_millis(5));
    assert!(!sleeper.is_finished());
}

#[test]
fn function_runs_in_a_goroutine_not_before_its_time() {
    const DELAY: Duration = Duration::from_millis(5);
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    let timer = after_func(DELAY, move || {
        sender.send((start.elapsed(), gaggle::id())).unwrap()
    });
    let (elapsed, id) = receiver.recv().unwrap();
    assert!(elapsed >= DELAY);
    assert!(id.is_some());
    assert!(!timer.stop(), "it has fired");
}

#[test]
fn earlier_timer_started_later_fires_first() {
    let (sender, receiver) = mpsc::channel();
    let later = after_func(Duration::from_secs(3600), || unreachable!("stopped below"));
    after_func(Duration::from_millis(1), move || sender.send(()).unwrap());
    receiver.recv().unwrap();
    assert!(later.stop());
}

#[test]
fn stopped_timer_drops_its_function() {
    let value = Arc::new(());
    let kept = Arc::clone(&value);
    let timer = after_func(Duration::from_secs(3600), move || drop(kept));
    assert!(timer.stop());
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(!timer.stop());
}

#[test]
fn timer_whose_handle_is_gone_fires_all_the_same() {
    let (sender, receiver) = mpsc::channel();
    {
        let _timer = after_func(Duration::from_millis(1), move || sender.send(()).unwrap());
    }
    receiver.recv().unwrap();
}

#[test]
fn every_timer_either_fires_once_or_is_stopped() {
    const COUNT: usize = 300;
    let fired = Arc::new(AtomicUsize::new(0));
    let timers: Vec<_> = (0..COUNT)
        .map(|number| {
            let fired = Arc::clone(&fired);
            let delay = Duration::from_micros(number as u64 * 20);
            after_func(delay, move || {
                fired.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    // From the middle, while some fire and some wait.
    sleep(Duration::from_millis(2));
    let stopped = timers.iter().filter(|timer| timer.stop()).count();
    // Each function, run or not, is dropped in the end, and its counter with it.
    while Arc::strong_count(&fired) > 1 {
        gaggle::yield_now();
    }
    assert_eq!(fired.load(Ordering::SeqCst) + stopped, COUNT);
}

#[test]
fn timer_started_by_a_timer() {
    let (sender, receiver) = mpsc::channel();
    after_func(Duration::from_millis(1), move || {
        after_func(Duration::from_millis(1), move || sender.send(()).unwrap());
    });
    receiver.recv().unwrap();
}

#[test]
fn timer_that_was_stopped_or_has_fired_leaves_nothing_behind() {
    const COUNT: usize = 10_000;
    let _alone = many_timers();
    let late = Duration::from_secs(3600);
    let timers = |order: fn(usize) -> usize| {
        let all: Vec<_> = (0..COUNT)
            .map(|number| after_func(late + Duration::from_micros(number as u64), || ()))
            .collect();
        if gaggle::runtime::backend_name() == "green" {
            assert!(gaggle::testing::figures().pending_timers >= COUNT);
        }
        (0..COUNT).all(|number| all[order(number)].stop() && !all[order(number)].stop())
    };
    // The first due first, the last due first, and neither: each leaves the heap in another way.
    assert!(timers(|number| number));
    assert!(timers(|number| COUNT - 1 - number));
    assert!(timers(|number| number * 7919 % COUNT));
    let fired = Arc::new(AtomicUsize::new(0));
    for _ in 0..COUNT {
        let fired = Arc::clone(&fired);
        after_func(Duration::ZERO, move || {
            fired.fetch_add(1, Ordering::Relaxed);
        });
    }
    while Arc::strong_count(&fired) > 1 {
        gaggle::yield_now();
    }
    assert_eq!(fired.load(Ordering::Relaxed), COUNT);
    // Other tests of this process have a few hundred.
    assert!(gaggle::testing::figures().pending_timers < COUNT / 10);
}

#[test]
fn contexts_with_deadlines_that_are_dropped_leave_no_timer_behind() {
    const COUNT: usize = 5_000;
    let _alone = many_timers();
    let (parent, cancel) = gaggle::context::background().with_cancel();
    let late = Duration::from_secs(3600);
    for number in 0..COUNT {
        let (child, keep) = parent.with_timeout(late);
        match number % 3 {
            0 => keep.detach(),
            1 => drop(child),
            _ => keep.cancel(),
        }
    }
    assert!(gaggle::testing::figures().pending_timers < COUNT / 10);
    let children: Vec<_> = (0..COUNT).map(|_| parent.with_timeout(late)).collect();
    cancel.cancel();
    assert!(gaggle::testing::figures().pending_timers < COUNT / 10);
    drop(children);
}

#[test]
fn handle_of_a_timer_that_is_over_does_nothing_to_those_that_came_later() {
    let late = Duration::from_secs(3600);
    let old: Vec<_> = (0..100).map(|_| after_func(late, || ())).collect();
    assert!(old.iter().all(|timer| timer.stop()));
    // These may well have the records of those.
    let (sender, receiver) = mpsc::channel();
    let new: Vec<_> = (0..100)
        .map(|number| {
            let sender = sender.clone();
            after_func(late, move || sender.send(number).unwrap())
        })
        .collect();
    drop(sender);
    assert!(old.iter().all(|timer| !timer.stop()));
    assert!(old.iter().all(|timer| !timer.reset(Duration::ZERO)));
    assert!(new.iter().all(|timer| timer.reset(Duration::ZERO)));
    let mut ran: Vec<_> = receiver.iter().collect();
    ran.sort_unstable();
    assert!(ran.into_iter().eq(0..100));
}

#[test]
fn stops_and_resets_from_many_goroutines_run_each_function_once_or_never() {
    const COUNT: usize = 2_000;
    let _alone = many_timers();
    let late = Duration::from_secs(3600);
    let fired: Arc<Vec<AtomicUsize>> = Arc::new((0..COUNT).map(|_| AtomicUsize::new(0)).collect());
    let timers: Arc<Vec<_>> = Arc::new(
        (0..COUNT)
            .map(|number| {
                let fired = Arc::clone(&fired);
                after_func(late, move || {
                    fired[number].fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect(),
    );
    // Each is stopped by one, moved to now by another and to later by a third, in different orders.
    let workers: Vec<_> = (0..3usize)
        .map(|worker| {
            let timers = Arc::clone(&timers);
            gaggle::go(move || {
                let mut stopped = Vec::new();
                for step in 0..COUNT {
                    let number = (step * 7919 + worker * 31) % COUNT;
                    let timer = &timers[number];
                    match worker {
                        0 if timer.stop() => stopped.push(number),
                        1 => drop(timer.reset(Duration::ZERO)),
                        2 => drop(timer.reset(late * 2)),
                        _ => {}
                    }
                }
                stopped
            })
        })
        .collect();
    let stopped: Vec<usize> = workers
        .into_iter()
        .flat_map(|worker| worker.join().unwrap())
        .collect();
    for timer in timers.iter() {
        // What is left, moved to later as the last, is stopped or has just fired.
        timer.stop();
    }
    while Arc::strong_count(&fired) > 1 {
        gaggle::yield_now();
    }
    for number in 0..COUNT {
        let runs = fired[number].load(Ordering::Relaxed);
        assert!(runs <= 1);
        assert!(runs == 0 || !stopped.contains(&number));
    }
}
