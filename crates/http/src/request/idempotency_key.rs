//! The header `Idempotency-Key`, which makes retries of a request safe.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use mayfly_core::limits;

use crate::{Code, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that marks a replayed response.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The idempotency key of a request, if it has one: 1 to 128 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl IdempotencyKey {
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all(IDEMPOTENCY_KEY);
        let Some(key) = sent.next() else { return Some(Self(None)) };
        if sent.next().is_some() {
            return None;
        }
        key.to_str().ok().filter(|key| is_valid(key)).map(|key| Self(Some(key.to_owned())))
    }

    /// Marks a response as replayed.
    pub fn mark_replayed(headers: &mut HeaderMap) {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
}

fn is_valid(key: &str) -> bool {
    (1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::from_headers(request.headers()).ok_or_else(|| {
            Problem::new(Code::InvalidField).field(
                "Idempotency-Key",
                "must be a single header of 1 to 128 printable ASCII characters",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &[&str]) -> Option<IdempotencyKey> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(
                IDEMPOTENCY_KEY,
                HeaderValue::from_bytes(key.as_bytes()).expect("a header"),
            );
        }
        IdempotencyKey::from_headers(&headers)
    }

    #[test]
    fn key_is_up_to_128_printable_characters_or_absent() {
        assert_eq!(parse(&[]), Some(IdempotencyKey(None)));
        let longest = "x".repeat(128);
        for valid in ["a", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "a b:c", longest.as_str()] {
            assert_eq!(parse(&[valid]), Some(IdempotencyKey(Some(valid.to_owned()))));
        }
        let too_long = "x".repeat(129);
        for rejected in ["", "ä", "a\tb", too_long.as_str()] {
            assert_eq!(parse(&[rejected]), None, "{rejected}");
        }
        assert_eq!(parse(&["a", "a"]), None);
    }
}
