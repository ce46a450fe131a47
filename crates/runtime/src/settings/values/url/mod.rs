//! URLs: connection URLs for the stores, which are secrets, and public URLs of the services.
//!
//! The rules are at least as strict as the rules of the client libraries, so a URL that passes
//! `--check-config` is also accepted at startup.

mod authority;
mod postgres;
mod redis;
mod target;
mod tls;

use std::{fmt::Display, net::Ipv4Addr};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserializer, de::Error};

pub(in crate::settings) use self::authority::{check_host, split_port};
pub use self::{
    target::TargetSession,
    tls::{Authorities, InvalidTlsParameter, PostgresTls, SslMode},
};
use super::parse_scalar;

/// The rule that an invalid URL violates, phrased to follow "must be a URL such as …: ".
pub(in crate::settings) type Rule = &'static str;

/// Parses a connection URL for Redis.
pub(crate) fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    parse_store(deserializer, &redis::FORMAT, redis::check)
}

/// Parses a connection URL for Postgres.
pub(crate) fn postgres<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretString, D::Error> {
    parse_store(deserializer, &postgres::FORMAT, postgres::check)
}

/// Parses the public URL of a service and removes a trailing slash. Empty text stays empty.
pub(crate) fn public<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str = "empty, or an absolute URL that starts with http:// or https://, has a \
         valid host and port, and has no user, no query and no fragment";
    parse_scalar(deserializer, ALLOWED, |value| parse_public(value.as_text()?))
}

/// Parses the URL of a JWK Set. Empty text stays empty. Over plain HTTP, anyone on the path could
/// replace the keys, so only a loopback host is allowed.
pub(crate) fn jwks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str = "empty, or an absolute URL that starts with https://, or with http:// \
         and a loopback host, has a valid host and port, and has no user and no fragment";
    parse_scalar(deserializer, ALLOWED, |value| parse_jwks(value.as_text()?))
}

/// The format of a connection URL.
struct Format {
    schemes: [&'static str; 2],
    example: &'static str,
}

fn parse_store<'de, D: Deserializer<'de>, E: Display>(
    deserializer: D,
    format: &Format,
    check: impl FnOnce(&str) -> Result<(), E>,
) -> Result<SecretString, D::Error> {
    let [first, second] = format.schemes;
    let allowed = format!("a URL that starts with {first} or {second}");
    let url = parse_scalar(deserializer, &allowed, |value| {
        let text = value.as_text()?;
        let has_scheme = format.schemes.iter().any(|scheme| text.starts_with(scheme));
        has_scheme.then(|| text.to_owned())
    })?;
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let reject = |rule: &dyn Display| {
        D::Error::custom(format!("a URL such as {example}: {rule}", example = format.example))
    };
    if !is_header_safe(&url) {
        return Err(reject(
            &"spaces, control characters, quotes, angle brackets and backslashes must be \
              percent-encoded",
        ));
    }
    check(rest).map_err(|rule| reject(&rule))?;
    Ok(SecretString::from(url))
}

/// Returns the passwords in a connection URL, as they are written and, if that differs, decoded.
pub(in crate::settings) fn find_passwords(url: &SecretString) -> Vec<String> {
    let url = url.expose_secret();
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let credentials = base.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let in_credentials = credentials.and_then(|(credentials, _)| credentials.split_once(':'));
    let in_query = query.split('&').filter_map(|parameter| parameter.strip_prefix("password="));
    let written = in_credentials.map(|(_, password)| password).into_iter().chain(in_query);
    let mut passwords = Vec::new();
    for password in written.filter(|password| !password.is_empty()) {
        passwords.push(password.to_owned());
        passwords.extend(authority::decode(password).ok().filter(|decoded| decoded != password));
    }
    passwords
}

/// Inserts a password into a connection URL for Redis without one. Returns `None` if the URL has no
/// scheme.
pub(in crate::settings) fn insert_redis_password(url: &str, password: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, host) = rest.split_once('@').unwrap_or(("", rest));
    let (user, password) = (user.trim_end_matches(':'), authority::encode(password));
    Some(format!("{scheme}://{user}:{password}@{host}"))
}

