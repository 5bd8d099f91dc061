//! The ports: what the use cases need from the outside, as traits.

use crate::domain::UnixMilliseconds;
use crate::domain::delivery::{AttemptOutcome, Claim, DeliveryView, Verdict};
use crate::domain::endpoint::NewEndpoint;
use crate::domain::identifier::{DeliveryId, EndpointId, MessageId, StoreTag};
use crate::domain::message::NewMessage;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The store could not do it; nothing of the operation is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

/// What was stored for a message. Its deliveries have consecutive numbers, in the order of the
/// message's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// The first of its deliveries.
    pub first_delivery: DeliveryId,
    /// How many deliveries it has.
    pub deliveries: u32,
    /// Whether an earlier request with the same idempotency key had stored it.
    pub replayed: bool,
    /// Whether one of its deliveries can be claimed now.
    pub readied: bool,
}

/// Why a message was not stored, though its form is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such endpoint.
    UnknownEndpoint(EndpointId),
    /// The idempotency key was used with another body.
    IdempotencyConflict,
    /// As many deliveries as the limit allows are unfinished.
    QueueFull,
}

/// What a claim took.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The leased deliveries.
    pub claims: Vec<Claim>,
    /// When the next waiting delivery is due.
    pub next_due: Option<UnixMilliseconds>,
}

/// The result of one attempt, to be written.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The lease under which it was made (D2).
    pub fence: i64,
    /// What follows.
    pub verdict: Verdict,
    /// What was seen.
    pub outcome: AttemptOutcome,
    /// When.
    pub now: UnixMilliseconds,
}

/// What writing a result did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// False: the fence was stale, the result is void and nothing was changed.
    pub applied: bool,
    /// Whether the next delivery of the lane became ready.
    pub readied: bool,
}

/// The store of endpoints, messages and deliveries. Each operation is one transaction: when it
/// answers it is on disk, when it fails nothing of it is. All block the calling goroutine.
pub trait Outbox: Send + Sync + 'static {
    /// The random number of this database.
    fn tag(&self) -> StoreTag;

    /// Stores an endpoint.
    ///
    /// # Errors
    /// When the store fails.
    fn add_endpoint(
        &self,
        endpoint: NewEndpoint,
        now: UnixMilliseconds,
    ) -> Result<EndpointId, StoreError>;

    /// Stores a message and its deliveries, unless `queue_limit` would be passed.
    ///
    /// # Errors
    /// When the store fails; a [`Refusal`] is an answer, not an error of the store.
    fn publish(
        &self,
        message: NewMessage,
        queue_limit: u64,
        now: UnixMilliseconds,
    ) -> Result<Result<Receipt, Refusal>, StoreError>;

    /// Leases up to `limit` ready deliveries until `lease_until`, a few of each endpoint; first
    /// makes those ready whose retry is due or whose lease has expired. A delivery whose lease
    /// expired in its attempt number `attempts_max` is dead.
    ///
    /// # Errors
    /// When the store fails.
    fn claim(
        &self,
        limit: usize,
        now: UnixMilliseconds,
        lease_until: UnixMilliseconds,
        attempts_max: u32,
    ) -> Result<Claimed, StoreError>;

    /// Writes the result of an attempt and advances the lane, if the fence still holds.
    ///
    /// # Errors
    /// When the store fails.
    fn finish(&self, finish: Finish) -> Result<Finished, StoreError>;

    /// Gives leases back without charging the attempt. Answers how many were still held.
    ///
    /// # Errors
    /// When the store fails.
    fn release(&self, leases: Vec<(DeliveryId, i64)>) -> Result<usize, StoreError>;

    /// Makes the head of every lane ready that is blocked without a reason. There should be none:
    /// this is the net under a mistake. Answers how many it found.
    ///
    /// # Errors
    /// When the store fails.
    fn sweep_stuck_lanes(&self) -> Result<usize, StoreError>;

    /// A delivery, as last committed.
    ///
    /// # Errors
    /// When the store fails.
    fn delivery(&self, delivery: DeliveryId) -> Result<Option<DeliveryView>, StoreError>;

    /// How many deliveries are unfinished.
    fn queued(&self) -> u64;
}

/// Makes one attempt to deliver. Blocks the calling goroutine for the deadline at most.
pub trait Sender: Send + Sync + 'static {
    /// Sends the claim's payload, signed, as the message `message`.
    fn send(&self, claim: &Claim, message: &str, now: UnixMilliseconds) -> AttemptOutcome;
}

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> UnixMilliseconds;
}

/// The computer's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMilliseconds {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
