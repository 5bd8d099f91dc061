//! The outbox dispatcher: rows that were written with the data are delivered by workers, and marked.
//!
//! `cargo run -p gaggle-examples --bin outbox`
//!
//! The program that this is made from has three bugs, named where they are mended:
//!
//! 1. rows in flight are fetched again by each tick, and delivered twice;
//! 2. results are dropped when the context ends, so rows that were delivered are not marked;
//! 3. nobody waits for the goroutine that marks, so the program ends before it has.

use gaggle::chan::{self, Receiver, Sender};
use gaggle::context::{self, Context};
use gaggle::select;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROWS: i64 = 200;
const WORKERS: usize = 4;
const TICK: Duration = Duration::from_millis(2);

struct Row {
    id: i64,
    payload: String,
}

struct Store(Mutex<Connection>);

impl Store {
    fn with_rows() -> Result<Self, Failure> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE outbox (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, state TEXT NOT NULL)",
        )?;
        for id in 1..=ROWS {
            connection.execute(
                "INSERT INTO outbox VALUES (?1, ?2, 'new')",
                params![id, format!("event {id}")],
            )?;
        }
        Ok(Store(Mutex::new(connection)))
    }

    /// Bug 1 was `SELECT ... WHERE state = 'new'` alone: the rows stay 'new' until they are delivered, so
    /// the next tick finds them again. Fetching and claiming are one statement here. (A service that may
    /// be killed also stores until when a claim holds: see courier.)
    fn claim(&self, count: usize) -> rusqlite::Result<Vec<Row>> {
        let connection = self.0.lock().expect("no panic");
        let mut statement = connection.prepare_cached(
            "UPDATE outbox SET state = 'claimed'
             WHERE id IN (SELECT id FROM outbox WHERE state = 'new' ORDER BY id LIMIT ?1)
             RETURNING id, payload",
        )?;
        let rows = statement.query_map(params![count as i64], |row| {
            Ok(Row {
                id: row.get(0)?,
                payload: row.get(1)?,
            })
        })?;
        rows.collect()
    }

    fn mark(&self, id: i64, state: &str) -> rusqlite::Result<()> {
        let connection = self.0.lock().expect("no panic");
        let change = "UPDATE outbox SET state = ?2 WHERE id = ?1";
        connection.execute(change, params![id, state]).map(drop)
    }

    fn count(&self, state: &str) -> rusqlite::Result<i64> {
        let connection = self.0.lock().expect("no panic");
        let count = "SELECT COUNT(*) FROM outbox WHERE state = ?1";
        connection.query_row(count, [state], |row| row.get(0))
    }
}

/// Counts what arrives: the receiver of the events.
#[derive(Default)]
struct Target(Mutex<BTreeMap<String, u32>>);

impl Target {
    fn deliver(&self, payload: &str) {
        gaggle::time::sleep(Duration::from_millis(1)); // the network
        let mut arrived = self.0.lock().expect("no panic");
        *arrived.entry(payload.to_owned()).or_default() += 1;
    }
}

fn fetch(context: &Context, store: &Store, jobs: &Sender<Row>) -> rusqlite::Result<()> {
    let ticks = chan::tick(TICK);
    loop {
        select! {
            recv(ticks) => {}
            done(context) => return Ok(()),
        }
        for row in store.claim(50)? {
            let id = row.id;
            let is_taken = select! {
                send(jobs, row) -> sent => sent.is_ok(),
                done(context) => false,
            };
            if !is_taken {
                store.mark(id, "new")?; // nobody will deliver it now
            }
        }
    }
}

fn work(jobs: &Receiver<Row>, receiver: &Target, results: &Sender<i64>) {
    for row in jobs {
        receiver.deliver(&row.payload);
        // Bug 2 was a select of this send and the end of the context: half of what was in flight then
        // was delivered, and not marked. A result that exists is always handed on; it is the marker that
        // ends last.
        results.send(row.id).expect("the marker ends last");
    }
}

fn dispatch(context: &Context, store: &Store, receiver: &Target) -> rusqlite::Result<()> {
    let (jobs, todo) = chan::bounded(WORKERS);
    let (results, delivered) = chan::bounded(WORKERS);
    // Bug 3 was a marker that nobody joined. A scope cannot be left before all in it have ended.
    gaggle::scope(|scope| {
        let marker = scope.go(|| {
            delivered
                .iter()
                .try_for_each(|id| store.mark(id, "delivered"))
        });
        for _ in 0..WORKERS {
            let (todo, results) = (todo.clone(), results.clone());
            scope.go(move || work(&todo, receiver, &results));
        }
        drop((todo, results)); // the workers have theirs
        let fetched = fetch(context, store, &jobs);
        drop(jobs); // the workers end, with them the results, and then the marker
        let marked = marker.join().expect("no panic");
        fetched.and(marked)
    })
}

#[gaggle::main]
fn main() -> Result<(), Failure> {
    let (store, receiver) = (Store::with_rows()?, Target::default());

    // It is told to end half-way, with rows in flight...
    let (context, cancel) = context::background().with_cancel();
    gaggle::scope(|scope| {
        let first = scope.go(|| dispatch(&context, &store, &receiver));
        while receiver.0.lock().expect("no panic").len() < ROWS as usize / 2 {
            gaggle::yield_now();
        }
        cancel.cancel();
        first.join().expect("no panic")
    })?;
    let arrived = receiver.0.lock().expect("no panic").len() as i64;
    println!(
        "ended half-way: {arrived} arrived, {} marked",
        store.count("delivered")?
    );
    assert_eq!(store.count("delivered")?, arrived);
    assert_eq!(store.count("claimed")?, 0);

    // ...and goes on where it was.
    let (context, cancel) = context::background().with_cancel();
    gaggle::scope(|scope| {
        let second = scope.go(|| dispatch(&context, &store, &receiver));
        while receiver.0.lock().expect("no panic").len() < ROWS as usize {
            gaggle::yield_now();
        }
        cancel.cancel();
        second.join().expect("no panic")
    })?;
    assert_eq!(store.count("delivered")?, ROWS);
    let arrived = receiver.0.lock().expect("no panic");
    assert!(
        arrived.values().all(|times| *times == 1),
        "each once: {arrived:?}"
    );
    println!("{ROWS} rows, each delivered once and marked");
    Ok(())
}
