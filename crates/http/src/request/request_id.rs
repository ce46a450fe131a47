//! The request ID: accepted from the client or generated, echoed and logged.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request ID: 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
///
/// Stored as a header value, because responses echo the ID. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        // Faster than `to_str`, which checks each byte.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Returns the ID in the headers, or generates one if it is missing or invalid.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(&X_REQUEST_ID)
            .filter(|value| is_valid(value.as_bytes()))
            .map_or_else(Self::generate, |value| Self(value.clone()))
    }

    /// Generates a UUIDv7. The ID must be unique but need not be secret, so a fast random generator
    /// suffices.
    pub(crate) fn generate() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = uuid::Builder::from_unix_timestamp_millis(
            u64::try_from(now).unwrap_or_default(),
            &random,
        )
        .into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("invariant: a UUID is plain text"))
    }
}

fn is_valid(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(id).expect("a header"));
        RequestId::from_headers(&headers)
    }

    #[test]
    fn valid_id_is_accepted_and_any_other_replaced() {
        let longest = "x".repeat(128);
        for valid in ["a", "A-b_c.9", longest.as_str()] {
            assert_eq!(parse(valid).as_str(), valid);
        }
        let too_long = "x".repeat(129);
        for rejected in ["", "a b", "a/b", "ü", too_long.as_str()] {
            let generated = parse(rejected);
            assert_ne!(generated.as_str(), rejected);
            let uuid = uuid::Uuid::parse_str(generated.as_str()).expect("a UUID");
            assert_eq!(uuid.get_version_num(), 7);
        }
    }
}
