//! `kill -9` of `courier serve` at random instants, 50 times, over 5,000 messages: none lost, and the
//! order of each key kept at the receiver. Re-deliveries are allowed, an overtaking never.
//!
//! The instants are drawn from a seed, which a failure prints; `COURIER_KILL_SEED` sets it. The
//! program that runs is real, so the seed repeats the intended instants, not the interleaving.
//! `COURIER_KILLS` and `COURIER_KILL_MESSAGES` make it longer.

mod common;

use bytes::Bytes;
use common::{Serve, message};
use http::{Request, Response};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const KEYS: usize = 250;
const ENDPOINTS: usize = 10;
const PUBLISHERS: usize = 8;
/// How many messages of a key are published one after the other, so that its lane has some to hold
/// back.
const RUN: usize = 5;

/// What the receiver saw of one key: event numbers count from 0.
#[derive(Clone, Default)]
struct Lane {
    answered: usize,
    redelivered: u64,
}

#[derive(Default)]
struct Seen {
    lanes: Vec<Lane>,
    answered: usize,
    overtakings: Vec<String>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    progressed: Condvar,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// Answers one webhook; every seventh first attempt gets a 503.
fn receive(shared: &Shared, body: &[u8], attempt_seed: u64) -> u16 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let key = body["key"].as_u64().unwrap() as usize;
    let sequence = body["sequence"].as_u64().unwrap() as usize;
    let mut seen = shared.seen.lock().unwrap();
    let lane = &mut seen.lanes[key];
    if sequence < lane.answered {
        lane.redelivered += 1;
        return 204;
    }
    if sequence > lane.answered {
        let text = format!("key {key}: {sequence} came when {} was due", lane.answered);
        seen.overtakings.push(text);
        shared.progressed.notify_all();
        return 204;
    }
    if attempt_seed.is_multiple_of(7) {
        return 503;
    }
    lane.answered += 1;
    seen.answered += 1;
    shared.progressed.notify_all();
    204
}

fn start_receiver(shared: Arc<Shared>) -> (String, gaggle::context::Cancel) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (context, stop) = gaggle::context::background().with_cancel();
    drop(gaggle::go(move || {
        let server = gaggle_http::Server::builder().build();
        let handler = move |_: &_, request: Request<Bytes>| {
            let mut response = Response::new(Bytes::new());
            let status = receive(&shared, request.body(), rand::random());
            *response.status_mut() = status.try_into().unwrap();
            response
        };
        server.serve(listener, &context, handler).unwrap();
    }));
    (url, stop)
}

/// The child that runs now; `None` while it is being restarted.
type Current = Mutex<Option<Arc<Serve>>>;

