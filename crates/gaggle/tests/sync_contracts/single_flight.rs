//! The cases of `golang.org/x/sync/singleflight`.

use crate::{everywhere, join_all, until};
use gaggle::chan::{bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::sync::SingleFlight;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn call_answers_what_its_function_answers() {
    let flights = SingleFlight::new();
    let flight = flights.run("key", || "bar");
    assert_eq!((flight.value, flight.is_shared), ("bar", false));
}

#[test]
fn call_that_fails_answers_its_error() {
    let flights = SingleFlight::<_, Result<u32, &str>>::new();
    assert_eq!(flights.run("key", || Err("no")).value, Err("no"));
    assert_eq!(flights.run("key", || Ok(1)).value, Ok(1), "nothing is kept");
}

#[test]
fn those_who_ask_while_it_flies_share_one_call() {
    everywhere(|place| {
        const CALLERS: usize = 10;
        let (flights, calls) = (SingleFlight::new(), Arc::new(AtomicUsize::new(0)));
        let (land, may_land) = bounded::<()>(1);
        let arrived = Arc::new(AtomicUsize::new(0));
        let tasks = place.go_all(CALLERS, |_| {
            let (flights, calls) = (flights.clone(), Arc::clone(&calls));
            let (may_land, arrived) = (may_land.clone(), Arc::clone(&arrived));
            move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                flights.run("key", || {
                    calls.fetch_add(1, Ordering::Relaxed);
                    may_land.recv().unwrap();
                    "bar"
                })
            }
        });
        until(|| arrived.load(Ordering::Relaxed) == CALLERS);
        until(|| calls.load(Ordering::Relaxed) == 1);
        // Whoever comes after the landing makes a call of its own, which needs a token too.
        let mut given = 0;
        while tasks.iter().any(|task| !task.is_finished()) {
            if land.try_send(()).is_ok() {
                given += 1;
            }
            gaggle::yield_now();
        }
        let flown = join_all(tasks);
        assert!(flown.iter().all(|flight| flight.value == "bar"));
        let calls = calls.load(Ordering::Relaxed);
        assert!((1..=CALLERS).contains(&calls) && given >= calls);
    });
}

#[test]
fn caller_that_joins_for_certain_shares_the_one_call() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let (started, has_started) = unbuffered();
        let (land, may_land) = unbuffered::<()>();
        let first = {
            let flights = flights.clone();
            place.go(move || {
                flights.run("key", move || {
                    started.send(()).unwrap();
                    may_land.recv().unwrap();
                    1
                })
            })
        };
        has_started.recv().unwrap();
        // Joins before it returns, so the call cannot have landed.
        let joined = flights.run_channel("key", || 2);
        land.send(()).unwrap();
        let (first, joined) = (first.join().unwrap(), joined.recv().unwrap());
        assert_eq!((first.value, joined.value), (1, 1));
        assert!(first.is_shared && joined.is_shared);
    });
}

#[test]
fn forgotten_call_lands_for_its_own_and_the_next_starts_anew() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let (started, has_started) = unbuffered();
        let (land, may_land) = unbuffered::<()>();
        let first = {
            let flights = flights.clone();
            place.go(move || {
                flights.run("key", move || {
                    started.send(()).unwrap();
                    may_land.recv().unwrap();
                    1
                })
            })
        };
        has_started.recv().unwrap();
        flights.forget(&"key");
        let (second_land, second_may_land) = unbuffered::<()>();
        let second = flights.run_channel("key", move || {
            second_may_land.recv().unwrap();
            2
        });
        land.send(()).unwrap();
        assert_eq!(first.join().unwrap().value, 1);
        // The first has landed without taking the second's place.
        let third = flights.run_channel("key", || 3);
        second_land.send(()).unwrap();
        assert_eq!(second.recv().unwrap().value, 2);
        assert_eq!(third.recv().unwrap().value, 2);
    });
}

#[test]
fn answer_comes_by_a_channel() {
    let flights = SingleFlight::new();
    assert_eq!(
        flights.run_channel("key", || "bar").recv().unwrap().value,
        "bar"
    );
}

#[test]
fn panic_comes_to_all_who_share_the_call() {
    everywhere(|place| {
        let flights = SingleFlight::<_, u32>::new();
        let (started, has_started) = unbuffered();
        let (land, may_land) = unbuffered::<()>();
        let first = {
            let flights = flights.clone();
            place.go(move || {
                flights.run("key", move || {
                    started.send(()).unwrap();
                    may_land.recv().unwrap();
                    panic!("invalid memory address")
                })
            })
        };
        has_started.recv().unwrap();
        let by_channel = flights.run_channel("key", || 2);
        let second = {
            let flights = flights.clone();
            place.go(move || flights.run("other", || 1))
        };
        land.send(()).unwrap();
        let payload = first.join().expect_err("it panicked");
        let text = payload.downcast_ref::<&str>();
        assert_eq!(text, Some(&"invalid memory address"));
        assert!(by_channel.recv().is_err(), "closed without a value");
        assert_eq!(
            second.join().unwrap().value,
            1,
            "another key is not concerned"
        );
        assert_eq!(flights.run("key", || 3).value, 3, "the next is not either");
    });
}

#[test]
fn panic_says_its_text_to_those_who_waited() {
    everywhere(|place| {
        let flights = SingleFlight::<_, u32>::new();
        let (started, has_started) = unbuffered();
        let (land, may_land) = unbuffered::<()>();
        let first = flights.run_channel("key", move || {
            started.send(()).unwrap();
            may_land.recv().unwrap();
            panic!("the text")
        });
        has_started.recv().unwrap();
        let (arrived, has_arrived) = unbuffered();
        let waiter = place.go(move || {
            arrived.send(()).unwrap();
            flights.run("key", || 9).value
        });
        has_arrived.recv().unwrap();
        // Far longer than the way from the send to the call.
        std::thread::sleep(Duration::from_millis(20));
        land.send(()).unwrap();
        assert!(first.recv().is_err());
        match waiter.join() {
            // On a machine that slept for so long it has come late, and flown itself.
            Ok(value) => assert_eq!(value, 9),
            Err(payload) => {
                let text = payload.downcast_ref::<String>().expect("a text");
                assert!(text.contains("the text"), "{text}");
            }
        }
    });
}

#[test]
fn wait_ends_with_its_context_and_the_call_goes_on() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let (land, may_land) = unbuffered::<()>();
        let (context, cancel) = background().with_cancel();
        let waiter = {
            let (flights, context) = (flights.clone(), context.clone());
            place.go(move || {
                flights.run_context(&context, "key", move || {
                    may_land.recv().unwrap();
                    7
                })
            })
        };
        until(|| format!("{flights:?}").contains('1'));
        let other = flights.run_channel("key", || 8);
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), Err(ContextError::Canceled));
        land.send(()).unwrap();
        assert_eq!(other.recv().unwrap().value, 7);
    });
}

#[test]
fn panic_of_the_only_caller_is_its_own() {
    let flights = SingleFlight::<_, u32>::new();
    let caught = catch_unwind(AssertUnwindSafe(|| flights.run("key", || panic!("mine"))));
    let payload = caught.expect_err("it panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"mine"));
    assert_eq!(flights.run("key", || 1).value, 1);
}
