//! The API: `POST /v1/endpoints`, `POST /v1/messages`, `GET /v1/deliveries/{id}`, `/healthz`,
//! `/metrics`. Each request is answered on the goroutine of its connection, which simply blocks
//! until what it asked for is on disk.

use super::metrics::Metrics;
use super::replies::{Problem, Reply, json, with_type};
use crate::domain::delivery::DeliveryView;
use crate::domain::identifier::{DeliveryId, EndpointId, StoreTag};
use crate::domain::message::{Idempotency, MessageError, NewMessage};
use crate::usecase::intake::{EndpointError, Intake, PublishError};
use crate::usecase::ports::{Refusal, StoreError};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The header that makes publishing again the same publishing.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers requests.
pub struct Api {
    intake: Intake,
    metrics: Arc<Metrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointRequest {
    url: String,
    secret: Option<String>,
}

#[derive(Serialize)]
struct EndpointReply {
    id: String,
    url: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageRequest<'a> {
    endpoint: Option<String>,
    endpoints: Option<Vec<String>>,
    event_type: String,
    ordering_key: Option<String>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct MessageReply<'a> {
    id: String,
    deliveries: Vec<MessageDelivery<'a>>,
}

#[derive(Serialize)]
struct MessageDelivery<'a> {
    id: String,
    endpoint: &'a str,
}

#[derive(Serialize)]
struct DeliveryReply {
    id: String,
    message: String,
    endpoint: String,
    state: &'static str,
    attempts: u32,
    last_status: Option<u16>,
    last_error: Option<String>,
    next_attempt_ms: Option<i64>,
    created_ms: i64,
    finished_ms: Option<i64>,
}

