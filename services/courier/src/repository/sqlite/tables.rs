//! The statements: what each operation of the outbox does inside the writer's transaction.
//!
//! - T1: the first unfinished delivery of a lane (its smallest number) is not blocked; every other
//!   one is blocked, or parked with its endpoint (D1).
//! - T2: `queued` is the number of unfinished deliveries, as of the last commit.
//! - T3: the deliveries of a message have consecutive numbers.

use crate::domain::UnixMilliseconds;
use crate::domain::delivery::{AttemptOutcome, DeliveryState, Verdict};
use crate::domain::endpoint::NewEndpoint;
use crate::domain::identifier::{DeliveryId, EndpointId, MessageId};
use crate::domain::message::{Idempotency, NewMessage};
use crate::usecase::ports::{Finish, Finished, Receipt, Refusal};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The writing connection, and the counters that go with its tables.
pub(super) struct Tables {
    pub(super) connection: Connection,
    pub(super) counts: Counts,
    /// Where the next claim begins, so that no endpoint is always the last.
    pub(super) claim_after: i64,
    queued: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
pub(super) struct Counts {
    last_message: i64,
    last_delivery: i64,
    pub(super) queued: u64,
}

impl Counts {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let queued = number("SELECT count(*) FROM deliveries WHERE finished IS NULL")?;
        Ok(Self {
            last_message: number("SELECT coalesce(max(id), 0) FROM messages")?,
            last_delivery: number("SELECT coalesce(max(id), 0) FROM deliveries")?,
            queued: queued.unsigned_abs(),
        })
    }
}

impl Tables {
    pub(super) fn new(connection: Connection, queued: Arc<AtomicU64>) -> rusqlite::Result<Self> {
        let counts = Counts::load(&connection)?;
        // Relaxed: a statistic, read without regard to the rows.
        queued.store(counts.queued, Ordering::Relaxed);
        Ok(Self {
            connection,
            counts,
            claim_after: 0,
            queued,
        })
    }

    /// Runs `work` in a transaction; when it or the commit fails, nothing has happened.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let before = self.counts;
        let result = self
            .execute("BEGIN IMMEDIATE")
            .and_then(|()| work(self))
            .and_then(|value| self.execute("COMMIT").map(|()| value));
        if result.is_err() {
            self.counts = before;
            if !self.connection.is_autocommit() {
                // The first error is the one to tell. Should this fail as well, the next BEGIN does.
                let _ = self.execute("ROLLBACK");
            }
        }
        // Relaxed: a statistic, read without regard to the rows (T2).
        self.queued.store(self.counts.queued, Ordering::Relaxed);
        result
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    pub(super) fn add_endpoint(
        &mut self,
        endpoint: &NewEndpoint,
        now: UnixMilliseconds,
    ) -> rusqlite::Result<EndpointId> {
        self.connection
            .prepare_cached("INSERT INTO endpoints (url, secret, created) VALUES (?1, ?2, ?3)")?
            .insert(params![
                endpoint.url.as_str(),
                endpoint.secret.as_bytes(),
                now
            ])
            .map(EndpointId)
    }

    pub(super) fn publish(
        &mut self,
        message: &NewMessage,
        queue_limit: u64,
        now: UnixMilliseconds,
    ) -> rusqlite::Result<Result<Receipt, Refusal>> {
        // The replay comes first: what was taken is answered as before, also when the queue is full.
        if let Some(idempotency) = &message.idempotency
            && let Some(answer) = self.replay(idempotency)?
        {
            return Ok(answer);
        }
        let mut disabled = Vec::with_capacity(message.endpoints.len());
        for endpoint in &message.endpoints {
            let found: Option<bool> = self
                .connection
                .prepare_cached("SELECT disabled FROM endpoints WHERE id = ?1")?
                .query_row([endpoint.0], |row| row.get(0))
                .optional()?;
            match found {
                Some(is_disabled) => disabled.push(is_disabled),
                None => return Ok(Err(Refusal::UnknownEndpoint(*endpoint))),
            }
        }
        let added = message.endpoints.len() as u64;
        if self.counts.queued + added > queue_limit {
            return Ok(Err(Refusal::QueueFull));
        }
        self.insert(message, &disabled, now).map(Ok)
    }

