//! The receiver: one listener, a path for each endpoint; every signature is verified.

use super::events::Event;
use super::tally::Tally;
use crate::domain::signature::Secret;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the path of a webhook begins with; the number of the customer follows.
pub(super) const PATH: &str = "/hooks/";

/// How the receiver treats webhooks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// 2% of the first attempts get one 503, 5% take 100 ms.
    Usual,
    /// Each is held for this long.
    Slow(Duration),
}

/// How long one in twenty takes.
const SLOW: Duration = Duration::from_millis(100);

/// The longest a request is held; the sender gives up after 20 s.
const HOLD_MAX: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Payload<'a> {
    id: &'a str,
}

pub(super) struct Receiver {
    manner: Manner,
    /// The secret of each key's endpoint.
    secrets: Vec<Secret>,
    /// The number of each event, by its id.
    events: HashMap<String, usize>,
    tally: Arc<Mutex<Tally>>,
}

impl Receiver {
    pub(super) fn new(
        events: &[Event],
        secrets: Vec<Secret>,
        manner: Manner,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        let numbers = events.iter().enumerate();
        Self {
            manner,
            secrets,
            events: numbers.map(|(n, event)| (event.id.clone(), n)).collect(),
            tally,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one webhook. Blocks this goroutine for as long as the manner says.
    pub(super) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let Some(event) = self.verified(request) else {
            self.tally().bad_signatures += 1;
            return status(StatusCode::BAD_REQUEST);
        };
        let before = self.tally().arrive(event);
        match self.manner {
            // The events that are treated specially are spread over all; 10,000 have exactly 2% and
            // 5% of them.
            Manner::Usual if before == 0 && event % 50 == 7 => {
                self.tally().refuse();
                return status(StatusCode::SERVICE_UNAVAILABLE);
            }
            Manner::Usual if event % 20 == 3 => std::thread::sleep(SLOW),
            Manner::Usual => {}
            Manner::Slow(hold) => self.hold(hold),
        }
        self.tally().answer(event, Instant::now());
        status(StatusCode::NO_CONTENT)
    }

    /// Holds a request for `hold`; longer, but not for ever, while others have yet to arrive: all of
    /// them at once is the point, also on a machine that is busy with something else.
    fn hold(&self, hold: Duration) {
        let end = Instant::now() + HOLD_MAX;
        std::thread::sleep(hold);
        while Instant::now() < end && self.tally().arrivals < self.events.len() as u64 {
            std::thread::sleep(SLOW);
        }
    }

    /// The number of the event, if the path is known and the signature holds.
    fn verified(&self, request: &Request<Bytes>) -> Option<usize> {
        let key: usize = request.uri().path().strip_prefix(PATH)?.parse().ok()?;
        let text = |name| header(request.headers(), name);
        let timestamp = text("webhook-timestamp")?.parse().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        let (id, signature) = (text("webhook-id")?, text("webhook-signature")?);
        let body = request.body();
        if !self
            .secrets
            .get(key)?
            .verify(id, timestamp, body, signature, now)
        {
            return None;
        }
        let payload: Payload<'_> = serde_json::from_slice(body).ok()?;
        self.events.get(payload.id).copied()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
