//! `rate::Limiter`: the bucket's arithmetic, reservations that are given back, and waiting.

use gaggle::context::{ContextError, background};
use gaggle::rate::{Limit, Limiter, WaitError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// One event an hour: none comes while a test runs.
fn hourly(burst: usize) -> Limiter {
    Limiter::new(Limit::every(HOUR), burst)
}

#[test]
fn burst_is_allowed_and_no_more() {
    let limiter = hourly(3);
    assert!(limiter.allow_many(2));
    assert!(!limiter.allow_many(2), "all or none");
    assert!(limiter.allow());
    assert!(!limiter.allow());
    assert!(limiter.allow_many(0), "nothing needs no token");
}

#[test]
fn tokens_come_with_time_up_to_the_burst() {
    let limiter = Limiter::new(Limit::every(Duration::from_millis(2)), 2);
    assert!(limiter.allow_many(2));
    let begun = Instant::now();
    while !limiter.allow() {
        gaggle::yield_now();
    }
    assert!(begun.elapsed() >= Duration::from_millis(1));
    gaggle::time::sleep(Duration::from_millis(20));
    assert!(limiter.allow_many(2));
    assert!(limiter.tokens() < 2.0, "ten were due, the bucket holds two");
}

#[test]
fn infinite_limit_allows_everything_without_a_burst() {
    let limiter = Limiter::new(Limit::INFINITE, 0);
    assert!(limiter.allow_many(1_000_000));
    assert!(limiter.reserve_many(1_000).unwrap().delay().is_zero());
    assert_eq!(limiter.wait_many(&background(), 1_000), Ok(()));
    assert_eq!(Limit::every(Duration::ZERO), Limit::INFINITE);
}

#[test]
fn limit_of_zero_allows_the_burst_and_then_nothing() {
    let limiter = Limiter::new(Limit::per_second(0.0), 2);
    assert!(limiter.allow_many(2));
    assert!(!limiter.allow());
    assert!(limiter.reserve().is_none(), "no token ever comes");
    assert_eq!(limiter.wait(&background()), Err(WaitError::ExceedsDeadline));
}

#[test]
fn burst_of_zero_allows_nothing() {
    let limiter = Limiter::new(Limit::per_second(1e9), 0);
    assert!(!limiter.allow());
    assert!(limiter.reserve().is_none());
    assert_eq!(limiter.wait(&background()), Err(WaitError::ExceedsBurst));
}

#[test]
#[should_panic(expected = "zero or more")]
fn negative_limit_panics() {
    let _ = Limit::per_second(-1.0);
}

#[test]
fn reservations_queue_up_behind_each_other() {
    let limiter = hourly(2);
    let delays: Vec<_> = (0..4).map(|_| limiter.reserve().unwrap().delay()).collect();
    assert_eq!(delays[..2], [Duration::ZERO; 2]);
    let near = |delay: Duration, hours: u32| {
        delay <= HOUR * hours && delay > HOUR * hours - Duration::from_secs(60)
    };
    assert!(near(delays[2], 1), "{delays:?}");
    assert!(near(delays[3], 2), "{delays:?}");
    assert!(limiter.tokens() < -1.9);
    assert!(limiter.reserve_many(3).is_none(), "more than the burst");
}

#[test]
fn cancelled_reservation_gives_back_what_nobody_counts_on() {
    let limiter = hourly(1);
    assert!(limiter.allow());
    let last = limiter.reserve().unwrap();
    last.cancel();
    assert!(limiter.tokens() > -0.1, "the last one gives all back");

    let first = limiter.reserve().unwrap();
    let second = limiter.reserve().unwrap();
    first.cancel();
    // The second keeps its time, two hours ahead, so the first one's token is not there again.
    assert!(limiter.tokens() < -1.9);
    assert!(second.delay() > HOUR);
    second.cancel();
    assert!(limiter.tokens() > -1.1);
}

#[test]
fn reservation_whose_time_has_come_gives_nothing_back() {
    let limiter = hourly(1);
    let now = limiter.reserve().unwrap();
    gaggle::time::sleep(Duration::from_millis(1));
    now.cancel();
    assert!(!limiter.allow());
}

#[test]
fn cancel_never_fills_the_bucket_above_the_burst() {
    let limiter = hourly(2);
    assert!(limiter.allow_many(2));
    let reservation = limiter.reserve_many(2).unwrap();
    limiter.set_burst(1);
    reservation.cancel();
    assert!(limiter.tokens() <= 1.0);
}

#[test]
fn new_limit_counts_from_now_on() {
    let limiter = hourly(1);
    assert!(limiter.allow());
    limiter.set_limit(Limit::INFINITE);
    assert!(limiter.allow_many(1_000));
    limiter.set_limit(Limit::every(Duration::from_nanos(1)));
    while !limiter.allow() {
        gaggle::yield_now();
    }
    assert_eq!(limiter.limit(), Limit::every(Duration::from_nanos(1)));
    assert_eq!(limiter.burst(), 1);
}

#[test]
fn wait_refuses_at_once_what_the_context_has_no_time_for() {
    let limiter = hourly(1);
    assert_eq!(limiter.wait(&background()), Ok(()));
    let (context, _cancel) = background().with_timeout(HOUR / 2);
    assert_eq!(limiter.wait(&context), Err(WaitError::ExceedsDeadline));
    assert!(limiter.tokens() > -0.1, "it has taken nothing");
    assert_eq!(
        limiter.wait_many(&background(), 2),
        Err(WaitError::ExceedsBurst)
    );
}

#[test]
fn wait_under_an_ended_context_takes_nothing() {
    let limiter = hourly(1);
    let (context, cancel) = background().with_cancel();
    drop(cancel);
    let ended = Err(WaitError::Ended(ContextError::Canceled));
    assert_eq!(limiter.wait(&context), ended);
    assert!(limiter.allow());
}

#[test]
fn cancelled_wait_gives_its_token_back() {
    let limiter = Arc::new(hourly(1));
    assert!(limiter.allow());
    for under in [false, true] {
        let (context, cancel) = background().with_cancel();
        let waiting = Arc::clone(&limiter);
        let waiter = gaggle::go(move || {
            if under {
                context.run(|| waiting.wait(&background()))
            } else {
                waiting.wait(&context)
            }
        });
        while limiter.tokens() > -0.5 {
            gaggle::yield_now();
        }
        cancel.cancel();
        let ended = Err(WaitError::Ended(ContextError::Canceled));
        assert_eq!(waiter.join().unwrap(), ended);
        assert!(limiter.tokens() > -0.1);
    }
}

#[test]
fn waiting_goroutines_are_spaced_out() {
    const COUNT: usize = 10;
    let interval = Duration::from_millis(1);
    let limiter = Arc::new(Limiter::new(Limit::every(interval), 1));
    let begun = Instant::now();
    let waiters: Vec<_> = (0..COUNT)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            gaggle::go(move || {
                limiter.wait(&background()).unwrap();
                begun.elapsed()
            })
        })
        .collect();
    let mut times: Vec<_> = waiters
        .into_iter()
        .map(|waiter| waiter.join().unwrap())
        .collect();
    times.sort_unstable();
    for (place, time) in times.iter().enumerate() {
        // A little less for the rounding of a tenth of a nanosecond here and there.
        let earliest = interval * place as u32;
        assert!(*time + Duration::from_micros(1) >= earliest, "{times:?}");
    }
}

#[test]
fn simultaneous_requests_take_the_burst_once() {
    let (limiter, allowed) = (hourly(100), AtomicUsize::new(0));
    gaggle::scope(|scope| {
        for _ in 0..8 {
            scope.go(|| {
                for _ in 0..100 {
                    // Relaxed: read after the scope.
                    allowed.fetch_add(usize::from(limiter.allow()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(allowed.into_inner(), 100);
}
