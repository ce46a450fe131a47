//! URLs: the secret ones of the stores, and the public ones of the services.

use secrecy::SecretString;
use serde::Deserializer;

use super::scalar::read;

/// Reads where Redis is; it may carry a password.
pub(super) fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    store(deserializer, "a URL with redis:// or rediss://", &["redis://", "rediss://"])
}

/// Reads where Postgres is; it may carry a password.
pub(super) fn postgres<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretString, D::Error> {
    store(
        deserializer,
        "a URL with postgres:// or postgresql://",
        &["postgres://", "postgresql://"],
    )
}

/// Reads the public URL of a service and drops the slash at its end; empty stays empty.
pub(super) fn public<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str = "empty, or an absolute URL with http:// or https://, without a query";
    read(deserializer, ALLOWED, |value| parse_public(value.as_text()?))
}

fn store<'de, D>(deserializer: D, allowed: &str, schemes: &[&str]) -> Result<SecretString, D::Error>
where
    D: Deserializer<'de>,
{
    read(deserializer, allowed, |value| {
        let url = value.as_text()?;
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme))?;
        (!rest.is_empty() && is_plain(url)).then(|| SecretString::from(url))
    })
}

fn parse_public(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some(String::new());
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let named = !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@');
    (named && is_plain(url) && !rest.contains(['?', '#']))
        .then(|| url.trim_end_matches('/').to_owned())
}

/// Whether the text could stand in a header as it is.
fn is_plain(url: &str) -> bool {
    url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::parse_public;

    #[test]
    fn a_public_url_is_absolute_and_loses_its_last_slash() {
        assert_eq!(parse_public("").as_deref(), Some(""));
        assert_eq!(parse_public("https://example.org/").as_deref(), Some("https://example.org"));
        assert_eq!(parse_public("http://[::1]:8080/in").as_deref(), Some("http://[::1]:8080/in"));
        for refused in [
            "example.org",
            "/in",
            "ws://example.org",
            "http://",
            "http:///x",
            "http://:80",
            "http://a b",
            "http://a?b",
        ] {
            assert_eq!(parse_public(refused), None, "{refused}");
        }
    }
}
