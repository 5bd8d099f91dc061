//! A delivery: one message on its way to one endpoint.
//!
//! ```text
//! blocked -> ready -> leased -> delivered | waiting -> ready | dead
//! parked: the endpoint is disabled; nothing is lost, nothing is sent
//! ```
//!
//! - D1: deliveries of one endpoint and ordering key form a lane; its first unfinished delivery is
//!   the head, all others are blocked (or the whole lane is parked).
//! - D2: only a ready delivery is leased; each lease has a larger fence than the one before, and a
//!   result with an older fence is void.
//! - D3: each lease is an attempt, unless it is released before it was used.

use super::UnixMilliseconds;
use super::identifier::{DeliveryId, EndpointId, MessageId};
use super::retry::RetryPolicy;
use super::signature::Secret;

/// Where a delivery stands. The numbers are the stored form; those from 10 on are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum DeliveryState {
    /// An earlier delivery of its lane is unfinished.
    Blocked = 0,
    /// To be sent now.
    Ready = 1,
    /// A worker has it.
    Leased = 2,
    /// An attempt failed; the next has its time.
    Waiting = 3,
    /// Its endpoint is disabled.
    Parked = 4,
    /// The receiver answered 2xx.
    Delivered = 10,
    /// No attempt is left.
    Dead = 11,
}

impl DeliveryState {
    /// The state of a stored number.
    pub fn from_number(number: i64) -> Option<Self> {
        [
            Self::Blocked,
            Self::Ready,
            Self::Leased,
            Self::Waiting,
            Self::Parked,
            Self::Delivered,
            Self::Dead,
        ]
        .into_iter()
        .find(|state| *state as i64 == number)
    }

    /// The name shown outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// A leased delivery: all that a worker needs for one attempt.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The number of this lease (D2).
    pub fence: i64,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Where to send.
    pub url: String,
    /// What signs it.
    pub secret: Secret,
    /// The body to send.
    pub payload: Vec<u8>,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The receiver's Retry-After, in milliseconds.
        retry_after_milliseconds: Option<u64>,
    },
    /// There was no answer: no address, no connection, a timeout, a broken answer.
    Failed {
        /// What happened, for people.
        reason: String,
    },
}

/// What is to be written about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// Try again at this time.
    Retry {
        /// When.
        due: UnixMilliseconds,
    },
    /// Give up: a dead letter.
    Dead,
    /// The receiver says the endpoint is gone: disable it and park all it has.
    DisableEndpoint,
}

/// Judges one attempt: 2xx is delivered, 410 disables the endpoint, all else (3xx too, redirects are
/// never followed) is tried again until no attempt is left.
pub fn judge(
    outcome: &AttemptOutcome,
    attempt: u32,
    policy: &RetryPolicy,
    now: UnixMilliseconds,
    random: u64,
) -> Verdict {
    let retry_after = match outcome {
        AttemptOutcome::Answered { status, .. } if (200..300).contains(status) => {
            return Verdict::Delivered;
        }
        AttemptOutcome::Answered { status: 410, .. } => return Verdict::DisableEndpoint,
        AttemptOutcome::Answered {
            retry_after_milliseconds,
            ..
        } => *retry_after_milliseconds,
        AttemptOutcome::Failed { .. } => None,
    };
    match policy.next_attempt(attempt, now, random, retry_after) {
        Some(due) => Verdict::Retry { due },
        None => Verdict::Dead,
    }
}

/// A delivery as its publisher may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts charged so far.
    pub attempts: u32,
    /// The last HTTP status, if a receiver answered.
    pub last_status: Option<u16>,
    /// The last failure without an answer.
    pub last_error: Option<String>,
    /// When the next attempt is due, while waiting.
    pub next_attempt: Option<UnixMilliseconds>,
    /// When it was published.
    pub created: UnixMilliseconds,
    /// When it was delivered or died.
    pub finished: Option<UnixMilliseconds>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> AttemptOutcome {
        AttemptOutcome::Answered {
            status,
            retry_after_milliseconds: None,
        }
    }

    #[test]
    fn stored_numbers_read_back_and_unknown_ones_do_not() {
        for number in -1..20 {
            if let Some(state) = DeliveryState::from_number(number) {
                assert_eq!(state as i64, number);
            }
        }
        assert_eq!(DeliveryState::from_number(11), Some(DeliveryState::Dead));
        assert_eq!(DeliveryState::from_number(5), None);
    }

    #[test]
    fn each_status_has_its_verdict() {
        let policy = RetryPolicy {
            base_milliseconds: 100,
            cap_milliseconds: 1_000,
            attempts_max: 3,
        };
        let verdict = |outcome: &AttemptOutcome, attempt| judge(outcome, attempt, &policy, 0, 0);
        for status in [200, 202, 204, 299] {
            assert_eq!(verdict(&answered(status), 3), Verdict::Delivered);
        }
        assert_eq!(verdict(&answered(410), 1), Verdict::DisableEndpoint);
        for status in [301, 302, 400, 404, 429, 500, 503] {
            assert_eq!(verdict(&answered(status), 1), Verdict::Retry { due: 50 });
            assert_eq!(verdict(&answered(status), 3), Verdict::Dead);
        }
        let refused = AttemptOutcome::Failed {
            reason: "connection refused".into(),
        };
        assert_eq!(verdict(&refused, 2), Verdict::Retry { due: 100 });
        let patient = AttemptOutcome::Answered {
            status: 503,
            retry_after_milliseconds: Some(700),
        };
        assert_eq!(verdict(&patient, 1), Verdict::Retry { due: 700 });
    }
}
