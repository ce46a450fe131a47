//! Idempotent requests, and the outcomes that are stored under their keys.

use std::fmt;

use mayfly_core::MessageId;
use sha2::{Digest, Sha256};

use crate::keys::Keys;

/// A request with an `Idempotency-Key`. Retries do not execute the request again while its outcome
/// is stored.
#[derive(Clone)]
pub struct IdempotentRequest {
    route: &'static str,
    client: String,
    key: String,
    /// SHA-256 of the payload.
    fingerprint: [u8; 32],
}

impl IdempotentRequest {
    /// Creates a request from a client to a route. `payload` must be the same in every retry.
    #[must_use]
    pub fn new(route: &'static str, client: String, key: String, payload: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in payload {
            // The length prefix distinguishes ["ab", "c"] from ["a", "bc"].
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { route, client, key, fingerprint: hash.finalize().into() }
    }

    pub(crate) fn key(&self, keys: &Keys) -> String {
        keys.idempotency(self.route, &self.client, &self.key)
    }

    pub(crate) fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }
}

/// The stored outcome of a write or a take of messages: a summary and the IDs of the messages,
/// separated by spaces. The messages of a replayed response come from the request or are read again
/// by ID.
pub(crate) struct StoredOutcome<'a> {
    /// The acceptance time of a write in ms; for a take, `more` or `all`. Contains no spaces.
    pub summary: &'a str,
    /// The IDs of the messages, in the order of the request or response.
    pub ids: Vec<MessageId>,
}

impl<'a> StoredOutcome<'a> {
    /// Parses the format that [`StoredOutcome::fmt`] and the scripts write. Returns `None` if the
    /// format is unknown.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (summary, ids) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let ids = ids.split(' ').map(|id| id.parse().ok()).collect::<Option<_>>()?;
        Some(Self { summary, ids })
    }
}

impl fmt::Display for StoredOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.summary)?;
        self.ids.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_outcome_round_trips() {
        let id: MessageId = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("an id");
        let text = StoredOutcome { summary: "7", ids: vec![id, id] }.to_string();
        let outcome = StoredOutcome::parse(text.as_bytes()).expect("a valid outcome");
        assert_eq!((outcome.summary, outcome.ids), ("7", vec![id, id]));
        for invalid in ["", "7", "7 ", "7 x", "7 019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47 "] {
            assert!(StoredOutcome::parse(invalid.as_bytes()).is_none(), "{invalid}");
        }
    }

    #[test]
    fn fingerprint_depends_on_the_boundaries_of_parts() {
        let fingerprint = |payload: &[&[u8]]| {
            IdempotentRequest::new("r", "c".into(), "k".into(), payload).fingerprint().to_owned()
        };
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"ab", b"c"]));
    }
}
