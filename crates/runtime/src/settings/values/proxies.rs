//! The proxies that are trusted to set `X-Forwarded-For`.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Deserializer};

use super::parse_scalar;

/// The list of trusted proxies. An empty list trusts no proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Returns whether `address` belongs to a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str =
            "a list of addresses or networks, such as 192.0.2.1,10.0.0.0/8,fd00::/8";
        parse_scalar(deserializer, ALLOWED, |value| parse_all(value.as_list()?.into_iter()))
    }
}

fn parse_all<'a>(proxies: impl Iterator<Item = &'a str>) -> Option<TrustedProxies> {
    proxies.map(parse).collect::<Option<Vec<_>>>().map(TrustedProxies)
}

/// Parses an address or a network. IPv4-mapped IPv6 addresses and networks are rejected. They would
/// never match, because IPv4-mapped client addresses are converted to IPv4 before the comparison.
fn parse(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let is_mapped = |network: Ipv6Net| network.addr().to_ipv4_mapped().is_some();
    (!matches!(network, IpNet::V6(network) if is_mapped(network))).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_an_address_or_a_network() {
        let trusted =
            parse_all(["10.0.0.0/8", "192.0.2.1", "fd00::/8"].into_iter()).expect("a list");
        for address in ["10.1.2.3", "192.0.2.1", "fd12::1"] {
            assert!(trusted.contains(address.parse().expect("an address")), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.2", "fe80::1"] {
            assert!(!trusted.contains(address.parse().expect("an address")), "{address}");
        }
        for rejected in
            ["", "10.0.0.0/33", "example.org", "10.0.0.1:80", "::ffff:10.0.0.0/104", "*"]
        {
            assert_eq!(parse_all([rejected].into_iter()), None, "{rejected}");
        }
    }
}
