//! The id of a request: taken from the caller or made, echoed, and logged.

use std::{
    future::{Ready, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{Code, Problem, middleware::Context};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: 1 to 128 of `A-Z a-z 0-9 . _ -`.
///
/// Kept as the header it is echoed in: clones share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Takes the id that the caller sent, or makes one.
    pub(crate) fn take_or_make(headers: &HeaderMap) -> Self {
        headers
            .get(&X_REQUEST_ID)
            .filter(|value| is_sound(value.as_bytes()))
            .map_or_else(Self::make, |value| Self(value.clone()))
    }

    /// Makes a UUIDv7. It has to be unlike others, not secret, so no system call is spent on chance.
    pub(crate) fn make() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut chance = [0; 10];
        fastrand::fill(&mut chance);
        let id = uuid::Builder::from_unix_timestamp_millis(
            u64::try_from(now).unwrap_or_default(),
            &chance,
        )
        .into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("invariant: a UUID is plain text"))
    }
}

fn is_sound(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl FromRequest for RequestId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.extensions().get::<Context>().map(|context| context.request_id.clone());
        ready(id.ok_or_else(|| Problem::new(Code::Internal).caused_by("a request without context")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(id: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(id).expect("a header"));
        RequestId::take_or_make(&headers)
    }

    #[test]
    fn a_sound_id_is_taken_and_any_other_replaced() {
        let longest = "x".repeat(128);
        for sound in ["a", "A-b_c.9", longest.as_str()] {
            assert_eq!(take(sound).as_str(), sound);
        }
        let too_long = "x".repeat(129);
        for refused in ["", "a b", "a/b", "ü", too_long.as_str()] {
            let made = take(refused);
            assert_ne!(made.as_str(), refused);
            let uuid = uuid::Uuid::parse_str(made.as_str()).expect("a UUID");
            assert_eq!(uuid.get_version_num(), 7);
        }
    }
}
