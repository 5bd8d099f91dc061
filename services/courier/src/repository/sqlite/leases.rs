//! The statements of leases: taking them, taking them back, giving them back. See [`Tables`].

use super::tables::Tables;
use crate::domain::UnixMilliseconds;
use crate::domain::delivery::{Claim, DeliveryState};
use crate::domain::identifier::{DeliveryId, EndpointId, MessageId};
use crate::domain::signature::Secret;
use crate::usecase::ports::Claimed;
use rusqlite::{OptionalExtension, Row, params};

/// How many deliveries of one endpoint a claim takes before it turns to the next.
const CLAIM_EACH: usize = 4;

impl Tables {
    /// Makes those ready whose next attempt is due.
    pub(super) fn promote_waiting(&mut self, now: UnixMilliseconds) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached("UPDATE deliveries SET state = 1 WHERE state = 3 AND due <= ?1")?
            .execute([now])
    }

    /// Takes leases back: those that expired by `expired`, or all. Each was an attempt; where it was
    /// the last, the delivery is dead and its lane goes on.
    pub(super) fn take_back_leases(
        &mut self,
        expired: Option<UnixMilliseconds>,
        attempts_max: u32,
        now: UnixMilliseconds,
    ) -> rusqlite::Result<usize> {
        let leased: Vec<(i64, u32)> = self
            .connection
            .prepare_cached("SELECT id, attempts FROM deliveries WHERE state = 2 AND due <= ?1")?
            .query_map([expired.unwrap_or(i64::MAX)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (id, attempts) in &leased {
            if *attempts >= attempts_max {
                self.end(*id, DeliveryState::Dead, now)?;
            } else {
                self.connection
                    .prepare_cached(
                        "UPDATE deliveries SET state = CASE (
                             SELECT disabled FROM endpoints WHERE id = endpoint)
                             WHEN 0 THEN 1 ELSE 4 END
                         WHERE id = ?1",
                    )?
                    .execute([id])?;
            }
        }
        Ok(leased.len())
    }

    fn end(
        &mut self,
        id: i64,
        state: DeliveryState,
        now: UnixMilliseconds,
    ) -> rusqlite::Result<bool> {
        let lane: (i64, Option<String>) = self
            .connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?2, finished = ?3,
                        last_error = 'the lease of the last attempt expired'
                 WHERE id = ?1 RETURNING endpoint, ordering_key",
            )?
            .query_row(params![id, state as i64, now], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        self.counts.queued -= 1;
        self.advance(lane.0, lane.1.as_deref())
    }

    /// Leases up to `limit` ready deliveries: from one endpoint after the other, a few of each, until
    /// there are enough or none is left.
    pub(super) fn claim(
        &mut self,
        limit: usize,
        lease_until: UnixMilliseconds,
    ) -> rusqlite::Result<Claimed> {
        let mut claims = Vec::new();
        let mut wrapped = false;
        while claims.len() < limit {
            let next: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT endpoint FROM deliveries WHERE state = 1 AND endpoint > ?1
                     ORDER BY endpoint LIMIT 1",
                )?
                .query_row([self.claim_after], |row| row.get(0))
                .optional()?;
            match next {
                Some(endpoint) => {
                    wrapped = false;
                    let each = CLAIM_EACH.min(limit - claims.len());
                    self.claim_of(endpoint, each, lease_until, &mut claims)?;
                    self.claim_after = endpoint;
                }
                None if wrapped => break,
                None => {
                    wrapped = true;
                    self.claim_after = 0;
                }
            }
        }
        let next_due = self
            .connection
            .prepare_cached("SELECT min(due) FROM deliveries WHERE state = 3")?
            .query_row([], |row| row.get(0))?;
        Ok(Claimed { claims, next_due })
    }

    fn claim_of(
        &mut self,
        endpoint: i64,
        limit: usize,
        lease_until: UnixMilliseconds,
        claims: &mut Vec<Claim>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(
            "SELECT d.id, d.message, d.endpoint, d.fence + 1, d.attempts + 1, e.url, e.secret,
                    m.payload
             FROM deliveries d JOIN messages m ON m.id = d.message
                  JOIN endpoints e ON e.id = d.endpoint
             WHERE d.state = 1 AND d.endpoint = ?1 ORDER BY d.id LIMIT ?2",
        )?;
        let begin = claims.len();
        for claim in select.query_map(params![endpoint, limit as i64], claim_of_row)? {
            claims.push(claim?);
        }
        for claim in &claims[begin..] {
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = 2, fence = ?2, attempts = ?3, due = ?4
                     WHERE id = ?1",
                )?
                .execute(params![
                    claim.delivery.0,
                    claim.fence,
                    claim.attempt,
                    lease_until
                ])?;
        }
        Ok(())
    }

    /// Gives leases back; the attempt is not charged, and its late result is void.
    pub(super) fn release(&mut self, leases: &[(DeliveryId, i64)]) -> rusqlite::Result<usize> {
        let mut released = 0;
        for (delivery, fence) in leases {
            released += self
                .connection
                .prepare_cached(
                    "UPDATE deliveries SET attempts = attempts - 1, fence = fence + 1,
                            state = CASE (SELECT disabled FROM endpoints WHERE id = endpoint)
                                WHEN 0 THEN 1 ELSE 4 END
                     WHERE id = ?1 AND fence = ?2 AND state = 2",
                )?
                .execute(params![delivery.0, fence])?;
        }
        Ok(released)
    }
}

fn claim_of_row(row: &Row<'_>) -> rusqlite::Result<Claim> {
    let secret = Secret::from_bytes(row.get(6)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(6, blob(), error.into()))?;
    Ok(Claim {
        delivery: DeliveryId(row.get(0)?),
        message: MessageId(row.get(1)?),
        endpoint: EndpointId(row.get(2)?),
        fence: row.get(3)?,
        attempt: row.get(4)?,
        url: row.get(5)?,
        secret,
        payload: row.get(7)?,
    })
}

fn blob() -> rusqlite::types::Type {
    rusqlite::types::Type::Blob
}
