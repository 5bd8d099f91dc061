//! The tables, and how connections are set up.
//!
//! The indexes are partial, so that each holds only what is looked for in it, and a delivered row is
//! in none: an outbox of millions of finished deliveries claims as fast as an empty one.

use crate::domain::identifier::StoreTag;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::path::Path;
use std::time::Duration;

/// The schema of this version of courier, kept in `PRAGMA user_version`.
pub(super) const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE store (tag INTEGER NOT NULL);

CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    secret BLOB NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    created INTEGER NOT NULL,
    first_delivery INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    idempotency_key TEXT,
    body_hash BLOB,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- state: the numbers of DeliveryState. due: the end of the lease, or the time of the next attempt.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    ordering_key TEXT,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error TEXT,
    finished INTEGER
);
CREATE INDEX deliveries_lane ON deliveries (endpoint, ordering_key) WHERE finished IS NULL;
CREATE INDEX deliveries_ready ON deliveries (endpoint) WHERE state = 1;
CREATE INDEX deliveries_leased ON deliveries (due) WHERE state = 2;
CREATE INDEX deliveries_waiting ON deliveries (due) WHERE state = 3;
";

/// How many pages of write-ahead log are collected before they are moved into the database file.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The page cache of the writer, in KiB (negative is SQLite's way to say so).
const WRITER_CACHE: i64 = -65_536;
/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 64;

/// Opens the one writing connection.
pub(super) fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // The answer is the mode that holds now; a file system without shared memory keeps another.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a connection that cannot write.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// The schema version of the file; 0 where it is new.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Creates what a new file lacks, and answers the tag.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<StoreTag> {
    let transaction = connection.unchecked_transaction()?;
    if version(connection)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    let stored: Option<i64> = transaction
        .query_row("SELECT tag FROM store", [], |row| row.get(0))
        .optional()?;
    let tag = match stored {
        Some(tag) => tag,
        None => {
            let tag: i64 = rand::random();
            transaction.execute("INSERT INTO store (tag) VALUES (?1)", params![tag])?;
            tag
        }
    };
    transaction.commit()?;
    Ok(StoreTag(tag.cast_unsigned()))
}
