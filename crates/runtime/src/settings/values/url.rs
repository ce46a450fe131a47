//! URLs: connection URLs of the stores, which are secrets, and public URLs of the services.

use secrecy::SecretString;
use serde::Deserializer;

use super::parse_scalar;

/// Parses a connection URL of Redis.
pub(crate) fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    parse_store(
        deserializer,
        "a URL that starts with redis:// or rediss://",
        &["redis://", "rediss://"],
    )
}

/// Parses a connection URL of Postgres.
pub(crate) fn postgres<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretString, D::Error> {
    parse_store(
        deserializer,
        "a URL that starts with postgres:// or postgresql://",
        &["postgres://", "postgresql://"],
    )
}

/// Parses the public URL of a service and removes a trailing slash. Empty text stays empty.
pub(crate) fn public<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str =
        "empty, or an absolute URL that starts with http:// or https:// and has no query";
    parse_scalar(deserializer, ALLOWED, |value| parse_public(value.as_text()?))
}

fn parse_store<'de, D>(
    deserializer: D,
    allowed: &str,
    schemes: &[&str],
) -> Result<SecretString, D::Error>
where
    D: Deserializer<'de>,
{
    parse_scalar(deserializer, allowed, |value| {
        let url = value.as_text()?;
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme))?;
        (!rest.is_empty() && is_header_safe(url)).then(|| SecretString::from(url))
    })
}

fn parse_public(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some(String::new());
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let has_host = !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@');
    (has_host && is_header_safe(url) && !rest.contains(['?', '#']))
        .then(|| url.trim_end_matches('/').to_owned())
}

/// Returns whether the URL can be written into a header without escaping.
fn is_header_safe(url: &str) -> bool {
    url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::parse_public;

    #[test]
    fn public_url_is_absolute_and_loses_its_trailing_slash() {
        assert_eq!(parse_public("").as_deref(), Some(""));
        assert_eq!(parse_public("https://example.org/").as_deref(), Some("https://example.org"));
        assert_eq!(parse_public("http://[::1]:8080/in").as_deref(), Some("http://[::1]:8080/in"));
        for rejected in [
            "example.org",
            "/in",
            "ws://example.org",
            "http://",
            "http:///x",
            "http://:80",
            "http://a b",
            "http://a?b",
        ] {
            assert_eq!(parse_public(rejected), None, "{rejected}");
        }
    }
}
