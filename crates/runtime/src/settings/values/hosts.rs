//! The allowed values of the `Host` header on the public port.

use serde::{Deserialize, Deserializer};

use super::parse_scalar;

/// An allowed host, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    /// `*`: every host.
    Any,
    /// This name or address, such as `example.org` or `[::1]`.
    Exact(String),
    /// Every subdomain of a name. Contains `.example.org` for `*.example.org`.
    Below(String),
}

/// The list of allowed hosts. An empty list allows every host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

impl AllowedHosts {
    /// Returns whether every host is allowed because the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a request to `authority`, the value of a `Host` header, is allowed. The port
    /// and a final dot are ignored.
    #[must_use]
    pub fn allows(&self, authority: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let host = strip_port(authority);
        let host = host.strip_suffix('.').unwrap_or(host);
        self.0.iter().any(|allowed| allowed.matches(host))
    }
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let is_host_char =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        let (name, is_below) = text.strip_prefix('*').map_or((text, false), |name| (name, true));
        let is_valid = !name.is_empty()
            && name.chars().all(is_host_char)
            && strip_port(name) == name
            && (!is_below || (name.starts_with('.') && name.len() > 1));
        let name = name.to_ascii_lowercase();
        is_valid.then_some(if is_below { Self::Below(name) } else { Self::Exact(name) })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Below(suffix) => host.len().checked_sub(suffix.len()).is_some_and(|at| {
                at > 0
                    && host.is_char_boundary(at)
                    && host.get(at..).is_some_and(|end| suffix.eq_ignore_ascii_case(end))
            }),
        }
    }
}

/// Removes the port from `host:port`. The colons of an IPv6 address are inside brackets.
fn strip_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

impl<'de> Deserialize<'de> for AllowedHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "a list of hosts without ports, such as example.org, *.example.org, 127.0.0.1, [::1] or *";
        parse_scalar(deserializer, ALLOWED, |value| parse_all(value.as_list()?.into_iter()))
    }
}

fn parse_all<'a>(hosts: impl Iterator<Item = &'a str>) -> Option<AllowedHosts> {
    hosts.map(AllowedHost::parse).collect::<Option<Vec<_>>>().map(AllowedHosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &str) -> Option<AllowedHosts> {
        parse_all(list.split(','))
    }

    #[test]
    fn empty_list_and_star_allow_every_host() {
        assert!(AllowedHosts::default().allows("anything.example:1"));
        assert!(hosts("*").is_some_and(|any| any.allows("anything.example:1")));
    }

    #[test]
    fn host_is_allowed_with_every_port() {
        let allowed = hosts("localhost,127.0.0.1,[::1],Example.org").expect("hosts");
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "example.org."]
        {
            assert!(allowed.allows(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.net",
            "evil.net",
            "evil.net:80",
            "127.0.0.1.evil.net:80",
            "::1",
            "localhost:x",
            "localhost@evil.net",
        ] {
            assert!(!allowed.allows(host), "{host}");
        }
    }

    #[test]
    fn wildcard_allows_subdomains_only() {
        let allowed = hosts("*.example.org").expect("a host");
        for host in ["a.example.org", "a.b.Example.org:443"] {
            assert!(allowed.allows(host), "{host}");
        }
        for host in ["example.org", ".example.org", "badexample.org", "üexample.org"] {
            assert!(!allowed.allows(host), "{host}");
        }
    }

    #[test]
    fn invalid_host_is_rejected() {
        for rejected in ["", "*.", "a*.org", "https://a.org", "a.org:80", "a b", "a.org/"] {
            assert_eq!(hosts(rejected), None, "{rejected}");
        }
    }
}
