//! An endpoint: where webhooks go, and the secret that signs them.

use super::address::AddressPolicy;
use super::signature::Secret;
use std::fmt;
use std::net::IpAddr;

/// The longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// A URL that may be called: `http` or `https`, a host, no user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl(String);

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

impl TargetUrl {
    /// Checks `text`; an address written as a number is held against `policy` here already, a name
    /// is resolved and checked at each attempt.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str, policy: &AddressPolicy) -> Result<Self, UrlError> {
        let refuse = |reason: &str| Err(UrlError(format!("url: {reason}")));
        if text.len() > URL_BYTES_MAX {
            return refuse("longer than 2,048 bytes");
        }
        let Ok(uri) = text.parse::<http::Uri>() else {
            return refuse("not a valid URL");
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return refuse("the scheme must be http or https");
        }
        let Some(authority) = uri.authority() else {
            return refuse("no host");
        };
        if authority.as_str().contains('@') {
            return refuse("user information is not allowed");
        }
        if authority.host().is_empty() {
            return refuse("no host");
        }
        if text.contains('#') {
            return refuse("a fragment is not allowed");
        }
        let bare = authority.host().trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>()
            && !policy.permits(address)
        {
            return refuse("the address is in a private or reserved network");
        }
        Ok(Self(text.to_owned()))
    }

    /// A URL read back from the store, where only checked ones are written.
    pub fn trusted(text: String) -> Self {
        Self(text)
    }

    /// The URL's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An endpoint to be stored.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Where to send.
    pub url: TargetUrl,
    /// What signs each attempt.
    pub secret: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TargetUrl, UrlError> {
        TargetUrl::parse(text, &AddressPolicy::default())
    }

    #[test]
    fn public_urls_pass() {
        for good in [
            "https://example.com/hooks?a=b",
            "http://example.com:8080",
            "http://93.184.216.34/x",
        ] {
            assert_eq!(parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn other_schemes_user_information_and_private_addresses_are_refused() {
        for bad in [
            "ftp://example.com/",
            "example.com",
            "/path",
            "http://user:secret@example.com/",
            "http://127.0.0.1:80/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://example.com/a\r\nb",
            "http://exa mple.com/",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&format!("http://example.com/{}", "a".repeat(2048))).is_err());
    }

    #[test]
    fn an_allowed_network_passes() {
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()], false);
        assert!(TargetUrl::parse("http://127.0.0.1:80/", &policy).is_ok());
        assert!(TargetUrl::parse("http://10.0.0.1:80/", &policy).is_err());
    }
}
