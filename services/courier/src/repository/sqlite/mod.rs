//! The outbox in one SQLite file.
//!
//! - R1: one process holds the file: an operating system lock on `PATH.lock`, which dies with its
//!   holder, also by `kill -9`. So at start every lease is a dead one and is taken back at once.
//! - R2: one goroutine owns the writing connection. What waits when a transaction begins goes into
//!   it together and is answered after its commit (group commit), which `synchronous=FULL` has
//!   brought to the disk by then.
//! - R3: readers have connections of their own; the write-ahead log lets them see the last commit.

mod leases;
mod reader;
mod schema;
mod tables;
mod writer;

use crate::domain::UnixMilliseconds;
use crate::domain::delivery::DeliveryView;
use crate::domain::endpoint::NewEndpoint;
use crate::domain::identifier::{DeliveryId, EndpointId, StoreTag};
use crate::domain::message::NewMessage;
use crate::usecase::ports::{Claimed, Finish, Finished, Outbox, Receipt, Refusal, StoreError};
use reader::Readers;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::Tables;
use writer::Writer;

/// Why a database cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file, or its folder, cannot be written.
    Path(PathBuf, std::io::Error),
    /// Another process holds it (R1).
    Held(PathBuf),
    /// SQLite refuses it.
    Sqlite(PathBuf, rusqlite::Error),
    /// It was written by a newer courier.
    Newer(PathBuf, i64),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path, error) => {
                write!(f, "cannot write the database {}: {error}", path.display())
            }
            Self::Held(path) => write!(
                f,
                "another courier holds the database {}: stop it first, or use another file",
                path.display()
            ),
            Self::Sqlite(path, error) => {
                write!(f, "cannot open the database {}: {error}", path.display())
            }
            Self::Newer(path, version) => write!(
                f,
                "the database {} has schema version {version}, made by a newer courier",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

/// The outbox in one SQLite file.
pub struct SqliteOutbox {
    tag: StoreTag,
    queued: Arc<AtomicU64>,
    taken_back: usize,
    writer: Writer,
    readers: Readers,
    /// Keeps R1: the lock goes with the file.
    _lock: File,
}

impl SqliteOutbox {
    /// Opens, or creates, the database at `path`, and takes back the leases of the process that had
    /// it before. `attempts_max`: a lease taken back was an attempt; where it was the last, the
    /// delivery is dead. Blocks this goroutine.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, now: UnixMilliseconds, attempts_max: u32) -> Result<Self, OpenError> {
        let lock = hold(path)?;
        let sqlite = |error| OpenError::Sqlite(path.to_owned(), error);
        let connection = schema::connect_writer(path).map_err(sqlite)?;
        let version = schema::version(&connection).map_err(sqlite)?;
        if version > schema::VERSION {
            return Err(OpenError::Newer(path.to_owned(), version));
        }
        let tag = schema::create(&connection).map_err(sqlite)?;
        let queued = Arc::new(AtomicU64::new(0));
        let mut tables = Tables::new(connection, Arc::clone(&queued)).map_err(sqlite)?;
        let taken_back = tables
            .transaction(|tables| {
                let taken_back = tables.take_back_leases(None, attempts_max, now)?;
                tables.sweep_stuck_lanes()?;
                Ok(taken_back)
            })
            .map_err(sqlite)?;
        Ok(Self {
            tag,
            queued,
            taken_back,
            writer: Writer::start(tables),
            readers: Readers::new(path.to_owned()),
            _lock: lock,
        })
    }

    /// How many leases of the process before were taken back.
    pub fn taken_back(&self) -> usize {
        self.taken_back
    }

    /// Waits until all that was asked for is written, and closes the file. Later operations fail.
    /// Blocks this goroutine.
    pub fn close(&self) {
        self.writer.close();
        self.readers.close();
    }
}

fn hold(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let cannot = |error| OpenError::Path(path.to_owned(), error);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

impl Outbox for SqliteOutbox {
    fn tag(&self) -> StoreTag {
        self.tag
    }

    fn add_endpoint(
        &self,
        endpoint: NewEndpoint,
        now: UnixMilliseconds,
    ) -> Result<EndpointId, StoreError> {
        self.writer
            .call(move |tables| tables.add_endpoint(&endpoint, now))
    }

    fn publish(
        &self,
        message: NewMessage,
        queue_limit: u64,
        now: UnixMilliseconds,
    ) -> Result<Result<Receipt, Refusal>, StoreError> {
        self.writer
            .call(move |tables| tables.publish(&message, queue_limit, now))
    }

    fn claim(
        &self,
        limit: usize,
        now: UnixMilliseconds,
        lease_until: UnixMilliseconds,
        attempts_max: u32,
    ) -> Result<Claimed, StoreError> {
        self.writer.call(move |tables| {
            tables.promote_waiting(now)?;
            tables.take_back_leases(Some(now), attempts_max, now)?;
            tables.claim(limit, lease_until)
        })
    }

    fn finish(&self, finish: Finish) -> Result<Finished, StoreError> {
        self.writer.call(move |tables| tables.finish(&finish))
    }

    fn release(&self, leases: Vec<(DeliveryId, i64)>) -> Result<usize, StoreError> {
        self.writer.call(move |tables| tables.release(&leases))
    }

    fn sweep_stuck_lanes(&self) -> Result<usize, StoreError> {
        self.writer.call(Tables::sweep_stuck_lanes)
    }

    fn delivery(&self, delivery: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.readers.delivery(delivery)
    }

    fn queued(&self) -> u64 {
        // Relaxed: a statistic for /metrics; the limit itself is held inside the writer.
        self.queued.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
