//! The header `Idempotency-Key`: a caller that repeats a request under it repeats nothing.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use mayfly_core::limits;

use crate::{Code, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Stands in an answer that was given before.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key under which a caller may repeat a request, if it sent one: 1 to 128 printable characters of ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl IdempotencyKey {
    fn find(headers: &HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all(IDEMPOTENCY_KEY);
        let Some(key) = sent.next() else { return Some(Self(None)) };
        if sent.next().is_some() {
            return None;
        }
        key.to_str().ok().filter(|key| is_sound(key)).map(|key| Self(Some(key.to_owned())))
    }

    /// Says in an answer that it was given before.
    pub fn mark_replayed(headers: &mut HeaderMap) {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
}

fn is_sound(key: &str) -> bool {
    (1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::find(request.headers()).ok_or_else(|| {
            Problem::new(Code::InvalidField).field(
                "Idempotency-Key",
                "must be one header of 1 to 128 printable ASCII characters",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(keys: &[&str]) -> Option<IdempotencyKey> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(
                IDEMPOTENCY_KEY,
                HeaderValue::from_bytes(key.as_bytes()).expect("a header"),
            );
        }
        IdempotencyKey::find(&headers)
    }

    #[test]
    fn a_key_is_up_to_128_printable_characters_or_absent() {
        assert_eq!(find(&[]), Some(IdempotencyKey(None)));
        let longest = "x".repeat(128);
        for sound in ["a", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "a b:c", longest.as_str()] {
            assert_eq!(find(&[sound]), Some(IdempotencyKey(Some(sound.to_owned()))));
        }
        let too_long = "x".repeat(129);
        for refused in ["", "ä", "a\tb", too_long.as_str()] {
            assert_eq!(find(&[refused]), None, "{refused}");
        }
        assert_eq!(find(&["a", "a"]), None);
    }
}