/// Publishes the messages of its keys, each key's in order, until each has its 202.
fn publish_share(
    current: &Current,
    started: &Condvar,
    endpoints: &[String],
    share: usize,
    each: usize,
) {
    let order = (0..each).step_by(RUN).flat_map(|from| {
        let run = from..(from + RUN).min(each);
        (share..KEYS)
            .step_by(PUBLISHERS)
            .flat_map(move |key| run.clone().map(move |sequence| (key, sequence)))
    });
    for (key, sequence) in order {
        let payload = format!(r#"{{"key":{key},"sequence":{sequence}}}"#);
        let body = message(&endpoints[key % ENDPOINTS], &format!("key {key}"), &payload);
        publish(current, started, &format!("{key}-{sequence}"), &body);
    }
}

/// Publishes one message to whichever child runs, until it has its 202.
fn publish(current: &Current, started: &Condvar, idempotency_key: &str, body: &[u8]) {
    loop {
        let server = {
            let guard = current.lock().unwrap();
            let guard = started
                .wait_while(guard, |server| server.is_none())
                .unwrap();
            Arc::clone(guard.as_ref().unwrap())
        };
        match server.post("/v1/messages", Some(idempotency_key), body) {
            Ok(answer) => {
                assert_eq!(answer.status, 202, "{answer:?}");
                return;
            }
            // It was killed: the same again, to the next one.
            Err(_) => gaggle::yield_now(),
        }
    }
}

fn start(database: &Path, address: &str) -> Serve {
    // A lease of a killed process is a charged attempt, and 50 kills may hit the same delivery.
    let arguments = ["--retry-base-ms", "20", "--max-attempts", "1000"];
    Serve::start(database, address, &arguments)
}

/// Kills the child after a random part of the progress that is left to each kill, or after a random
/// time where there is none.
fn kill_at_random(
    random: &mut StdRng,
    kills: u64,
    total: usize,
    shared: &Shared,
    current: &Current,
    started: &Condvar,
    database: &Path,
) {
    for kill in 0..kills {
        let from = total as u64 * kill / kills;
        let to = total as u64 * (kill + 1) / kills;
        let at = random.random_range(from..to.max(from + 1)) as usize;
        let patience = Duration::from_millis(random.random_range(1..2_000));
        let guard = shared.seen.lock().unwrap();
        drop(
            shared
                .progressed
                .wait_timeout_while(guard, patience, |seen| seen.answered < at)
                .unwrap(),
        );
        let server = current.lock().unwrap().take().unwrap();
        let address = server.address.to_string();
        server.kill();
        drop(server);
        *current.lock().unwrap() = Some(Arc::new(start(database, &address)));
        started.notify_all();
    }
}

#[test]
fn fifty_kills_lose_nothing_and_keep_the_order_of_each_key() {
    let kills = number("COURIER_KILLS", 50);
    let each = (number("COURIER_KILL_MESSAGES", 5_000) as usize).div_ceil(KEYS);
    let total = each * KEYS;
    let seed = number("COURIER_KILL_SEED", rand::random());
    eprintln!("COURIER_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("courier.db");
    let shared = Arc::new(Shared::default());
    shared.seen.lock().unwrap().lanes = vec![Lane::default(); KEYS];
    let (receiver, _stop) = start_receiver(Arc::clone(&shared));
    let server = start(&database, "127.0.0.1:0");
    let endpoints: Vec<String> = (0..ENDPOINTS)
        .map(|n| server.endpoint(&format!("{receiver}/{n}")))
        .collect();
    let current: Current = Mutex::new(Some(Arc::new(server)));
    let started = Condvar::new();

    gaggle::scope(|scope| {
        let (current, started, endpoints) = (&current, &started, &endpoints);
        for share in 0..PUBLISHERS {
            scope.go(move || publish_share(current, started, endpoints, share, each));
        }
        kill_at_random(
            &mut random,
            kills,
            total,
            &shared,
            current,
            started,
            &database,
        );
    });
    let server = current.lock().unwrap().take().unwrap();
    let mut seen = shared.seen.lock().unwrap();
    while seen.answered < total && seen.overtakings.is_empty() {
        let before = seen.answered;
        let (guard, waited) = shared
            .progressed
            .wait_timeout_while(seen, Duration::from_secs(60), |seen| {
                seen.answered == before && seen.overtakings.is_empty()
            })
            .unwrap();
        seen = guard;
        let lost: Vec<_> = (0..KEYS)
            .filter(|&k| seen.lanes[k].answered < each)
            .collect();
        assert!(
            !waited.timed_out(),
            "seed {seed}: lost in the lanes of {lost:?}"
        );
    }
    assert!(
        seen.overtakings.is_empty(),
        "seed {seed}: {:?}",
        seen.overtakings
    );
    assert!(
        seen.lanes.iter().all(|lane| lane.answered == each),
        "seed {seed}"
    );
    let redelivered: u64 = seen.lanes.iter().map(|lane| lane.redelivered).sum();
    drop(seen);
    eprintln!("{total} messages, {kills} kills, {redelivered} re-deliveries");
    assert_eq!(server.metric("courier_dead_total"), 0, "seed {seed}");
}
