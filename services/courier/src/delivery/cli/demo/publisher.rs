//! The publishers: a few goroutines that each publish the events of their customers one after the
//! other, over a connection of their own, and try again under the same Idempotency-Key until they
//! get their 202.

use super::Failure;
use super::events::Event;
use super::tally::Tally;
use crate::domain::signature::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;

/// How many publish at once.
pub(super) const PUBLISHERS: usize = 64;
/// The pause before a request that failed is made again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a request is made again before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(serde::Serialize)]
struct Message<'a> {
    endpoint: &'a str,
    event_type: &'a str,
    ordering_key: String,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct Accepted {
    deliveries: Vec<Created>,
}

/// A client of the API.
pub(super) struct Publisher {
    agent: Agent,
    api: SocketAddr,
}

impl Publisher {
    pub(super) fn new(api: SocketAddr) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .input_buffer_size(4 * 1024)
            .output_buffer_size(4 * 1024)
            .build()
            .new_agent();
        Self { agent, api }
    }

    /// Creates the endpoint at `url` and answers its id.
    pub(super) fn create_endpoint(&self, url: &str, secret: &Secret) -> Result<String, Failure> {
        let body = serde_json::json!({"url": url, "secret": secret.text()}).to_string();
        let created: Created = self.post("/v1/endpoints", None, body.as_bytes())?;
        Ok(created.id)
    }

    /// Publishes `event` and answers the id of its delivery.
    pub(super) fn publish(
        &self,
        event: &Event,
        endpoint: &str,
        tally: &Mutex<Tally>,
        index: usize,
    ) -> Result<String, Failure> {
        let message = Message {
            endpoint,
            event_type: &event.kind,
            ordering_key: format!("customer {}", event.key),
            payload: serde_json::from_str(&event.payload)?,
        };
        let body = serde_json::to_vec(&message)?;
        let accepted: Accepted = self.post("/v1/messages", Some(&event.id), &body)?;
        let now = Instant::now();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.accept(index, now);
        drop(tally);
        let delivery = accepted.deliveries.into_iter().next();
        Ok(delivery.ok_or("a message without a delivery")?.id)
    }

    /// Posts until it is answered 2xx. What cannot succeed by itself is an error at once.
    fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        idempotency_key: Option<&str>,
        body: &[u8],
    ) -> Result<T, Failure> {
        let url = format!("http://{}{path}", self.api);
        let begun = Instant::now();
        loop {
            let mut request = self
                .agent
                .post(&url)
                .header("content-type", "application/json");
            if let Some(key) = idempotency_key {
                request = request.header("idempotency-key", key);
            }
            let answer = request.send(body).and_then(|mut answer| {
                let text = answer.body_mut().read_to_string()?;
                Ok((answer.status().as_u16(), text))
            });
            let failure: Failure = match answer {
                Ok((status, text)) if (200..300).contains(&status) => {
                    return Ok(serde_json::from_str(&text)?);
                }
                Ok((status, text)) if status == 429 || status >= 500 => {
                    format!("{path} answered {status}: {text}").into()
                }
                Ok((status, text)) => {
                    return Err(format!("{path} answered {status}: {text}").into());
                }
                // The child may just have been killed.
                Err(error) => format!("{path}: {error}").into(),
            };
            if begun.elapsed() > PATIENCE {
                return Err(failure);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
