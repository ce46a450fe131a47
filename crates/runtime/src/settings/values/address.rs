//! Addresses to listen on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Deserializer};

use super::parse_scalar;

/// An address with a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// `*`: all IPv4 and IPv6 addresses.
    All,
    /// `localhost`: the IPv4 and IPv6 loopback addresses.
    Loopback,
    /// A single address. `[::]` includes IPv4 if the operating system is configured that way.
    Single(IpAddr),
}

impl ListenAddress {
    fn parse(text: &str) -> Option<Self> {
        let named = text.rsplit_once(':').and_then(|(name, port)| {
            let host = match name {
                "*" => Host::All,
                "localhost" => Host::Loopback,
                _ => return None,
            };
            Some(Self { host, port: port.parse().ok()? })
        });
        named.or_else(|| text.parse::<SocketAddr>().ok().map(Self::from))
    }

    /// Returns the port; 0 selects a free port.
    pub fn port(self) -> u16 {
        self.port
    }

    /// Returns one socket address, or one for each address family, IPv4 first. A machine may
    /// support only one family.
    pub fn to_socket_addresses(self) -> Vec<SocketAddr> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr| vec![IpAddr::from(v4), IpAddr::from(v6)];
        let addresses = match self.host {
            Host::All => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            Host::Loopback => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Host::Single(address) => vec![address],
        };
        addresses.into_iter().map(|address| SocketAddr::new(address, self.port)).collect()
    }

    /// Returns whether a process may be unable to listen on both addresses, because the addresses
    /// overlap and have the same port (other than 0).
    pub(crate) fn conflicts_with(self, other: Self) -> bool {
        let overlap = |one: IpAddr, other: IpAddr| {
            one == other || one.is_unspecified() || other.is_unspecified()
        };
        let others = other.to_socket_addresses();
        self.port == other.port
            && self.port != 0
            && self
                .to_socket_addresses()
                .iter()
                .any(|one| others.iter().any(|other| overlap(one.ip(), other.ip())))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Single(address.ip()), port: address.port() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.host {
            Host::All => write!(f, "*:{port}"),
            Host::Loopback => write!(f, "localhost:{port}"),
            Host::Single(address) => SocketAddr::new(address, port).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str =
            "an address with a port, such as *:8080, localhost:8080, 0.0.0.0:8080 or [::]:8080";
        parse_scalar(deserializer, ALLOWED, |value| Self::parse(value.as_text()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ListenAddress {
        ListenAddress::parse(text).unwrap_or_else(|| panic!("{text} is an address"))
    }

    #[test]
    fn names_mean_one_address_of_each_family() {
        for (text, expected) in [
            ("*:8080", "0.0.0.0:8080 [::]:8080"),
            ("localhost:0", "127.0.0.1:0 [::1]:0"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[::]:8080", "[::]:8080"),
            ("[::1]:1", "[::1]:1"),
        ] {
            let address = parse(text);
            assert_eq!(address.to_string(), text);
            let all: Vec<_> =
                address.to_socket_addresses().iter().map(ToString::to_string).collect();
            assert_eq!(all.join(" "), expected);
        }
        for invalid in ["", "8080", "*", "*:", "*:65536", "localhost", "example.org:80", "::1"] {
            assert_eq!(ListenAddress::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn addresses_conflict_if_one_includes_the_other() {
        for (one, other, expected) in [
            ("*:8080", "localhost:8080", true),
            ("*:8080", "127.0.0.1:8080", true),
            ("localhost:8080", "[::1]:8080", true),
            ("localhost:8080", "10.0.0.1:8080", false),
            ("*:8080", "*:9090", false),
            ("*:0", "*:0", false),
        ] {
            assert_eq!(parse(one).conflicts_with(parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).conflicts_with(parse(one)), expected, "{other} {one}");
        }
    }
}
