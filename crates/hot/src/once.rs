//! Requests that are done once, however often they are sent: what is kept of them, under the key
//! that their caller chose.

use std::fmt;

use mayfly_core::MessageId;
use sha2::{Digest, Sha256};

use crate::keys::Keys;

/// A request that its caller may send again, and what it is known by.
#[derive(Clone)]
pub struct Once {
    route: &'static str,
    client: String,
    key: String,
    /// SHA-256 of what was sent.
    fingerprint: [u8; 32],
}

impl Once {
    /// Of a client's request on a route (a name without a colon), under its `Idempotency-Key`;
    /// `sent` is what has to be the same when it is sent again.
    #[must_use]
    pub fn new(route: &'static str, client: String, key: String, sent: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in sent {
            // With its length before it: two parts are not one.
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

/// What is kept of a request that was done: a word about all of it, and the ids of its messages.
/// Not the messages: these are made again from the request itself, or found where messages are.
pub(crate) struct Kept<'a> {
    /// A word without a blank.
    pub word: &'a str,
    /// The ids of the messages, in their order.
    pub ids: Vec<MessageId>,
}

impl<'a> Kept<'a> {
    /// Reads what [`Kept`] wrote, here or in a script.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (word, ids) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let ids = ids.split(' ').map(|id| id.parse().ok()).collect::<Option<_>>()?;
        Some(Self { word, ids })
    }
}

/// The word and the ids, with blanks between them.
impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)?;
        self.ids.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let id: MessageId = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("an id");
        let text = Kept { word: "7", ids: vec![id, id] }.to_string();
        let kept = Kept::parse(text.as_bytes()).expect("it was written so");
        assert_eq!((kept.word, kept.ids), ("7", vec![id, id]));
        for refused in ["", "7", "7 ", "7 x", "7 019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47 "] {
            assert!(Kept::parse(refused.as_bytes()).is_none(), "{refused}");
        }
    }

    #[test]
    fn two_parts_are_not_one() {
        let of =
            |sent: &[&[u8]]| Once::new("r", "c".into(), "k".into(), sent).fingerprint().to_owned();
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
    }
}
