//! Names to addresses that may be called.
//!
//! The check stands at the dial, on every attempt: ureq connects to exactly the addresses that this
//! resolver answers, so a name that changes its address between check and dial (DNS rebinding) gains
//! nothing. ureq's own resolver would start an operating system thread for each look-up with a
//! deadline; this one looks up on a goroutine.

use crate::domain::address::AddressPolicy;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::sync_channel;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The most addresses of one name that are tried: what ureq's array holds.
const ADDRESSES_MAX: usize = 16;

/// A resolver that answers only addresses the policy permits.
#[derive(Debug)]
pub(super) struct CheckedResolver {
    pub(super) policy: AddressPolicy,
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let authority = uri
            .authority()
            .ok_or_else(|| Error::BadUri("no host".into()))?;
        let default_port = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = authority.port_u16().unwrap_or(default_port);
        let host = authority.host().trim_matches(['[', ']']);
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => look_up(host.to_owned(), port, &timeout)?,
        };
        let mut permitted = self.empty();
        for address in found
            .iter()
            .filter(|address| self.policy.permits(address.ip()))
            .take(ADDRESSES_MAX)
        {
            permitted.push(*address);
        }
        if !permitted.is_empty() {
            return Ok(permitted);
        }
        if found.is_empty() {
            return Err(Error::HostNotFound);
        }
        Err(Error::Io(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "every address of the host is in a private or reserved network",
        )))
    }
}

/// Blocks this goroutine until the name is resolved or the time is over; the look-up's own goroutine
/// goes on until the system's resolver gives up.
fn look_up(host: String, port: u16, timeout: &NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let resolve = move || {
        (host.as_str(), port)
            .to_socket_addrs()
            .map(|addresses| addresses.collect())
    };
    if timeout.after.is_not_happening() {
        return resolve().map_err(Error::Io);
    }
    let (answer, answered) = sync_channel(1);
    drop(gaggle::go(move || {
        // Nobody listens any more when the time was over first.
        let _ = answer.send(resolve());
    }));
    match answered.recv_timeout(*timeout.after) {
        Ok(found) => found.map_err(Error::Io),
        Err(_) => Err(Error::Timeout(timeout.reason)),
    }
}
