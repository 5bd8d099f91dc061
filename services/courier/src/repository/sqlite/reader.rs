//! Readers: a few connections that cannot write, made when needed and kept.

use super::schema;
use crate::domain::delivery::{DeliveryState, DeliveryView};
use crate::domain::identifier::{DeliveryId, EndpointId, MessageId};
use crate::usecase::ports::StoreError;
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// How many idle connections are kept.
const IDLE_MAX: usize = 4;

const DELIVERY: &str = "
SELECT d.id, d.message, d.endpoint, d.state, d.attempts, d.due, d.last_status, d.last_error,
       d.finished, m.created
FROM deliveries d JOIN messages m ON m.id = d.message
WHERE d.id = ?1";

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    /// The delivery, as last committed.
    pub(super) fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(DELIVERY)?
                .query_row([id.0], view)
                .optional()
        })
        .map_err(|error| StoreError(error.to_string()))
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        // The guard is dropped at once: the lock is not held while a connection is opened or read.
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::connect_reader(&self.path)?,
        };
        let answer = query(&connection)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answer)
    }
}

fn view(row: &Row<'_>) -> rusqlite::Result<DeliveryView> {
    let number: i64 = row.get(3)?;
    let state = DeliveryState::from_number(number)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, number))?;
    let due: i64 = row.get(5)?;
    Ok(DeliveryView {
        delivery: DeliveryId(row.get(0)?),
        message: MessageId(row.get(1)?),
        endpoint: EndpointId(row.get(2)?),
        state,
        attempts: row.get(4)?,
        last_status: row.get(6)?,
        last_error: row.get(7)?,
        next_attempt: (state == DeliveryState::Waiting).then_some(due),
        created: row.get(9)?,
        finished: row.get(8)?,
    })
}
