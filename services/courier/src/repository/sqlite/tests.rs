//! The repository on real SQLite files.

use super::*;
use crate::domain::delivery::{AttemptOutcome, Claim, DeliveryState, Verdict};
use crate::domain::endpoint::TargetUrl;
use crate::domain::message::Idempotency;
use crate::domain::signature::Secret;
use std::collections::HashMap;
use tempfile::TempDir;

const ATTEMPTS_MAX: u32 = 3;
const LIMIT: u64 = 1_000;

struct Store {
    folder: TempDir,
    outbox: Option<SqliteOutbox>,
}

impl Store {
    fn new() -> Self {
        let mut store = Self {
            folder: tempfile::tempdir().unwrap(),
            outbox: None,
        };
        store.outbox = Some(store.open());
        store
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("courier.db")
    }

    fn open(&self) -> SqliteOutbox {
        SqliteOutbox::open(&self.path(), 0, ATTEMPTS_MAX).unwrap()
    }

    fn reopen(&mut self) {
        drop(self.outbox.take());
        self.outbox = Some(self.open());
    }

    fn outbox(&self) -> &SqliteOutbox {
        self.outbox.as_ref().unwrap()
    }

    fn endpoint(&self) -> EndpointId {
        let endpoint = NewEndpoint {
            url: TargetUrl::trusted("http://example.com/".into()),
            secret: Secret::generate(),
        };
        self.outbox().add_endpoint(endpoint, 0).unwrap()
    }

    fn publish(&self, endpoint: EndpointId, key: Option<&str>, payload: &str) -> DeliveryId {
        let message = message(endpoint, key, payload);
        let receipt = self.outbox().publish(message, LIMIT, 0).unwrap().unwrap();
        receipt.first_delivery
    }

    fn claim(&self, limit: usize, now: UnixMilliseconds) -> Vec<Claim> {
        let claimed = self.outbox().claim(limit, now, now + 1_000, ATTEMPTS_MAX);
        claimed.unwrap().claims
    }

    fn finish(&self, claim: &Claim, status: u16, verdict: Verdict) -> Finished {
        let finish = Finish {
            delivery: claim.delivery,
            fence: claim.fence,
            verdict,
            outcome: AttemptOutcome::Answered {
                status,
                retry_after_milliseconds: None,
            },
            now: 7,
        };
        self.outbox().finish(finish).unwrap()
    }

