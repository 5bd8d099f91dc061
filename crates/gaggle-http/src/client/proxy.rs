//! Which proxy a request goes through: what the environment says, or the program.

use crate::client::connect::Origin;
use crate::client::error::ClientError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use std::net::IpAddr;

/// One proxy, spoken to without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`, where the address has a name and a password.
    pub(crate) authorization: Option<String>,
}

/// Which proxies are used for what.
///
/// # Examples
/// ```
/// use gaggle_http::client::Proxies;
///
/// let proxies = Proxies::none()
///     .http("http://proxy.example:3128")?
///     .https("http://name:password@proxy.example:3128")?
///     .except("localhost, .internal.example, 10.0.0.7");
/// # let _ = proxies;
/// # Ok::<(), gaggle_http::client::ClientError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<String>,
}

impl Proxies {
    /// Every server is asked directly.
    #[must_use]
    pub fn none() -> Proxies {
        Proxies::default()
    }

    /// What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say, in small letters or capitals.
    /// `HTTP_PROXY` in capitals is passed over in a CGI program, where a client could set it. An address that
    /// cannot be understood is passed over.
    #[must_use]
    pub fn from_environment() -> Proxies {
        Proxies::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let either = |small: &str, capital: &str| {
            let found = variable(small).or_else(|| variable(capital));
            found.filter(|text| !text.is_empty())
        };
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let all = either("all_proxy", "ALL_PROXY");
        let http = match is_cgi {
            true => variable("http_proxy"),
            false => either("http_proxy", "HTTP_PROXY"),
        };
        let https = either("https_proxy", "HTTPS_PROXY");
        let parsed = |text: Option<String>| parse(&text.or_else(|| all.clone())?).ok();
        let proxies = Proxies {
            http: parsed(http),
            https: parsed(https),
            except: Vec::new(),
        };
        proxies.except(&either("no_proxy", "NO_PROXY").unwrap_or_default())
    }

    /// The proxy for `http`.
    ///
    /// # Errors
    /// When the address is none of a proxy that this client can use.
    pub fn http(mut self, address: &str) -> Result<Self, ClientError> {
        self.http = Some(parse(address)?);
        Ok(self)
    }

    /// The proxy for `https`: it passes bytes on, and sees none of them.
    ///
    /// # Errors
    /// As [`Proxies::http`].
    pub fn https(mut self, address: &str) -> Result<Self, ClientError> {
        self.https = Some(parse(address)?);
        Ok(self)
    }

    /// The hosts that are asked directly, with commas between them: names, which stand for all below them
    /// too, addresses, or `*` for all.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        let names = hosts
            .split(',')
            .map(|name| name.trim().trim_start_matches('.'));
        let names = names.filter(|name| !name.is_empty());
        self.except.extend(names.map(str::to_ascii_lowercase));
        self
    }

    pub(crate) fn for_origin(&self, origin: &Origin) -> Option<Proxy> {
        let proxy = match origin.is_secure {
            true => &self.https,
            false => &self.http,
        };
        proxy.clone().filter(|_| !self.is_excepted(origin))
    }

    fn is_excepted(&self, origin: &Origin) -> bool {
        let host = origin.host.to_ascii_lowercase();
        let with_port = format!("{host}:{}", origin.port);
        self.except.iter().any(|name| {
            let is_below = |host: &str| {
                host.strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            // An address has no names below it.
            let is_address = host.parse::<IpAddr>().is_ok();
            name == "*"
                || *name == host
                || *name == with_port
                || (!is_address && (is_below(&host) || is_below(&with_port)))
        })
    }
}

fn parse(address: &str) -> Result<Proxy, ClientError> {
    let whole = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    let uri: Uri = whole.parse().map_err(ClientError::request)?;
    if uri.scheme_str() != Some("http") {
        return Err(ClientError::request("a proxy is spoken to by http"));
    }
    let host = uri
        .host()
        .ok_or_else(|| ClientError::request("the proxy has no host"))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authorization = authority.rsplit_once('@').map(|(user, _)| {
        let user = decoded(user);
        format!("Basic {}", STANDARD.encode(user))
    });
    Ok(Proxy {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(80),
        authorization,
    })
}

/// The bytes that `%xx` stand for; what stands for none stays.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().expect("a URL")).expect("an origin")
    }

    fn environment(variables: &'static [(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn environment_says_which_proxy() {
        let proxies = environment(&[
            ("HTTP_PROXY", "http://one:1"),
            ("https_proxy", "two:2"),
            ("ALL_PROXY", "http://three"),
        ]);
        let host = |url: &str| {
            proxies
                .for_origin(&origin(url))
                .map(|proxy| (proxy.host, proxy.port))
        };
        assert_eq!(host("http://a/"), Some(("one".to_owned(), 1)));
        assert_eq!(host("https://a/"), Some(("two".to_owned(), 2)));
        let proxies = environment(&[("all_proxy", "three"), ("NO_PROXY", "a, .b.c")]);
        let host = |url: &str| proxies.for_origin(&origin(url)).map(|proxy| proxy.port);
        assert_eq!(host("http://x/"), Some(80));
        assert_eq!(host("http://a/"), None);
        assert_eq!(host("http://A/"), None);
        assert_eq!(host("https://d.b.c/"), None);
        assert_eq!(host("https://db.c/"), Some(80));
    }

    #[test]
    fn variable_that_a_client_could_set_is_passed_over() {
        let proxies = environment(&[("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")]);
        assert!(proxies.for_origin(&origin("http://a/")).is_none());
    }

    #[test]
    fn exceptions_are_names_addresses_or_all() {
        let proxies = Proxies::none().http("http://p").expect("an address");
        let is_direct = |except: &str, url: &str| {
            proxies
                .clone()
                .except(except)
                .for_origin(&origin(url))
                .is_none()
        };
        assert!(is_direct("*", "http://a/"));
        assert!(is_direct("10.0.0.7", "http://10.0.0.7/"));
        assert!(!is_direct("0.0.7", "http://10.0.0.7/"));
        assert!(is_direct("a:8080", "http://a:8080/"));
        assert!(!is_direct("a:8080", "http://a/"));
        assert!(!is_direct("", "http://a/"));
    }

    #[test]
    fn name_and_password_become_a_header() {
        let proxy = parse("http://na%40me:pass@host:8080").expect("an address");
        // base64 of "na@me:pass".
        assert_eq!(
            proxy.authorization.as_deref(),
            Some("Basic bmFAbWU6cGFzcw==")
        );
        assert_eq!((proxy.host.as_str(), proxy.port), ("host", 8080));
        assert!(parse("socks5://host").is_err());
        assert!(parse("https://host").is_err());
    }
}
