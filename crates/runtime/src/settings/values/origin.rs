//! The origins of the web pages that may call the API from a browser.

use std::net::Ipv6Addr;

use serde::{Deserialize, Deserializer};

use super::{
    parse_scalar,
    url::{check_host, split_port},
};

/// An allowed origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`: every origin.
    Any,
    /// This exact origin, such as `https://example.org`, in the form that browsers send.
    Exact(String),
    /// A scheme and a host, with any port or without a port. Contains `http://localhost` for
    /// `http://localhost:*`.
    AnyPort(String),
}

/// The list of allowed origins. An empty list allows the same origin only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<AllowedOrigin>);

impl AllowedOrigins {
    /// Returns whether only the same origin is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether every origin is allowed.
    pub fn allows_any(&self) -> bool {
        self.0.contains(&AllowedOrigin::Any)
    }

    /// Returns whether web pages from `origin`, the value of an `Origin` header, may call the API.
    pub fn allows(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed.matches(origin))
    }
}

impl AllowedOrigin {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, authority) = text.split_once("://")?;
        let (authority, any_port) =
            authority.strip_suffix(":*").map_or((authority, false), |host| (host, true));
        let (host, port) = split_port(authority).ok()?;
        let is_valid = !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && check_host(host).is_ok()
            && !(any_port && port.is_some());
        if !is_valid {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let origin = format!("{scheme}://{}", to_browser_form(host));
        Some(match port {
            _ if any_port => Self::AnyPort(origin),
            Some(port) if default_port(&scheme) != Some(port) => {
                Self::Exact(format!("{origin}:{port}"))
            }
            _ => Self::Exact(origin),
        })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::AnyPort(host) => {
                let (Some(start), Some(rest)) =
                    (origin.get(..host.len()), origin.get(host.len()..))
                else {
                    return false;
                };
                let port = rest.strip_prefix(':').unwrap_or("0");
                let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                start.eq_ignore_ascii_case(host)
                    && is_number
                    && (rest.is_empty() || rest.starts_with(':'))
            }
        }
    }
}

/// Returns the port that browsers omit from an origin with this scheme.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Returns a host as browsers write it in an origin: in lower case, and IPv6 addresses in their
/// shortest form, without decimal numbers.
fn to_browser_form(host: &str) -> String {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let Some(address) = address.and_then(|address| address.parse::<Ipv6Addr>().ok()) else {
        return host.to_ascii_lowercase();
    };
    match address.segments() {
        // `Display` writes the last two numbers of an IPv4-mapped address as an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("[::ffff:{high:x}:{low:x}]"),
        _ => format!("[{address}]"),
    }
}

impl<'de> Deserialize<'de> for AllowedOrigins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str =
            "a list of origins such as https://example.org, http://localhost:* (any port) or *";
        parse_scalar(deserializer, ALLOWED, |value| parse_all(value.as_list()?.into_iter()))
    }
}

fn parse_all<'a>(origins: impl Iterator<Item = &'a str>) -> Option<AllowedOrigins> {
    origins.map(AllowedOrigin::parse).collect::<Option<Vec<_>>>().map(AllowedOrigins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &str) -> Option<AllowedOrigins> {
        parse_all(list.split(','))
    }

    #[test]
    fn exact_origin_allows_only_itself() {
        let allowed = origins("https://example.org").expect("an origin");
        assert!(allowed.allows("https://example.org"));
        for rejected in [
            "https://example.org:8443",
            "http://example.org",
            "https://example.org.evil.net",
            "null",
            "",
        ] {
            assert!(!allowed.allows(rejected), "{rejected}");
        }
    }

    /// Browsers send neither default ports nor other forms of an IPv6 address.
    #[test]
    fn origin_is_stored_in_the_form_that_browsers_send() {
        for (listed, sent) in [
            ("https://app.example.org:443", "https://app.example.org"),
            ("HTTPS://App.Example.org:443", "https://app.example.org"),
            ("http://x:80", "http://x"),
            ("http://x:0080", "http://x"),
            ("http://x:443", "http://x:443"),
            ("https://x:80", "https://x:80"),
            ("https://x:08443", "https://x:8443"),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
            ("http://[2001:DB8:0:0:1:0:0:1]:8080", "http://[2001:db8::1:0:0:1]:8080"),
            ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
            ("http://[::192.0.2.1]", "http://[::c000:201]"),
            ("http://[2001:0db8::0001]:*", "http://[2001:db8::1]:3000"),
        ] {
            let allowed = origins(listed).unwrap_or_else(|| panic!("{listed} is rejected"));
            assert!(allowed.allows(sent), "{listed}: {sent} is not in {allowed:?}");
        }
        let allowed = origins("https://app.example.org:443").expect("an origin");
        assert!(!allowed.allows("http://app.example.org"));
    }

    #[test]
    fn any_port_allows_every_port_of_that_host_only() {
        let allowed = origins("http://localhost:*,http://[::1]:*").expect("origins");
        for origin in ["http://localhost", "http://localhost:8080", "http://[::1]:3000"] {
            assert!(allowed.allows(origin), "{origin}");
        }
        for rejected in [
            "http://localhost.evil.net",
            "http://localhost:80.evil.net",
            "http://localhost:",
            "https://localhost",
        ] {
            assert!(!allowed.allows(rejected), "{rejected}");
        }
    }

    #[test]
    fn invalid_origin_is_rejected() {
        for rejected in [
            "example.org",
            "https://",
            "https://example.org/",
            "https://*",
            "https://a b",
            "https://a:99999",
            "https://a:b:c",
            "https://a:1:*",
            "https://[::g]",
            "https://me@a",
            "",
        ] {
            assert_eq!(origins(rejected), None, "{rejected}");
        }
        assert!(
            origins("*").is_some_and(|any| any.allows_any() && any.allows("https://anywhere.net"))
        );
    }
}
