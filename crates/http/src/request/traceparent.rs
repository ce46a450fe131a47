//! The header `traceparent` of W3C Trace Context.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A trace context: `<version>-<trace ID>-<span ID>-<flags>`. The parts consist of 2, 32, 16 and 2
/// lowercase hexadecimal digits. Versions after `00` may append further parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traceparent(HeaderValue);

impl Traceparent {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        // Faster than `to_str`, which checks each byte.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Returns the trace context in the headers, or starts a trace that is not sampled if the
    /// header is missing or invalid.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(&TRACEPARENT)
            .filter(|value| is_valid(value.as_bytes()))
            .map_or_else(Self::generate, |value| Self(value.clone()))
    }

    fn generate() -> Self {
        // An ID that contains only zeros is invalid.
        let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &trace.to_be_bytes());
        write_hex(&mut text[36..52], &span.to_be_bytes());
        Self(HeaderValue::from_bytes(&text).expect("invariant: hex is plain text"))
    }
}

/// Writes bytes as hexadecimal digits. Most requests start a trace, so this avoids `format!`.
fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Returns whether `text` is a valid `traceparent`. Version `ff` is forbidden.
fn is_valid(text: &[u8]) -> bool {
    let Some((fixed, rest)) = text.split_at_checked(55) else { return false };
    let mut parts = fixed.split(|byte| *byte == b'-');
    let mut hex = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length
                && part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
        })
    };
    let (Some(version), Some(trace), Some(span), Some(_)) = (hex(2), hex(32), hex(16), hex(2))
    else {
        return false;
    };
    let ends_correctly =
        if version == b"00" { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
    let is_non_zero = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    version != b"ff" && is_non_zero(trace) && is_non_zero(span) && ends_correctly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_follows_w3c() {
        assert!(is_valid(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(is_valid(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for rejected in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert!(!is_valid(rejected.as_bytes()), "{rejected}");
        }
        assert!(is_valid(Traceparent::generate().as_str().as_bytes()));
    }
}
