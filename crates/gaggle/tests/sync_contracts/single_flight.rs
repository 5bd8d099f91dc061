//! The cases of `golang.org/x/sync/singleflight`.

use crate::{Task, Where, everywhere, join_all, until};
use gaggle::chan::{Sender, bounded, unbuffered};
use gaggle::context::{ContextError, background};
use gaggle::sync::{Flight, SingleFlight};
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// A call for "key" that has begun, and ends once it is told to.
struct InFlight<V> {
    caller: Task<Flight<V>>,
    land: Sender<()>,
}

impl<V: Clone + Send + 'static> InFlight<V> {
    /// Begins one, which will end with `answer`.
    fn begin(
        place: Where,
        flights: &SingleFlight<&'static str, V>,
        answer: impl FnOnce() -> V + Send + 'static,
    ) -> Self {
        let (started, has_started) = unbuffered();
        let (land, may_land) = bounded(1);
        let flights = flights.clone();
        let caller = place.go(move || {
            flights.run("key", move || {
                started.send(()).unwrap();
                may_land.recv().unwrap();
                answer()
            })
        });
        has_started.recv().unwrap();
        InFlight { caller, land }
    }

    /// Lets it end, and answers what came of it.
    fn land(self) -> std::thread::Result<Flight<V>> {
        self.land.send(()).unwrap();
        self.caller.join()
    }
}

/// Lets others run until so many have joined the calls in flight.
fn until_joined<V>(flights: &SingleFlight<&'static str, V>, count: usize) {
    until(|| format!("{flights:?}").contains(&format!("joined: {count}")));
}

#[test]
fn those_who_ask_while_it_flies_share_one_call() {
    everywhere(|place| {
        const OTHERS: usize = 9;
        let flights = SingleFlight::new();
        let first = InFlight::begin(place, &flights, || "bar");
        let others = place.go_all(OTHERS, |_| {
            let flights = flights.clone();
            move || flights.run("key", || unreachable!("one flies for all"))
        });
        until_joined(&flights, OTHERS);
        let mut flown = vec![first.land().unwrap()];
        flown.extend(join_all(others));
        assert_eq!(flown.len(), OTHERS + 1);
        let shared = Flight {
            value: "bar",
            is_shared: true,
        };
        assert!(flown.iter().all(|flight| *flight == shared));
    });
}

#[test]
fn caller_that_joins_for_certain_shares_the_one_call() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let first = InFlight::begin(place, &flights, || 1);
        // Joins before it returns, so the call cannot have landed.
        let joined = flights.run_channel("key", || 2);
        let (first, joined) = (first.land().unwrap(), joined.recv().unwrap());
        assert_eq!((first.value, joined.value), (1, 1));
        assert!(first.is_shared && joined.is_shared);
    });
}

#[test]
fn forgotten_call_lands_for_its_own_and_the_next_starts_anew() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let first = InFlight::begin(place, &flights, || 1);
        flights.forget(&"key");
        let (second_land, second_may_land) = unbuffered::<()>();
        let second = flights.run_channel("key", move || {
            second_may_land.recv().unwrap();
            2
        });
        assert_eq!(first.land().unwrap().value, 1);
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
        let first = InFlight::begin(place, &flights, || panic!("invalid memory address"));
        let by_channel = flights.run_channel("key", || 2);
        let theirs = flights.clone();
        let second = place.go(move || theirs.run("other", || 1));
        let payload = first.land().expect_err("it panicked");
        let text = payload.downcast_ref::<&str>();
        assert_eq!(text, Some(&"invalid memory address"));
        assert!(by_channel.recv().is_err(), "closed without a value");
        let second = second.join().expect("another key is not concerned");
        assert_eq!(second.value, 1);
        assert_eq!(flights.run("key", || 3).value, 3, "the next is not either");
    });
}

#[test]
fn panic_says_its_text_to_those_who_waited() {
    everywhere(|place| {
        let flights = SingleFlight::<_, u32>::new();
        let first = InFlight::begin(place, &flights, || panic!("the text"));
        let theirs = flights.clone();
        let waiter = place.go(move || theirs.run("key", || 9));
        until_joined(&flights, 1);
        assert!(first.land().is_err());
        let payload = waiter.join().expect_err("it shares the panic");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.contains("the text"), "{text}");
    });
}

#[test]
fn wait_ends_with_its_context_and_the_call_goes_on() {
    everywhere(|place| {
        let flights = SingleFlight::new();
        let (land, may_land) = unbuffered::<()>();
        let (context, cancel) = background().with_cancel();
        let theirs = flights.clone();
        let waiter = place.go(move || {
            theirs.run_context(&context, "key", move || {
                may_land.recv().unwrap();
                7
            })
        });
        until(|| format!("{flights:?}").contains("in_flight: 1"));
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
