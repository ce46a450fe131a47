//! The place of a request in a trace: the header `traceparent` of W3C Trace Context.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{Code, Problem, middleware::Context};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `00-<trace, 32 hex>-<span, 16 hex>-<flags, 2 hex>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traceparent(HeaderValue);

impl Traceparent {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Takes what the caller sent, or begins a trace, not sampled.
    pub(crate) fn take_or_make(headers: &HeaderMap) -> Self {
        headers
            .get(&TRACEPARENT)
            .filter(|value| is_sound(value.as_bytes()))
            .map_or_else(Self::make, |value| Self(value.clone()))
    }

    fn make() -> Self {
        // Zeros alone would be invalid.
        let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
        let text = format!("00-{trace:032x}-{span:016x}-00");
        Self(HeaderValue::try_from(text).expect("invariant: hex is plain text"))
    }
}

/// Version `ff` is forbidden; versions to come may be longer.
fn is_sound(text: &[u8]) -> bool {
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
    let whole = if version == b"00" { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
    let named = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    version != b"ff" && named(trace) && named(span) && whole
}

impl FromRequest for Traceparent {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parent =
            request.extensions().get::<Context>().map(|context| context.traceparent.clone());
        ready(
            parent
                .ok_or_else(|| Problem::new(Code::Internal).caused_by("a request without context")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_the_w3c() {
        assert!(is_sound(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(is_sound(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for refused in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert!(!is_sound(refused.as_bytes()), "{refused}");
        }
        assert!(is_sound(Traceparent::make().as_str().as_bytes()));
    }
}
