//! JSON encoding of responses.

use bytes::Bytes;
use mayfly_core::TrendSnapshot;
use serde::Serialize;

/// Encodes a value as JSON.
///
/// # Panics
/// Never: all responses consist of strings and finite numbers.
pub fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("invariant: strings and numbers are JSON").into()
}

/// Encodes the pages with more visitors than before, or an empty list if there is no snapshot.
pub fn increases_to_json(trends: Option<&TrendSnapshot>) -> Bytes {
    trends.map_or(Bytes::from_static(b"[]"), |trends| to_json(&trends.to_increases()))
}
