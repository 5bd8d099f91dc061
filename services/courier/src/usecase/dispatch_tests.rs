//! The dispatcher and the intake over an outbox in memory and a receiver that is a closure.

use super::*;
use crate::domain::address::AddressPolicy;
use crate::domain::delivery::{AttemptOutcome, DeliveryState};
use crate::domain::identifier::EndpointId;
use crate::domain::message::{MessageError, NewMessage};
use crate::usecase::intake::{EndpointError, Intake, PublishError};
use crate::usecase::memory::MemoryOutbox;
use crate::usecase::ports::{Refusal, SystemClock};
use std::sync::mpsc;

type Receive = dyn Fn(&Claim) -> u16 + Send + Sync;

struct ClosureSender(Box<Receive>);

impl Sender for ClosureSender {
    fn send(&self, claim: &Claim, message: &str, _: UnixMilliseconds) -> AttemptOutcome {
        assert!(message.starts_with("msg_"));
        AttemptOutcome::Answered {
            status: (self.0)(claim),
            retry_after_milliseconds: None,
        }
    }
}

struct Rig {
    intake: Intake,
    dispatcher: Arc<Dispatcher>,
    outbox: Arc<MemoryOutbox>,
    counters: Arc<Counters>,
}

fn rig(workers: usize, receive: impl Fn(&Claim) -> u16 + Send + Sync + 'static) -> Rig {
    let outbox = Arc::new(MemoryOutbox::default());
    let counters = Arc::new(Counters::default());
    let bell = Arc::new(Bell::default());
    let clock = Arc::new(SystemClock);
    let policy = AddressPolicy::new(Vec::new(), true);
    let settings = DispatchSettings {
        workers,
        lease: Duration::from_secs(60),
        retry: RetryPolicy {
            base_milliseconds: 1,
            cap_milliseconds: 2,
            attempts_max: 3,
        },
    };
    Rig {
        intake: Intake::new(
            outbox.clone(),
            clock.clone(),
            counters.clone(),
            bell.clone(),
            policy,
            100,
        ),
        dispatcher: Dispatcher::new(
            outbox.clone(),
            Arc::new(ClosureSender(Box::new(receive))),
            clock,
            counters.clone(),
            bell,
            settings,
        ),
        outbox,
        counters,
    }
}

fn message(endpoint: EndpointId, key: Option<&str>, payload: &str) -> NewMessage {
    NewMessage {
        endpoints: vec![endpoint],
        event_type: "test".into(),
        ordering_key: key.map(str::to_owned),
        payload: payload.as_bytes().to_vec(),
        idempotency: None,
    }
}

impl Rig {
    fn endpoint(&self) -> EndpointId {
        self.intake
            .add_endpoint("http://10.0.0.1/", None)
            .unwrap()
            .0
    }

    fn publish(&self, key: Option<&str>, payload: &str, endpoint: EndpointId) -> DeliveryId {
        let receipt = self.intake.publish(message(endpoint, key, payload));
        receipt.unwrap().first_delivery
    }

    fn start(&self) -> gaggle::JoinHandle<()> {
        let dispatcher = Arc::clone(&self.dispatcher);
        gaggle::go(move || dispatcher.run())
    }

    fn state(&self, delivery: DeliveryId) -> DeliveryState {
        self.outbox.delivery(delivery).unwrap().unwrap().state
    }
}

#[test]
fn a_lane_is_delivered_in_order_though_its_first_attempts_fail() {
    let (seen, arrivals) = mpsc::channel();
    let rig = rig(8, move |claim| {
        let _ = seen.send((claim.payload.clone(), claim.attempt));
        if claim.attempt == 1 { 503 } else { 204 }
    });
    let endpoint = rig.endpoint();
    let published: Vec<_> = (0..5)
        .map(|n| rig.publish(Some("key"), &n.to_string(), endpoint))
        .collect();
    let run = rig.start();
    let expected: Vec<_> = (0..5)
        .flat_map(|n: i32| {
            [
                (n.to_string().into_bytes(), 1),
                (n.to_string().into_bytes(), 2),
            ]
        })
        .collect();
    let got: Vec<_> = arrivals.iter().take(10).collect();
    assert_eq!(got, expected);
    rig.dispatcher.stop();
    run.join().unwrap();
    assert_eq!(rig.dispatcher.drain(Duration::from_secs(60)), 0);
    for delivery in published {
        assert_eq!(rig.state(delivery), DeliveryState::Delivered);
    }
    assert_eq!(rig.counters.delivered.value(), 5);
    assert_eq!(rig.counters.attempts_failed.value(), 5);
    assert_eq!(rig.intake.queued(), 0);
}

