//! `time`: sleeps last long enough, timers fire once or are stopped, never both.

use gaggle::time::{after_func, sleep};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

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