    fn view(&self, delivery: DeliveryId) -> DeliveryView {
        self.outbox().delivery(delivery).unwrap().unwrap()
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

fn payloads(claims: &[Claim]) -> Vec<&str> {
    claims
        .iter()
        .map(|claim| std::str::from_utf8(&claim.payload).unwrap())
        .collect()
}

#[test]
fn a_lane_gives_its_head_only_and_the_next_after_it_is_finished() {
    let store = Store::new();
    let endpoint = store.endpoint();
    let ids = ["a", "b", "c"].map(|p| store.publish(endpoint, Some("k"), p));
    store.publish(endpoint, Some("other"), "x");
    store.publish(endpoint, None, "free");
    let first = store.claim(10, 0);
    assert_eq!(payloads(&first), ["a", "x", "free"]);
    assert_eq!(store.view(ids[1]).state, DeliveryState::Blocked);
    assert!(store.claim(10, 0).is_empty());
    let finished = store.finish(&first[0], 200, Verdict::Delivered);
    assert_eq!((finished.applied, finished.readied), (true, true));
    assert_eq!(payloads(&store.claim(10, 0)), ["b"]);
    assert_eq!(store.outbox().queued(), 4);
    let view = store.view(ids[0]);
    assert_eq!(view.state, DeliveryState::Delivered);
    assert_eq!((view.attempts, view.last_status), (1, Some(200)));
    assert_eq!(view.finished, Some(7));
}

#[test]
fn a_waiting_head_keeps_its_lane_blocked_until_it_is_due() {
    let store = Store::new();
    let endpoint = store.endpoint();
    store.publish(endpoint, Some("k"), "a");
    store.publish(endpoint, Some("k"), "b");
    let claim = store.claim(10, 0).remove(0);
    let finished = store.finish(&claim, 503, Verdict::Retry { due: 500 });
    assert_eq!((finished.applied, finished.readied), (true, false));
    let early = store.outbox().claim(10, 499, 1_499, ATTEMPTS_MAX).unwrap();
    assert!(early.claims.is_empty());
    assert_eq!(early.next_due, Some(500));
    assert_eq!(store.view(claim.delivery).next_attempt, Some(500));
    let due = store.claim(10, 500);
    assert_eq!(payloads(&due), ["a"]);
    assert_eq!((due[0].attempt, due[0].fence), (2, 2));
}

#[test]
fn a_stale_fence_makes_a_result_void() {
    let store = Store::new();
    let endpoint = store.endpoint();
    store.publish(endpoint, Some("k"), "a");
    let late = store.claim(1, 0).remove(0);
    assert!(store.claim(1, 999).is_empty());
    let current = store.claim(1, 1_000).remove(0);
    assert_eq!((current.attempt, current.fence), (2, 2));
    let finished = store.finish(&late, 200, Verdict::Delivered);
    assert_eq!((finished.applied, finished.readied), (false, false));
    assert_eq!(store.view(late.delivery).state, DeliveryState::Leased);
    assert!(store.finish(&current, 200, Verdict::Delivered).applied);
    assert!(!store.finish(&current, 200, Verdict::Delivered).applied);
    assert_eq!(store.outbox().queued(), 0);
}

#[test]
fn leases_that_expire_are_attempts_and_the_last_one_is_dead() {
    let store = Store::new();
    let endpoint = store.endpoint();
    let poison = store.publish(endpoint, Some("k"), "poison");
    store.publish(endpoint, Some("k"), "next");
    for attempt in 1..=ATTEMPTS_MAX {
        let claims = store.claim(10, i64::from(attempt) * 1_000);
        assert_eq!(payloads(&claims), ["poison"]);
        assert_eq!(claims[0].attempt, attempt);
    }
    assert_eq!(payloads(&store.claim(10, 4_000)), ["next"]);
    let view = store.view(poison);
    assert_eq!(view.state, DeliveryState::Dead);
    assert!(view.last_error.unwrap().contains("lease"));
    assert_eq!(store.outbox().queued(), 1);
}

#[test]
fn released_leases_are_not_charged_and_keep_their_place() {
    let store = Store::new();
    let endpoint = store.endpoint();
    let first = store.publish(endpoint, Some("k"), "a");
    store.publish(endpoint, Some("k"), "b");
    let claim = store.claim(1, 0).remove(0);
    let leases = vec![(claim.delivery, claim.fence), (DeliveryId(99), 1)];
    assert_eq!(store.outbox().release(leases).unwrap(), 1);
    assert_eq!(store.view(first).attempts, 0);
    assert!(!store.finish(&claim, 200, Verdict::Delivered).applied);
    let again = store.claim(10, 0);
    assert_eq!(payloads(&again), ["a"]);
    assert_eq!(again[0].attempt, 1);
}

#[test]
fn a_restart_takes_back_all_leases_at_once_and_keeps_everything() {
    let mut store = Store::new();
    let endpoint = store.endpoint();
    let tag = store.outbox().tag();
    let ids = ["a", "b"].map(|p| store.publish(endpoint, Some("k"), p));
    let before = store.claim(10, 0).remove(0);
    store.reopen();
    assert_eq!(store.outbox().tag(), tag);
    assert_eq!(store.outbox().taken_back(), 1);
    assert_eq!(store.outbox().queued(), 2);
    let after = store.claim(10, 0);
    assert_eq!(payloads(&after), ["a"]);
    assert_eq!((after[0].attempt, after[0].fence), (2, 2));
    assert!(!store.finish(&before, 200, Verdict::Delivered).applied);
    assert_eq!(store.publish(endpoint, None, "c"), DeliveryId(ids[1].0 + 1));
}

#[test]
fn a_second_process_is_refused_while_the_first_holds_the_file() {
    let mut store = Store::new();
    let second = SqliteOutbox::open(&store.path(), 0, ATTEMPTS_MAX);
    assert!(matches!(second, Err(OpenError::Held(_))));
    drop(second);
    store.reopen();
}

#[test]
fn a_file_that_cannot_be_written_or_is_no_database_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/courier.db");
    let error = SqliteOutbox::open(&missing, 0, 1).err().unwrap();
    assert!(matches!(error, OpenError::Path(..)), "{error}");
    assert!(error.to_string().contains("no/such/folder"), "{error}");
    let text = folder.path().join("text");
    std::fs::write(&text, "this is not a database, ".repeat(100)).unwrap();
    let error = SqliteOutbox::open(&text, 0, 1).err().unwrap();
    assert!(matches!(error, OpenError::Sqlite(..)), "{error}");
}

#[test]
fn an_idempotency_key_answers_as_before_and_refuses_another_body() {
    let mut store = Store::new();
    let endpoint = store.endpoint();
    let with_key = |hash: u8| NewMessage {
        idempotency: Some(Idempotency {
            key: "once".into(),
            body_hash: [hash; 32],
        }),
        ..message(endpoint, None, "a")
    };
    let publish = |store: &Store, hash, limit| store.outbox().publish(with_key(hash), limit, 0);
    let first = publish(&store, 1, LIMIT).unwrap().unwrap();
    assert!(!first.replayed && first.readied);
    store.reopen();
    let again = publish(&store, 1, 0).unwrap().unwrap();
    assert!(again.replayed && !again.readied);
    assert_eq!(again.message, first.message);
    assert_eq!(again.first_delivery, first.first_delivery);
    assert_eq!(
        publish(&store, 2, LIMIT).unwrap(),
        Err(Refusal::IdempotencyConflict)
    );
    assert_eq!(store.claim(10, 0).len(), 1);
}

#[test]
fn a_refused_message_leaves_nothing_behind() {
    let store = Store::new();
    let endpoint = store.endpoint();
    let mut unknown = message(endpoint, None, "a");
    unknown.endpoints.push(EndpointId(77));
    assert_eq!(
        store.outbox().publish(unknown, LIMIT, 0).unwrap(),
        Err(Refusal::UnknownEndpoint(EndpointId(77)))
    );
    assert_eq!(
        store
            .outbox()
            .publish(message(endpoint, None, "a"), 0, 0)
            .unwrap(),
        Err(Refusal::QueueFull)
    );
    assert_eq!(store.outbox().queued(), 0);
    assert!(store.claim(10, 0).is_empty());
}

#[test]
fn a_noisy_endpoint_does_not_keep_the_others_waiting() {
    let store = Store::new();
    let noisy = store.endpoint();
    let quiet = [store.endpoint(), store.endpoint()];
    for n in 0..100 {
        store.publish(noisy, None, &format!("noise {n}"));
    }
    for endpoint in quiet {
        store.publish(endpoint, None, "quiet");
    }
    let claims = store.claim(8, 0);
    let mut of = HashMap::new();
    for claim in &claims {
        *of.entry(claim.endpoint).or_insert(0) += 1;
    }
    assert_eq!((of[&noisy], of[&quiet[0]], of[&quiet[1]]), (6, 1, 1));
    assert_eq!(payloads(&claims)[..2], ["noise 0", "noise 1"]);
    assert_eq!(store.claim(1_000, 0).len(), 94);
}

#[test]
fn a_disabled_endpoint_parks_all_it_has_and_all_it_gets() {
    let mut store = Store::new();
    let gone = store.endpoint();
    let other = store.endpoint();
    let first = store.publish(gone, Some("k"), "a");
    let blocked = store.publish(gone, Some("k"), "b");
    let flying = store.publish(gone, Some("l"), "c");
    store.publish(other, None, "d");
    let claims = store.claim(10, 0);
    assert_eq!(payloads(&claims), ["a", "c", "d"]);
    store.finish(&claims[0], 410, Verdict::DisableEndpoint);
    let later = store.publish(gone, None, "e");
    // What was in flight fails after that: it is parked too, not sent again.
    store.finish(&claims[1], 503, Verdict::Retry { due: 10 });
    for id in [first, blocked, flying, later] {
        assert_eq!(store.view(id).state, DeliveryState::Parked, "{id:?}");
    }
    assert!(store.claim(10, 500).is_empty());
    store.reopen();
    assert_eq!(payloads(&store.claim(10, 5_000)), ["d"]);
}

#[test]
fn the_sweeper_finds_a_stuck_lane_and_nothing_else() {
    let store = Store::new();
    let endpoint = store.endpoint();
    store.publish(endpoint, Some("k"), "a");
    store.publish(endpoint, Some("k"), "b");
    assert_eq!(store.outbox().sweep_stuck_lanes().unwrap(), 0);
    store
        .outbox()
        .writer
        .call(|tables| tables.break_lanes())
        .unwrap();
    assert!(store.claim(10, 0).is_empty());
    assert_eq!(store.outbox().sweep_stuck_lanes().unwrap(), 1);
    assert_eq!(payloads(&store.claim(10, 0)), ["a"]);
}

#[test]
fn an_operation_that_fails_takes_no_other_with_it() {
    let store = Store::new();
    let endpoint = store.endpoint();
    let outbox = store.outbox();
    let answers = std::sync::Mutex::new(Vec::new());
    // The first operation keeps the writer busy, so that the others are one batch.
    let (let_go, hold) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = std::sync::mpsc::channel();
    gaggle::scope(|scope| {
        let answers = &answers;
        scope.go(move || {
            outbox
                .writer
                .call(move |_| {
                    begun.send(()).unwrap();
                    let _ = hold.recv();
                    Ok(())
                })
                .unwrap();
        });
        has_begun.recv().unwrap();
        for n in 0..20 {
            scope.go(move || {
                let answer = if n == 10 {
                    outbox
                        .writer
                        .call(|_| Err::<(), _>(rusqlite::Error::InvalidQuery))
                        .is_err()
                } else {
                    let m = message(endpoint, None, "a");
                    outbox.publish(m, LIMIT, 0).unwrap().is_ok()
                };
                answers.lock().unwrap().push(answer);
            });
        }
        let_go.send(()).unwrap();
    });
    assert_eq!(answers.into_inner().unwrap(), vec![true; 20]);
    assert_eq!(outbox.queued(), 19);
    assert_eq!(store.claim(100, 0).len(), 19);
}

#[test]
fn a_closed_store_answers_with_an_error_and_has_written_all() {
    let mut store = Store::new();
    let endpoint = store.endpoint();
    store.publish(endpoint, None, "a");
    store.outbox().close();
    let refused = store
        .outbox()
        .publish(message(endpoint, None, "b"), LIMIT, 0);
    assert!(refused.is_err());
    store.reopen();
    assert_eq!(store.claim(10, 0).len(), 1);
}

#[test]
fn every_hot_statement_goes_by_an_index() {
    let store = Store::new();
    let plans = store.outbox().writer.call(|tables| tables.plans()).unwrap();
    for plan in plans {
        assert!(!plan.contains("SCAN deliveries"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
