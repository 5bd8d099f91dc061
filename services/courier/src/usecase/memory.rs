//! An outbox in memory, so that the use cases are tested in milliseconds.

use super::ports::{Claimed, Finish, Finished, Outbox, Receipt, Refusal, StoreError};
use crate::domain::UnixMilliseconds;
use crate::domain::delivery::{AttemptOutcome, Claim, DeliveryState, DeliveryView, Verdict};
use crate::domain::endpoint::NewEndpoint;
use crate::domain::identifier::{DeliveryId, EndpointId, MessageId, StoreTag};
use crate::domain::message::NewMessage;
use std::sync::{Mutex, MutexGuard};

struct Row {
    view: DeliveryView,
    ordering_key: Option<String>,
    payload: Vec<u8>,
    fence: i64,
    due: UnixMilliseconds,
}

#[derive(Default)]
struct State {
    endpoints: Vec<NewEndpoint>,
    messages: i64,
    rows: Vec<Row>,
}

#[derive(Default)]
pub(super) struct MemoryOutbox(Mutex<State>);

impl MemoryOutbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn behind(&self, endpoint: EndpointId, key: Option<&String>) -> bool {
        key.is_some()
            && self.rows.iter().any(|row| {
                row.view.endpoint == endpoint
                    && row.ordering_key.as_ref() == key
                    && row.view.finished.is_none()
            })
    }
}

impl Outbox for MemoryOutbox {
    fn tag(&self) -> StoreTag {
        StoreTag(7)
    }

    fn add_endpoint(
        &self,
        endpoint: NewEndpoint,
        _: UnixMilliseconds,
    ) -> Result<EndpointId, StoreError> {
        let mut state = self.state();
        state.endpoints.push(endpoint);
        Ok(EndpointId(state.endpoints.len() as i64))
    }

    fn publish(
        &self,
        message: NewMessage,
        queue_limit: u64,
        now: UnixMilliseconds,
    ) -> Result<Result<Receipt, Refusal>, StoreError> {
        if self.queued() + message.endpoints.len() as u64 > queue_limit {
            return Ok(Err(Refusal::QueueFull));
        }
        let mut state = self.state();
        for endpoint in &message.endpoints {
            if endpoint.0 < 1 || endpoint.0 as usize > state.endpoints.len() {
                return Ok(Err(Refusal::UnknownEndpoint(*endpoint)));
            }
        }
        state.messages += 1;
        let first_delivery = DeliveryId(state.rows.len() as i64 + 1);
        for endpoint in &message.endpoints {
            let behind = state.behind(*endpoint, message.ordering_key.as_ref());
            let view = DeliveryView {
                delivery: DeliveryId(state.rows.len() as i64 + 1),
                message: MessageId(state.messages),
                endpoint: *endpoint,
                state: if behind {
                    DeliveryState::Blocked
                } else {
                    DeliveryState::Ready
                },
                attempts: 0,
                last_status: None,
                last_error: None,
                next_attempt: None,
                created: now,
                finished: None,
            };
            state.rows.push(Row {
                view,
                ordering_key: message.ordering_key.clone(),
                payload: message.payload.clone(),
                fence: 0,
                due: 0,
            });
        }
        Ok(Ok(Receipt {
            message: MessageId(state.messages),
            first_delivery,
            deliveries: message.endpoints.len() as u32,
            replayed: false,
            readied: true,
        }))
    }

    fn claim(
        &self,
        limit: usize,
        now: UnixMilliseconds,
        lease_until: UnixMilliseconds,
        _attempts_max: u32,
    ) -> Result<Claimed, StoreError> {
        let mut state = self.state();
        let State {
            endpoints, rows, ..
        } = &mut *state;
        let mut claimed = Claimed::default();
        for row in rows.iter_mut() {
            if row.view.state == DeliveryState::Waiting && row.due <= now {
                row.view.state = DeliveryState::Ready;
            }
            if row.view.state == DeliveryState::Waiting {
                let due = claimed.next_due.unwrap_or(i64::MAX).min(row.due);
                claimed.next_due = Some(due);
            }
            if row.view.state != DeliveryState::Ready || claimed.claims.len() == limit {
                continue;
            }
            row.view.state = DeliveryState::Leased;
            row.view.attempts += 1;
            row.fence += 1;
            row.due = lease_until;
            let endpoint = &endpoints[row.view.endpoint.0 as usize - 1];
            claimed.claims.push(Claim {
                delivery: row.view.delivery,
                message: row.view.message,
                endpoint: row.view.endpoint,
                fence: row.fence,
                attempt: row.view.attempts,
                url: endpoint.url.as_str().to_owned(),
                secret: endpoint.secret.clone(),
                payload: row.payload.clone(),
            });
        }
        Ok(claimed)
    }

    fn finish(&self, finish: Finish) -> Result<Finished, StoreError> {
        let mut state = self.state();
        let row = &mut state.rows[finish.delivery.0 as usize - 1];
        if row.fence != finish.fence || row.view.state != DeliveryState::Leased {
            return Ok(Finished {
                applied: false,
                readied: false,
            });
        }
        if let AttemptOutcome::Answered { status, .. } = finish.outcome {
            row.view.last_status = Some(status);
        }
        row.view.state = match finish.verdict {
            Verdict::Delivered => DeliveryState::Delivered,
            Verdict::Dead => DeliveryState::Dead,
            Verdict::DisableEndpoint => DeliveryState::Parked,
            Verdict::Retry { due } => {
                row.due = due;
                DeliveryState::Waiting
            }
        };
        let mut readied = false;
        if matches!(finish.verdict, Verdict::Delivered | Verdict::Dead) {
            row.view.finished = Some(finish.now);
            let (endpoint, key) = (row.view.endpoint, row.ordering_key.clone());
            let next = state.rows.iter_mut().find(|row| {
                key.is_some()
                    && row.view.endpoint == endpoint
                    && row.ordering_key == key
                    && row.view.finished.is_none()
            });
            if let Some(next) = next {
                next.view.state = DeliveryState::Ready;
                readied = true;
            }
        }
        Ok(Finished {
            applied: true,
            readied,
        })
    }

    fn release(&self, leases: Vec<(DeliveryId, i64)>) -> Result<usize, StoreError> {
        let mut state = self.state();
        let mut released = 0;
        for (delivery, fence) in leases {
            let row = &mut state.rows[delivery.0 as usize - 1];
            if row.fence == fence && row.view.state == DeliveryState::Leased {
                row.view.state = DeliveryState::Ready;
                row.view.attempts -= 1;
                row.fence += 1;
                released += 1;
            }
        }
        Ok(released)
    }

    fn sweep_stuck_lanes(&self) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn delivery(&self, delivery: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let state = self.state();
        let row = usize::try_from(delivery.0 - 1)
            .ok()
            .and_then(|index| state.rows.get(index));
        Ok(row.map(|row| row.view.clone()))
    }

    fn queued(&self) -> u64 {
        let state = self.state();
        let unfinished = state.rows.iter().filter(|row| row.view.finished.is_none());
        unfinished.count() as u64
    }
}
