//! The proxies whose word on where a request comes from counts.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Deserializer};

use super::scalar::read;

/// The list of trusted proxies; empty trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether a request that comes from this address comes from a trusted proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "a list of addresses, or of networks such as 10.0.0.0/8 and fd00::/8";
        read(deserializer, ALLOWED, |value| parse_all(value.as_list()?.into_iter()))
    }
}

fn parse_all<'a>(proxies: impl Iterator<Item = &'a str>) -> Option<TrustedProxies> {
    proxies.map(parse).collect::<Option<Vec<_>>>().map(TrustedProxies)
}

/// A network of IPv4 in IPv6 is refused: addresses are looked at as the IPv4 ones that they are.
fn parse(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let is_mapped = |network: Ipv6Net| network.addr().to_ipv4_mapped().is_some();
    (!matches!(network, IpNet::V6(network) if is_mapped(network))).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let trusted =
            parse_all(["10.0.0.0/8", "192.0.2.1", "fd00::/8"].into_iter()).expect("a list");
        for address in ["10.1.2.3", "192.0.2.1", "fd12::1"] {
            assert!(trusted.trust(address.parse().expect("an address")), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.2", "fe80::1"] {
            assert!(!trusted.trust(address.parse().expect("an address")), "{address}");
        }
        for refused in ["", "10.0.0.0/33", "example.org", "10.0.0.1:80", "::ffff:10.0.0.0/104", "*"]
        {
            assert_eq!(parse_all([refused].into_iter()), None, "{refused}");
        }
    }
}