    fn replay(
        &self,
        idempotency: &Idempotency,
    ) -> rusqlite::Result<Option<Result<Receipt, Refusal>>> {
        self.connection
            .prepare_cached(
                "SELECT body_hash, id, first_delivery, deliveries FROM messages
                 WHERE idempotency_key = ?1",
            )?
            .query_row([&idempotency.key], |row| {
                let body_hash: [u8; 32] = row.get(0)?;
                if body_hash != idempotency.body_hash {
                    return Ok(Err(Refusal::IdempotencyConflict));
                }
                Ok(Ok(Receipt {
                    message: MessageId(row.get(1)?),
                    first_delivery: DeliveryId(row.get(2)?),
                    deliveries: row.get(3)?,
                    replayed: true,
                    readied: false,
                }))
            })
            .optional()
    }

    fn insert(
        &mut self,
        message: &NewMessage,
        disabled: &[bool],
        now: UnixMilliseconds,
    ) -> rusqlite::Result<Receipt> {
        let id = self.counts.last_message + 1;
        let first_delivery = self.counts.last_delivery + 1;
        let count = message.endpoints.len();
        let idempotency = message.idempotency.as_ref();
        self.connection
            .prepare_cached(
                "INSERT INTO messages (id, event_type, created, first_delivery, deliveries,
                                       idempotency_key, body_hash, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                id,
                message.event_type,
                now,
                first_delivery,
                count as i64,
                idempotency.map(|i| &i.key),
                idempotency.map(|i| &i.body_hash),
                message.payload,
            ])?;
        let mut readied = false;
        for (endpoint, disabled) in message.endpoints.iter().zip(disabled) {
            let state =
                self.initial_state(*endpoint, message.ordering_key.as_deref(), *disabled)?;
            readied |= state == DeliveryState::Ready;
            self.counts.last_delivery += 1;
            self.connection
                .prepare_cached(
                    "INSERT INTO deliveries (id, message, endpoint, ordering_key, state)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    self.counts.last_delivery,
                    id,
                    endpoint.0,
                    message.ordering_key,
                    state as i64,
                ])?;
        }
        self.counts.last_message = id;
        self.counts.queued += count as u64;
        Ok(Receipt {
            message: MessageId(id),
            first_delivery: DeliveryId(first_delivery),
            deliveries: u32::try_from(count).unwrap_or(u32::MAX),
            replayed: false,
            readied,
        })
    }

    fn initial_state(
        &self,
        endpoint: EndpointId,
        ordering_key: Option<&str>,
        disabled: bool,
    ) -> rusqlite::Result<DeliveryState> {
        if disabled {
            return Ok(DeliveryState::Parked);
        }
        let Some(key) = ordering_key else {
            return Ok(DeliveryState::Ready);
        };
        let behind = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM deliveries
                 WHERE endpoint = ?1 AND ordering_key = ?2 AND finished IS NULL LIMIT 1",
            )?
            .exists(params![endpoint.0, key])?;
        Ok(if behind {
            DeliveryState::Blocked
        } else {
            DeliveryState::Ready
        })
    }

    /// Writes the result of an attempt, if its lease still holds.
    pub(super) fn finish(&mut self, finish: &Finish) -> rusqlite::Result<Finished> {
        let (state, due, finished) = match finish.verdict {
            Verdict::Delivered => (DeliveryState::Delivered, 0, Some(finish.now)),
            Verdict::Dead => (DeliveryState::Dead, 0, Some(finish.now)),
            Verdict::Retry { due } => (DeliveryState::Waiting, due, None),
            Verdict::DisableEndpoint => (DeliveryState::Parked, 0, None),
        };
        let (status, error) = match &finish.outcome {
            AttemptOutcome::Answered { status, .. } => (Some(*status), None),
            AttemptOutcome::Failed { reason } => (None, Some(reason.as_str())),
        };
        let lane: Option<(i64, Option<String>)> = self
            .connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due = ?4, finished = ?5, last_status = ?6,
                        last_error = ?7
                 WHERE id = ?1 AND fence = ?2 AND state = 2 RETURNING endpoint, ordering_key",
            )?
            .query_row(
                params![
                    finish.delivery.0,
                    finish.fence,
                    state as i64,
                    due,
                    finished,
                    status,
                    error
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((endpoint, ordering_key)) = lane else {
            return Ok(Finished {
                applied: false,
                readied: false,
            });
        };
        let readied = match finish.verdict {
            Verdict::Delivered | Verdict::Dead => {
                self.counts.queued -= 1;
                self.advance(endpoint, ordering_key.as_deref())?
            }
            Verdict::DisableEndpoint => {
                self.disable(endpoint)?;
                false
            }
            Verdict::Retry { .. } => {
                self.park_if_disabled(finish.delivery, endpoint)?;
                false
            }
        };
        Ok(Finished {
            applied: true,
            readied,
        })
    }

    /// Makes the new head of a lane ready (T1). Answers whether there was one.
    pub(super) fn advance(
        &mut self,
        endpoint: i64,
        ordering_key: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let Some(key) = ordering_key else {
            return Ok(false);
        };
        let readied = self
            .connection
            .prepare_cached(
                "UPDATE deliveries SET state = 1
                 WHERE state = 0 AND id = (
                     SELECT id FROM deliveries
                     WHERE endpoint = ?1 AND ordering_key = ?2 AND finished IS NULL
                     ORDER BY id LIMIT 1)",
            )?
            .execute(params![endpoint, key])?;
        Ok(readied > 0)
    }

    /// Parks all that an endpoint has and no worker holds. Those in flight end as they end; what they
    /// leave behind them in their lanes is parked, so nothing follows.
    fn disable(&mut self, endpoint: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE endpoints SET disabled = 1 WHERE id = ?1")?
            .execute([endpoint])?;
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = 4
                 WHERE endpoint = ?1 AND finished IS NULL AND state IN (0, 1, 3)",
            )?
            .execute([endpoint])?;
        Ok(())
    }

    /// A failed attempt is not made again where the endpoint was disabled meanwhile.
    fn park_if_disabled(&mut self, delivery: DeliveryId, endpoint: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = 4
                 WHERE id = ?1 AND EXISTS (
                     SELECT 1 FROM endpoints WHERE id = ?2 AND disabled = 1)",
            )?
            .execute(params![delivery.0, endpoint])
            .map(drop)
    }

    /// Makes the blocked heads of lanes ready (T1 says that there are none).
    pub(super) fn sweep_stuck_lanes(&mut self) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = 1
                 WHERE state = 0 AND id IN (
                     SELECT min(id) FROM deliveries
                     WHERE finished IS NULL AND ordering_key IS NOT NULL
                     GROUP BY endpoint, ordering_key)",
            )?
            .execute([])
    }
}

