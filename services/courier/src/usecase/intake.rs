//! Taking events in, and saying where they are.

use super::counters::Counters;
use super::dispatch::Bell;
use super::ports::{Clock, Outbox, Receipt, Refusal, StoreError};
use crate::domain::address::AddressPolicy;
use crate::domain::delivery::DeliveryView;
use crate::domain::endpoint::{NewEndpoint, TargetUrl, UrlError};
use crate::domain::identifier::{DeliveryId, EndpointId, StoreTag};
use crate::domain::message::{MessageError, NewMessage};
use crate::domain::signature::{Secret, SecretError};
use std::fmt;
use std::sync::Arc;

/// Why an endpoint was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// The URL breaks a rule.
    Url(UrlError),
    /// The secret has not the form.
    Secret(SecretError),
    /// The store failed.
    Store(StoreError),
}

/// Why a message was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// It breaks a rule.
    Message(MessageError),
    /// Its form is right, but it cannot be taken.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Refused(Refusal::UnknownEndpoint(_)) => f.write_str("there is no such endpoint"),
            Self::Refused(Refusal::IdempotencyConflict) => {
                f.write_str("the Idempotency-Key was used with another body")
            }
            Self::Refused(Refusal::QueueFull) => f.write_str("the queue is full, try again later"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EndpointError {}
impl std::error::Error for PublishError {}

/// The use cases of the publisher's side.
pub struct Intake {
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    bell: Arc<Bell>,
    addresses: AddressPolicy,
    queue_limit: u64,
}

impl Intake {
    /// Takes events into `outbox`, and rings `bell` when there is something to dispatch.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        bell: Arc<Bell>,
        addresses: AddressPolicy,
        queue_limit: u64,
    ) -> Self {
        Self {
            outbox,
            clock,
            counters,
            bell,
            addresses,
            queue_limit,
        }
    }

    /// The tag with which identifiers are read and shown.
    pub fn tag(&self) -> StoreTag {
        self.outbox.tag()
    }

    /// Stores an endpoint; without a `secret`, a new one is made. Blocks this goroutine until it is
    /// on disk.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn add_endpoint(
        &self,
        url: &str,
        secret: Option<&str>,
    ) -> Result<(EndpointId, Secret), EndpointError> {
        let url = TargetUrl::parse(url, &self.addresses).map_err(EndpointError::Url)?;
        let secret = match secret {
            Some(text) => Secret::parse(text).map_err(EndpointError::Secret)?,
            None => Secret::generate(),
        };
        let endpoint = NewEndpoint {
            url,
            secret: secret.clone(),
        };
        let id = self
            .outbox
            .add_endpoint(endpoint, self.clock.now())
            .map_err(EndpointError::Store)?;
        Ok((id, secret))
    }

    /// Stores a message. Blocks this goroutine until it is on disk.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(&self, message: NewMessage) -> Result<Receipt, PublishError> {
        message.check().map_err(PublishError::Message)?;
        let answer = self
            .outbox
            .publish(message, self.queue_limit, self.clock.now())
            .map_err(PublishError::Store)?;
        let receipt = answer.map_err(|refusal| {
            if refusal == Refusal::QueueFull {
                self.counters.queue_full.increment();
            }
            PublishError::Refused(refusal)
        })?;
        if receipt.replayed {
            self.counters.messages_replayed.increment();
        } else {
            self.counters.messages_published.increment();
        }
        if receipt.readied {
            self.bell.ring();
        }
        Ok(receipt)
    }

    /// A delivery, as last committed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delivery(&self, delivery: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.outbox.delivery(delivery)
    }

    /// How many deliveries are unfinished.
    pub fn queued(&self) -> u64 {
        self.outbox.queued()
    }
}
