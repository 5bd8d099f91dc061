//! A message: one event, with the endpoints it goes to and the key that orders it.

use super::identifier::EndpointId;
use std::fmt;

/// The largest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// The longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// The longest ordering key, in bytes.
pub const ORDERING_KEY_BYTES_MAX: usize = 256;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// The most endpoints of one message.
pub const ENDPOINTS_MAX: usize = 1_000;

/// A publisher's promise that two requests with this key are the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The publisher's key.
    pub key: String,
    /// SHA-256 of the request's body: the same key with another body is a conflict.
    pub body_hash: [u8; 32],
}

/// A message to be stored. [`NewMessage::check`] is the gate.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Where it goes; one delivery is made for each.
    pub endpoints: Vec<EndpointId>,
    /// The kind of event, such as `invoice.paid`.
    pub event_type: String,
    /// Deliveries of one endpoint and key are made one after the other, in publish order. Without a
    /// key there is no order.
    pub ordering_key: Option<String>,
    /// The body of the webhook, JSON, sent byte for byte.
    pub payload: Vec<u8>,
    /// The publisher's idempotency key, if any.
    pub idempotency: Option<Idempotency>,
}

/// Why a message is refused before anything is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The payload is larger than [`PAYLOAD_BYTES_MAX`].
    PayloadTooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A field breaks its rule.
    Invalid(&'static str),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PayloadTooLarge { bytes } => write!(
                f,
                "the payload has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}"
            ),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for MessageError {}

fn printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

impl NewMessage {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), MessageError> {
        let invalid = |reason| Err(MessageError::Invalid(reason));
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(MessageError::PayloadTooLarge {
                bytes: self.payload.len(),
            });
        }
        if self.payload.is_empty() {
            return invalid("the payload is empty");
        }
        if self.endpoints.is_empty() {
            return invalid("at least one endpoint is needed");
        }
        if self.endpoints.len() > ENDPOINTS_MAX {
            return invalid("more than 1,000 endpoints");
        }
        let mut sorted = self.endpoints.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return invalid("an endpoint is named twice");
        }
        if self.event_type.is_empty() || self.event_type.len() > EVENT_TYPE_BYTES_MAX {
            return invalid("event_type must have 1 to 128 bytes");
        }
        if !printable(&self.event_type) {
            return invalid("event_type must not contain control characters");
        }
        if let Some(key) = &self.ordering_key
            && (key.is_empty() || key.len() > ORDERING_KEY_BYTES_MAX || !printable(key))
        {
            return invalid("ordering_key must have 1 to 256 bytes, no control characters");
        }
        if let Some(idempotency) = &self.idempotency {
            let key = idempotency.key.as_bytes();
            if key.is_empty()
                || key.len() > IDEMPOTENCY_KEY_BYTES_MAX
                || !key.iter().all(|b| (0x20..0x7f).contains(b))
            {
                return invalid("Idempotency-Key must have 1 to 255 visible ASCII characters");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> NewMessage {
        NewMessage {
            endpoints: vec![EndpointId(1), EndpointId(2)],
            event_type: "invoice.paid".into(),
            ordering_key: Some("cus_1".into()),
            payload: b"{}".to_vec(),
            idempotency: None,
        }
    }

    #[test]
    fn a_message_within_the_limits_passes() {
        assert_eq!(message().check(), Ok(()));
        let mut largest = message();
        largest.payload = vec![b' '; PAYLOAD_BYTES_MAX];
        assert_eq!(largest.check(), Ok(()));
    }

    #[test]
    fn one_byte_over_the_payload_limit_is_too_large() {
        let mut m = message();
        m.payload = vec![b' '; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(
            m.check(),
            Err(MessageError::PayloadTooLarge {
                bytes: PAYLOAD_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn each_broken_rule_is_refused() {
        let breakers: [fn(&mut NewMessage); 8] = [
            |m| m.endpoints.clear(),
            |m| m.endpoints = vec![EndpointId(1), EndpointId(1)],
            |m| m.endpoints = (0..1001).map(EndpointId).collect(),
            |m| m.event_type.clear(),
            |m| m.event_type = "a\r\nb".into(),
            |m| m.ordering_key = Some(String::new()),
            |m| m.payload.clear(),
            |m| {
                m.idempotency = Some(Idempotency {
                    key: "a\u{e9}".into(),
                    body_hash: [0; 32],
                });
            },
        ];
        for (index, spoil) in breakers.iter().enumerate() {
            let mut m = message();
            spoil(&mut m);
            assert!(
                matches!(m.check(), Err(MessageError::Invalid(_))),
                "{index}"
            );
        }
    }
}