#[cfg(test)]
impl Tables {
    /// Breaks T1, as a mistake would.
    pub(super) fn break_lanes(&mut self) -> rusqlite::Result<()> {
        self.execute("UPDATE deliveries SET state = 0 WHERE state = 1")
    }

    /// How SQLite goes about the statements that are run for each delivery.
    pub(super) fn plans(&mut self) -> rusqlite::Result<Vec<String>> {
        [
            "SELECT 1 FROM deliveries
             WHERE endpoint = 1 AND ordering_key = 'k' AND finished IS NULL LIMIT 1",
            "SELECT id FROM deliveries
             WHERE endpoint = 1 AND ordering_key = 'k' AND finished IS NULL ORDER BY id LIMIT 1",
            "SELECT id, attempts FROM deliveries WHERE state = 2 AND due <= 1",
            "UPDATE deliveries SET state = 1 WHERE state = 3 AND due <= 1",
            "SELECT min(due) FROM deliveries WHERE state = 3",
            "SELECT endpoint FROM deliveries WHERE state = 1 AND endpoint > 1
             ORDER BY endpoint LIMIT 1",
            "SELECT d.id FROM deliveries d JOIN messages m ON m.id = d.message
                 JOIN endpoints e ON e.id = d.endpoint
             WHERE d.state = 1 AND d.endpoint = 1 ORDER BY d.id LIMIT 4",
            "SELECT id FROM messages WHERE idempotency_key = 'k'",
        ]
        .into_iter()
        .map(|sql| {
            let mut explain = self
                .connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let steps: Vec<String> = explain
                .query_map([], |row| row.get(3))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(format!("{sql}: {}", steps.join("; ")))
        })
        .collect()
    }
}
