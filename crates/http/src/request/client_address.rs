//! The address of the client, determined from the entries that trusted proxies added to
//! `X-Forwarded-For`. `Forwarded`, `X-Real-IP` and similar headers are ignored, because a proxy
//! that does not set them passes on the values of the client.

use std::{
    fmt,
    future::{Ready, ready},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Once,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName},
};
use mayfly_runtime::TrustedProxies;
use tracing::warn;

use crate::Problem;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client that rate limits apply to: an IPv4 address, or the /64 network of an IPv6 address,
/// because providers assign at least a /64 network to each customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Determines the client of a request from its headers and from the address of its connection.
    pub(crate) fn from_parts(
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
    ) -> Self {
        // The peer address is unknown if the client disconnected before the server read the
        // address. Rate limits count all of these clients as one.
        let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        if headers.contains_key(X_FORWARDED_FOR) && !trusted.contains(peer.to_canonical()) {
            warn_untrusted(peer);
        }
        Self::resolve(peer, headers, trusted)
    }

    /// Determines the client behind `peer`. Reads the entries of `X-Forwarded-For` from last to
    /// first, and stops at the first address that is not a trusted proxy.
    fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let mut client = peer.to_canonical();
        let mut lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
        lines.reverse();
        let entries =
            lines.into_iter().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries {
            if !trusted.contains(client) {
                break;
            }
            // An invalid entry makes all earlier entries unusable.
            let text = str::from_utf8(entry).unwrap_or_default();
            let Some(address) = parse_address(text.trim()) else { break };
            client = address.to_canonical();
        }
        Self(client)
    }
}

/// Parses an IP address, with or without a port. An IPv6 address may be in brackets.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
                write!(f, "{network}/64")
            }
        }
    }
}

/// Logs a warning, once per process. A proxy may be missing from the configuration, or a client may
/// be forging the header.
fn warn_untrusted(peer: IpAddr) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        warn!(
            %peer,
            "ignoring X-Forwarded-For from a peer that is not in http.trusted_proxies; \
             limits count all clients behind it as one"
        );
    });
}

impl FromRequest for ClientAddress {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let no_proxies = TrustedProxies::default();
        let trusted = request.app_data().unwrap_or(&no_proxies);
        ready(Ok(Self::from_parts(request.peer_addr(), request.headers(), trusted)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use mayfly_runtime::Settings;

    use super::*;

    /// Returns the client behind `peer` for a request with these header lines. 10.0.0.0/8 and ::1
    /// are trusted.
    fn find(peer: &str, lines: &[&str]) -> String {
        let list = ("MAYFLY_HTTP__TRUSTED_PROXIES".to_owned(), "10.0.0.0/8,::1".to_owned());
        let settings = Settings::from_layers(None, [list].into_iter()).expect("settings");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(line.as_bytes()).expect("a header"),
            );
        }
        let peer = peer.parse().expect("an address");
        ClientAddress::resolve(peer, &headers, &settings.http.trusted_proxies).to_string()
    }

    #[test]
    fn header_of_an_untrusted_peer_is_ignored() {
        assert_eq!(find("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(find("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(find("192.0.2.1", &["10.0.0.1", "10.0.0.2"]), "192.0.2.1");
    }

    #[test]
    fn other_headers_of_a_trusted_proxy_are_ignored() {
        let list = ("MAYFLY_HTTP__TRUSTED_PROXIES".to_owned(), "10.0.0.0/8".to_owned());
        let settings = Settings::from_layers(None, [list].into_iter()).expect("settings");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("forwarded", "for=198.51.100.7;proto=https;host=example.org"),
            ("x-real-ip", "198.51.100.7"),
            ("x-client-ip", "198.51.100.7"),
            ("true-client-ip", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = "10.0.0.1".parse().expect("an address");
        let client = ClientAddress::resolve(peer, &headers, &settings.http.trusted_proxies);
        assert_eq!(client.to_string(), "10.0.0.1");
    }

    #[test]
    fn entries_are_read_while_the_address_that_added_them_is_trusted() {
        assert_eq!(find("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(find("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(find("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.2.3.4"]), "198.51.100.7");
        assert_eq!(find("10.0.0.1", &["203.0.113.9", " 10.9.9.9 ,10.2.3.4"]), "203.0.113.9");
        assert_eq!(find("10.0.0.1", &["10.0.0.9,10.0.0.8"]), "10.0.0.9", "all are trusted");
        assert_eq!(find("::1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn invalid_entry_ends_the_search() {
        for garbage in
            ["unknown", "", "198.51.100.7, ,", "198.51.100.7, _hidden", "198.51.100.7, ü"]
        {
            assert_eq!(find("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage}");
        }
        assert_eq!(find("10.0.0.1", &["ü, 198.51.100.7"]), "198.51.100.7", "added by the proxy");
        assert_eq!(find("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(find("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::/64");
        assert_eq!(find("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::/64");
    }

    #[test]
    fn ipv6_clients_are_networks_and_mapped_addresses_are_ipv4() {
        assert_eq!(find("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::/64");
        assert_eq!(find("2001:db8:1:2:ffff::1", &[]), "2001:db8:1:2::/64");
        assert_eq!(find("2001:db8:1:3::1", &[]), "2001:db8:1:3::/64");
        assert_eq!(find("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(find("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }
}
