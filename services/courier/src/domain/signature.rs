//! Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.payload`, as
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";
/// The size of a generated secret, in bytes.
const GENERATED_BYTES: usize = 32;
/// How far a signature's timestamp may be from the verifier's clock, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

/// The shared secret of an endpoint: 24 to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret's text is not `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretError;

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret must be whsec_ followed by the base64 of 24 to 64 bytes")
    }
}

impl std::error::Error for SecretError {}

impl Secret {
    /// A new random secret.
    pub fn generate() -> Self {
        Self(rand::random::<[u8; GENERATED_BYTES]>().to_vec())
    }

    /// The secret of `text`.
    ///
    /// # Errors
    /// [`SecretError`] where it has not the form.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        Self::from_bytes(STANDARD.decode(encoded).map_err(|_| SecretError)?)
    }

    /// The secret of these bytes.
    ///
    /// # Errors
    /// [`SecretError`] where there are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SecretError> {
        if (24..=64).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(SecretError)
        }
    }

    /// The text given to the receiver.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The bytes that are the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn mac(&self, id: &str, timestamp_seconds: i64, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp_seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(payload);
        mac
    }

    /// The value of `webhook-signature` for this attempt.
    pub fn sign(&self, id: &str, timestamp_seconds: i64, payload: &[u8]) -> String {
        let digest = self.mac(id, timestamp_seconds, payload).finalize();
        format!("v1,{}", STANDARD.encode(digest.into_bytes()))
    }

    /// Whether one of the space-separated `signatures` is ours and `timestamp_seconds` is within
    /// [`TOLERANCE_SECONDS`] of `now_seconds`. Takes the same time wherever a byte differs.
    pub fn verify(
        &self,
        id: &str,
        timestamp_seconds: i64,
        payload: &[u8],
        signatures: &str,
        now_seconds: i64,
    ) -> bool {
        if now_seconds.abs_diff(timestamp_seconds) > TOLERANCE_SECONDS.unsigned_abs() {
            return false;
        }
        signatures.split(' ').any(|signature| {
            signature
                .strip_prefix("v1,")
                .and_then(|encoded| STANDARD.decode(encoded).ok())
                .is_some_and(|given| {
                    self.mac(id, timestamp_seconds, payload)
                        .verify_slice(&given)
                        .is_ok()
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the Standard Webhooks libraries' own tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const PAYLOAD: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn signs_the_published_test_vector() {
        let secret = Secret::parse(SECRET).unwrap();
        assert_eq!(secret.sign(ID, TIMESTAMP, PAYLOAD), SIGNATURE);
    }

    #[test]
    fn verifies_its_own_and_refuses_every_change() {
        let secret = Secret::generate();
        let secret = Secret::parse(&secret.text()).unwrap();
        let signature = secret.sign(ID, TIMESTAMP, PAYLOAD);
        let verify =
            |id, at, payload, signature: &str, now| secret.verify(id, at, payload, signature, now);
        assert!(verify(ID, TIMESTAMP, PAYLOAD, &signature, TIMESTAMP + 300));
        let several = format!("v1a,xyz v1,AAAA {signature}");
        assert!(verify(ID, TIMESTAMP, PAYLOAD, &several, TIMESTAMP));
        assert!(!verify("msg_x", TIMESTAMP, PAYLOAD, &signature, TIMESTAMP));
        assert!(!verify(ID, TIMESTAMP + 1, PAYLOAD, &signature, TIMESTAMP));
        assert!(!verify(ID, TIMESTAMP, b"{}", &signature, TIMESTAMP));
        assert!(!verify(ID, TIMESTAMP, PAYLOAD, SIGNATURE, TIMESTAMP));
        assert!(!verify(ID, TIMESTAMP, PAYLOAD, &signature, TIMESTAMP + 301));
        assert!(!verify(ID, TIMESTAMP, PAYLOAD, "", TIMESTAMP));
    }

    #[test]
    fn secrets_of_a_wrong_form_are_refused() {
        for bad in ["", "whsec_", "whsec_!!!!", "abc", "whsec_c2hvcnQ="] {
            assert_eq!(Secret::parse(bad), Err(SecretError), "{bad:?}");
        }
        assert_eq!(Secret::from_bytes(vec![0; 65]), Err(SecretError));
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Secret::generate()), "Secret(..)");
    }
}
