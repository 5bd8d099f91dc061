//! The answers of the API: JSON, errors as `{"error":{"code":..,"message":..}}`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

/// How long a publisher should wait when the queue is full, in seconds.
const QUEUE_FULL_RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

pub(super) type Reply = Response<Bytes>;

/// Why a request is not answered as it hoped.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            allow: None,
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    code: &'a str,
    message: &'a str,
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(_) => with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Vec::new()),
    }
}

/// An answer of any type.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let body = ErrorBody {
            error: ErrorDetail {
                code: problem.code,
                message: &problem.message,
            },
        };
        let mut reply = json(problem.status, &body);
        if problem.status == StatusCode::TOO_MANY_REQUESTS {
            reply
                .headers_mut()
                .insert(RETRY_AFTER, QUEUE_FULL_RETRY_SECONDS);
        }
        if let Some(methods) = problem.allow {
            reply
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(methods));
        }
        reply
    }
}