/// Inserts a password into a connection URL for Postgres without one. Returns `None` if the URL has
/// no scheme. The password becomes a parameter, because credentials without a user are not the same
/// as no credentials.
pub(in crate::settings) fn insert_postgres_password(url: &str, password: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let separator = if rest.contains('?') { '&' } else { '?' };
    Some(format!("{url}{separator}password={}", authority::encode(password)))
}

/// Returns whether `text` is a valid endpoint URL, for a variable that is not part of the schema,
/// such as `AWS_ENDPOINT_URL`.
pub(in crate::settings) fn is_endpoint(text: &str) -> bool {
    !text.is_empty() && parse_public(text).is_some()
}

fn parse_public(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some(String::new());
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, _) = split_port(authority).ok()?;
    let is_valid =
        check_host(host).is_ok() && is_header_safe(url) && !rest.contains(['?', '#', '@']);
    is_valid.then(|| url.trim_end_matches('/').to_owned())
}

fn parse_jwks(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some(String::new());
    }
    let (rest, is_encrypted) = match url.strip_prefix("https://") {
        Some(rest) => (rest, true),
        None => (url.strip_prefix("http://")?, false),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, _) = split_port(authority).ok()?;
    let is_loopback = matches!(host, "localhost" | "[::1]")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let is_valid = check_host(host).is_ok()
        && is_header_safe(url)
        && !rest.contains(['#', '@', '^', '`', '{', '|', '}'])
        && (is_encrypted || is_loopback);
    is_valid.then(|| url.to_owned())
}

/// Returns whether `url` can be written into a header without escaping.
fn is_header_safe(url: &str) -> bool {
    url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'))
}

/// Parses text as a value of the configuration.
#[cfg(test)]
fn parse_text<T>(
    parse: impl FnOnce(
        serde::de::value::StringDeserializer<serde::de::value::Error>,
    ) -> Result<T, serde::de::value::Error>,
    text: &str,
) -> Result<T, String> {
    use serde::de::IntoDeserializer;
    parse(text.to_owned().into_deserializer()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{find_passwords, parse_jwks, parse_public};

    #[test]
    fn passwords_are_found_as_written_and_decoded() {
        for (url, expected) in [
            ("redis://h", &[][..]),
            ("redis://user@h", &[]),
            ("redis://:@h", &[]),
            ("redis://:hunter2@h/1", &["hunter2"]),
            ("postgres://me:p%40ss@h/x?user=a", &["p%40ss", "p@ss"]),
            ("postgres://me:a@h/x?password=b%2Bc&user=a", &["a", "b%2Bc", "b+c"]),
            ("postgres:///x?host=/run&password=a:b", &["a:b"]),
        ] {
            assert_eq!(find_passwords(&url.into()), expected, "{url}");
        }
    }

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
            "http://a#b",
            "http://a/b@c",
            "http://me@a",
            "http://a:99999",
            "http://a:b",
            "http://a:",
            "http://a,b",
            "http://[::1",
            "http://[::g]",
            "http://1.2.3.400",
        ] {
            assert_eq!(parse_public(rejected), None, "{rejected}");
        }
    }

    #[test]
    fn url_of_public_keys_is_encrypted_or_local() {
        for accepted in [
            "",
            "https://id.example.org/.well-known/jwks.json",
            "https://id.example.org:8443/keys?p=policy",
            "https://id.example.org?p=policy",
            "http://localhost:8000/keys",
            "http://127.0.0.2/keys",
            "http://[::1]:80",
        ] {
            assert_eq!(parse_jwks(accepted).as_deref(), Some(accepted));
        }
        for rejected in [
            "id.example.org/keys",
            "http://id.example.org/keys",
            "http://127.0.0.1.example.org/keys",
            "http://localhost.example.org",
            "http://10.0.0.1/keys",
            "https://",
            "https://?x",
            "https://me@id.example.org",
            "https://id.example.org/keys#x",
            "https://id.example.org/a b",
            "https://id.example.org/{x}",
            "ftp://localhost",
        ] {
            assert_eq!(parse_jwks(rejected), None, "{rejected}");
        }
    }
}