impl DeliveryReply {
    fn new(view: DeliveryView, tag: StoreTag) -> Self {
        Self {
            id: view.delivery.text(tag),
            message: view.message.text(tag),
            endpoint: view.endpoint.text(tag),
            state: view.state.name(),
            attempts: view.attempts,
            last_status: view.last_status,
            last_error: view.last_error,
            next_attempt_ms: view.next_attempt,
            created_ms: view.created,
            finished_ms: view.finished,
        }
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

impl Api {
    /// Answers for `intake`.
    pub fn new(intake: Intake, metrics: Arc<Metrics>) -> Self {
        Self { intake, metrics }
    }

    /// Answers one request. Blocks this goroutine until what it asked for is done.
    pub fn answer(&self, request: &Request<Bytes>) -> Reply {
        self.route(request).unwrap_or_else(Reply::from)
    }

    fn route(&self, request: &Request<Bytes>) -> Result<Reply, Problem> {
        let path = request.uri().path();
        let (method, delivery) = match path {
            "/v1/endpoints" | "/v1/messages" => (Method::POST, None),
            "/healthz" | "/metrics" => (Method::GET, None),
            _ => match path.strip_prefix("/v1/deliveries/") {
                Some(id) => (Method::GET, Some(id)),
                None => return Err(not_found("no_such_path", "there is nothing at this path")),
            },
        };
        if *request.method() != method {
            return Err(wrong_method(&method));
        }
        match (path, delivery) {
            (_, Some(id)) => self.delivery(id),
            ("/v1/endpoints", _) => self.add_endpoint(request.body()),
            ("/v1/messages", _) => self.publish(request.headers(), request.body()),
            ("/healthz", _) => Ok(json(StatusCode::OK, &Health { status: "ok" })),
            _ => Ok(self.show_metrics()),
        }
    }

    fn add_endpoint(&self, body: &[u8]) -> Result<Reply, Problem> {
        let request: EndpointRequest = parse(body)?;
        let (id, secret) = self
            .intake
            .add_endpoint(&request.url, request.secret.as_deref())
            .map_err(|error| match error {
                EndpointError::Store(error) => store_problem(&error),
                EndpointError::Url(_) => invalid("invalid_url", error.to_string()),
                EndpointError::Secret(_) => invalid("invalid_secret", error.to_string()),
            })?;
        let reply = EndpointReply {
            id: id.text(self.intake.tag()),
            url: request.url,
            secret: secret.text(),
        };
        Ok(json(StatusCode::CREATED, &reply))
    }

    fn publish(&self, headers: &HeaderMap, body: &[u8]) -> Result<Reply, Problem> {
        let idempotency = idempotency(headers, body)?;
        let request: MessageRequest<'_> = parse(body)?;
        let names = match (request.endpoint, request.endpoints) {
            (Some(one), None) => vec![one],
            (None, Some(several)) => several,
            _ => {
                let message = "exactly one of endpoint and endpoints is needed";
                return Err(invalid("invalid_request", message));
            }
        };
        let tag = self.intake.tag();
        let endpoints = names
            .iter()
            .map(|name| EndpointId::parse(tag, name).ok_or_else(|| unknown_endpoint(name)))
            .collect::<Result<_, _>>()?;
        let message = NewMessage {
            endpoints,
            event_type: request.event_type,
            ordering_key: request.ordering_key,
            payload: request.payload.get().as_bytes().to_vec(),
            idempotency,
        };
        let receipt = self
            .intake
            .publish(message)
            .map_err(|error| publish_problem(error, tag))?;
        let numbers = receipt.first_delivery.0..;
        let deliveries = numbers
            .zip(&names)
            .map(|(number, endpoint)| MessageDelivery {
                id: DeliveryId(number).text(tag),
                endpoint,
            })
            .collect();
        let reply = MessageReply {
            id: receipt.message.text(tag),
            deliveries,
        };
        Ok(json(StatusCode::ACCEPTED, &reply))
    }

    fn delivery(&self, id: &str) -> Result<Reply, Problem> {
        let tag = self.intake.tag();
        let view = match DeliveryId::parse(tag, id) {
            Some(id) => self.intake.delivery(id).map_err(|e| store_problem(&e))?,
            None => None,
        };
        match view {
            Some(view) => Ok(json(StatusCode::OK, &DeliveryReply::new(view, tag))),
            None => Err(not_found("unknown_delivery", "there is no such delivery")),
        }
    }

    fn show_metrics(&self) -> Reply {
        let text = self.metrics.text(self.intake.queued());
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        with_type(StatusCode::OK, content_type, text.into_bytes())
    }
}

fn idempotency(headers: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().map_err(|_| {
        let message = "Idempotency-Key must be visible ASCII characters";
        invalid("invalid_request", message)
    })?;
    Ok(Some(Idempotency {
        key: key.to_owned(),
        body_hash: Sha256::digest(body).into(),
    }))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() {
            "invalid_request"
        } else {
            "malformed_json"
        };
        invalid(code, error.to_string())
    })
}

fn invalid(code: &'static str, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, message)
}

fn not_found(code: &'static str, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, message)
}

fn unknown_endpoint(name: &str) -> Problem {
    not_found("unknown_endpoint", format!("there is no endpoint {name:?}"))
}

fn wrong_method(allowed: &Method) -> Problem {
    let name = if allowed == Method::POST {
        "POST"
    } else {
        "GET"
    };
    Problem {
        allow: Some(name),
        ..Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path takes {name} only"),
        )
    }
}

fn store_problem(error: &StoreError) -> Problem {
    // Nothing of the request is kept, so that it may be made again as it is.
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "store_failed",
        error.to_string(),
    )
}

fn publish_problem(error: PublishError, tag: StoreTag) -> Problem {
    let message = error.to_string();
    match error {
        PublishError::Message(MessageError::PayloadTooLarge { .. }) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
        }
        PublishError::Message(MessageError::Invalid(_)) => invalid("invalid_request", message),
        PublishError::Refused(Refusal::UnknownEndpoint(id)) => unknown_endpoint(&id.text(tag)),
        PublishError::Refused(Refusal::IdempotencyConflict) => {
            Problem::new(StatusCode::CONFLICT, "idempotency_conflict", message)
        }
        PublishError::Refused(Refusal::QueueFull) => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
        }
        PublishError::Store(error) => store_problem(&error),
    }
}
