//! A query bound to a deadline: when the context ends, the database stops working on it.
//!
//! `cargo run -p gaggle-examples --bin fetch_user_profile`

use gaggle::context::{self, Context, ContextError};
use rusqlite::{Connection, OptionalExtension, params};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

#[derive(Debug, PartialEq)]
struct UserProfile {
    id: i64,
    name: String,
}

#[derive(Debug)]
enum FetchError {
    NotFound,
    Ended(ContextError),
    Database(rusqlite::Error),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::NotFound => f.write_str("no such user"),
            FetchError::Ended(error) => error.fmt(f),
            FetchError::Database(error) => error.fmt(f),
        }
    }
}

impl Error for FetchError {}

/// Runs `query`, and interrupts it when `context` ends.
fn bound<T>(
    context: &Context,
    connection: &Connection,
    query: impl FnOnce() -> rusqlite::Result<T>,
) -> Result<T, FetchError> {
    if let Some(error) = context.err() {
        return Err(FetchError::Ended(error)); // not even begun
    }
    let interrupt = connection.get_interrupt_handle();
    let watch = context.after_func(move || interrupt.interrupt());
    let result = query();
    watch.stop();
    result.map_err(|error| match context.err() {
        Some(ended) => FetchError::Ended(ended),
        None => FetchError::Database(error),
    })
}

/// `work` is how many rows the database goes through first, as a query without an index would.
fn fetch_user_profile(
    context: &Context,
    connection: &Connection,
    id: i64,
    work: i64,
) -> Result<UserProfile, FetchError> {
    let query = "WITH RECURSIVE slow(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM slow WHERE n < ?2)
                 SELECT id, name FROM users WHERE id = ?1 AND (SELECT COUNT(*) FROM slow) > 0";
    let found = bound(context, connection, || {
        let profile = |row: &rusqlite::Row<'_>| {
            Ok(UserProfile {
                id: row.get(0)?,
                name: row.get(1)?,
            })
        };
        connection
            .query_row(query, params![id, work], profile)
            .optional()
    })?;
    found.ok_or(FetchError::NotFound)
}

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         INSERT INTO users VALUES (7, 'Nils');",
    )?;

    let (context, _cancel) = context::background().with_timeout(Duration::from_secs(60));
    let nils = fetch_user_profile(&context, &connection, 7, 10)?;
    assert_eq!(nils.name, "Nils");
    let nobody = fetch_user_profile(&context, &connection, 8, 10);
    assert!(matches!(nobody, Err(FetchError::NotFound)));

    // This one would take hours.
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(50));
    let start = Instant::now();
    let late = fetch_user_profile(&context, &connection, 7, i64::MAX);
    println!(
        "{nils:?}; the slow query after {:.0?}: {late:?}",
        start.elapsed()
    );
    assert!(matches!(
        late,
        Err(FetchError::Ended(ContextError::DeadlineExceeded))
    ));

    // The connection is as good as before.
    let (context, _cancel) = context::background().with_timeout(Duration::from_secs(60));
    assert_eq!(fetch_user_profile(&context, &connection, 7, 10)?, nils);
    Ok(())
}