#[test]
fn a_delivery_without_success_is_dead_after_its_last_attempt() {
    let (seen, arrivals) = mpsc::channel();
    let rig = rig(1, move |claim| {
        let _ = seen.send(claim.payload.clone());
        if claim.payload == b"bad" { 500 } else { 200 }
    });
    let endpoint = rig.endpoint();
    let bad = rig.publish(Some("key"), "bad", endpoint);
    let good = rig.publish(Some("key"), "good", endpoint);
    let run = rig.start();
    let got: Vec<_> = arrivals.iter().take(4).collect();
    assert_eq!(got, [&b"bad"[..], b"bad", b"bad", b"good"]);
    rig.dispatcher.stop();
    run.join().unwrap();
    rig.dispatcher.drain(Duration::from_secs(60));
    assert_eq!(rig.state(bad), DeliveryState::Dead);
    assert_eq!(rig.state(good), DeliveryState::Delivered);
    assert_eq!(rig.counters.dead.value(), 1);
}

#[test]
fn no_more_than_the_workers_are_in_flight_and_the_rest_follows() {
    let (arrived, arrivals) = mpsc::channel();
    let (let_go, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let rig = rig(3, move |_| {
        let _ = arrived.send(());
        let _ = hold.lock().unwrap().recv();
        200
    });
    let endpoint = rig.endpoint();
    for n in 0..10 {
        rig.publish(None, &n.to_string(), endpoint);
    }
    let run = rig.start();
    for _ in 0..3 {
        arrivals.recv().unwrap();
    }
    assert_eq!(rig.dispatcher.in_flight(), 3);
    assert!(arrivals.try_recv().is_err());
    for n in 0..10 {
        let_go.send(()).unwrap();
        if n < 7 {
            arrivals.recv().unwrap();
        }
        assert!(rig.dispatcher.in_flight() <= 3);
    }
    rig.dispatcher.stop();
    run.join().unwrap();
    assert_eq!(rig.dispatcher.drain(Duration::from_secs(60)), 0);
    assert_eq!(rig.counters.delivered.value(), 10);
}

#[test]
fn what_does_not_land_in_time_is_released_uncharged_and_its_result_is_void() {
    let (arrived, arrivals) = mpsc::channel();
    let (let_go, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let rig = rig(3, move |_| {
        let _ = arrived.send(());
        let _ = hold.lock().unwrap().recv();
        200
    });
    let endpoint = rig.endpoint();
    let delivery = rig.publish(None, "slow", endpoint);
    let run = rig.start();
    arrivals.recv().unwrap();
    rig.dispatcher.stop();
    run.join().unwrap();
    assert_eq!(rig.dispatcher.drain(Duration::ZERO), 1);
    let view = rig.outbox.delivery(delivery).unwrap().unwrap();
    assert_eq!((view.state, view.attempts), (DeliveryState::Ready, 0));
    drop(let_go);
    while rig.counters.stale_results.value() == 0 {
        gaggle::yield_now();
    }
    assert_eq!(rig.state(delivery), DeliveryState::Ready);
}

#[test]
fn a_panic_in_an_attempt_frees_its_worker() {
    let (arrived, arrivals) = mpsc::channel();
    let rig = rig(1, move |claim| {
        let _ = arrived.send(claim.payload.clone());
        assert_ne!(claim.payload, b"poison", "a broken sender");
        200
    });
    let endpoint = rig.endpoint();
    rig.publish(None, "poison", endpoint);
    rig.publish(None, "food", endpoint);
    let run = rig.start();
    let mut got = [arrivals.recv().unwrap(), arrivals.recv().unwrap()];
    got.sort();
    assert_eq!(got, [b"food".to_vec(), b"poison".to_vec()]);
    rig.dispatcher.stop();
    run.join().unwrap();
    rig.dispatcher.drain(Duration::from_secs(60));
    assert_eq!(rig.counters.delivered.value(), 1);
}

#[test]
fn the_intake_refuses_what_breaks_a_rule_and_what_does_not_fit() {
    let rig = rig(1, |_| 200);
    assert!(matches!(
        rig.intake.add_endpoint("ftp://x/", None),
        Err(EndpointError::Url(_))
    ));
    assert!(matches!(
        rig.intake.add_endpoint("http://x/", Some("whsec_no")),
        Err(EndpointError::Secret(_))
    ));
    let endpoint = rig.endpoint();
    assert_eq!(
        rig.intake.publish(message(endpoint, Some(""), "{}")),
        Err(PublishError::Message(MessageError::Invalid(
            "ordering_key must have 1 to 256 bytes, no control characters"
        )))
    );
    let unknown = EndpointId(99);
    assert_eq!(
        rig.intake.publish(message(unknown, None, "{}")),
        Err(PublishError::Refused(Refusal::UnknownEndpoint(unknown)))
    );
    for _ in 0..100 {
        rig.intake.publish(message(endpoint, None, "{}")).unwrap();
    }
    assert_eq!(
        rig.intake.publish(message(endpoint, None, "{}")),
        Err(PublishError::Refused(Refusal::QueueFull))
    );
    assert_eq!(rig.counters.queue_full.value(), 1);
    assert_eq!(rig.counters.messages_published.value(), 100);
}
