//! Which addresses a webhook may be sent to.
//!
//! Endpoints are given by users, and the sender stands inside a network they should not reach. So
//! every address that is not plainly public is refused, also in the forms that carry an IPv4
//! address inside an IPv6 one, unless a network is allowed by choice. The registries:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks that are allowed although they are not public. The default allows none.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
    allow_all: bool,
}

impl AddressPolicy {
    /// Allows `networks`, or every network.
    pub fn new(networks: Vec<IpNet>, allow_all: bool) -> Self {
        Self {
            allowed: networks,
            allow_all,
        }
    }

    /// Whether a webhook may be sent to `address`.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.allow_all
            || self
                .allowed
                .iter()
                .any(|network| network.contains(&address))
            || match address {
                IpAddr::V4(v4) => public_v4(v4),
                IpAddr::V6(v6) => match embedded_v4(v6) {
                    Some(v4) => {
                        public_v4(v4) || self.allowed.iter().any(|n| n.contains(&IpAddr::V4(v4)))
                    }
                    None => public_v6(v6),
                },
            }
    }
}

fn public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 0 && c == 2)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113))
}

/// The IPv4 address that the packet would reach in the end: mapped, compatible, NAT64, 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => from(high, low),
        // `::` and `::1` are not compatible addresses; they are refused as what they are.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => from(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

fn public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    // Global unicast is 2000::/3; of it, Teredo, ORCHID, benchmarking and documentation are not
    // public. All else (loopback, link-local, unique local, multicast, local NAT64) is outside it.
    (s[0] & 0xe000) == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &AddressPolicy, text: &str) -> bool {
        policy.permits(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_permitted() {
        let policy = AddressPolicy::default();
        for good in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(permits(&policy, good), "{good}");
        }
    }

    #[test]
    fn private_reserved_and_disguised_addresses_are_refused() {
        let policy = AddressPolicy::default();
        for bad in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!permits(&policy, bad), "{bad}");
        }
    }

    #[test]
    fn an_allowed_network_opens_only_itself_in_every_form() {
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()], false);
        assert!(permits(&policy, "127.0.0.1"));
        assert!(permits(&policy, "::ffff:127.0.0.1"));
        assert!(!permits(&policy, "10.0.0.1"));
        assert!(!permits(&policy, "::1"));
        assert!(permits(&AddressPolicy::new(Vec::new(), true), "10.0.0.1"));
    }
}
