//! What courier's users give it as text: identifiers, addresses of endpoints, secrets and signatures. What is
//! accepted is written again as it was, and an address that is not public is not accepted.

#![no_main]

/// courier's own, without its servers and its database.
#[allow(dead_code, reason = "a part is tried")]
#[path = "../../services/courier/src/domain"]
mod domain {
    pub mod address;
    pub mod endpoint;
    pub mod identifier;
    pub mod signature;
}

use domain::address::AddressPolicy;
use domain::endpoint::TargetUrl;
use domain::identifier::{DeliveryId, EndpointId, StoreTag};
use domain::signature::Secret;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|text: &str| {
    // The tag that the text claims, so that something is accepted.
    let tag = text
        .get(3..19)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let tag = StoreTag(tag.unwrap_or(0));
    if let Some(id) = EndpointId::parse(tag, text) {
        assert_eq!(id.text(tag), text);
    }
    if let Some(id) = DeliveryId::parse(tag, text) {
        assert_eq!(id.text(tag), text);
    }
    let policy = AddressPolicy::default();
    if let Ok(url) = TargetUrl::parse(text, &policy) {
        assert_eq!(url.as_str(), text);
        let uri: http::Uri = text.parse().expect("it was accepted");
        let host = uri
            .host()
            .expect("it was accepted")
            .trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>() {
            assert!(policy.permits(address) && !address.is_loopback() && !address.is_multicast());
        }
    }
    if let Ok(secret) = Secret::parse(text) {
        assert_eq!(secret.text(), text);
    }
    let secret = Secret::from_bytes(vec![7; 32]).expect("it is long enough");
    let signature = secret.sign("id", 1, b"payload");
    let is_right = secret.verify("id", 1, b"payload", text, 1);
    assert!(
        !is_right
            || text
                .split(' ')
                .any(|one| one.trim_end_matches('=') == signature.trim_end_matches('='))
    );
});
