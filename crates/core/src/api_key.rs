//! API keys, as they are known: by their digest, and never as they are.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::host::Host;

/// What an API key is known by: SHA-256 of it, 64 digits of base 16.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(String);

impl KeyHash {
    /// The digest of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        Self(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Reads the digest as it is written.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_sound =
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_sound.then(|| Self(text.to_owned()))
    }

    /// The digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is known of an API key, by which it can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Its digest.
    pub hash: KeyHash,
    /// What it is called where it must not be shown.
    pub id: Uuid,
    /// The hosts that it opens.
    pub hosts: Vec<Host>,
    /// Whether it was revoked: then it opens none of them.
    pub is_revoked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let hash = KeyHash::of("mf_x");
        assert_eq!(KeyHash::from_hex(hash.as_str()), Some(hash.clone()));
        for wrong in ["", &hash.as_str().to_uppercase(), &hash.as_str()[1..]] {
            assert_eq!(KeyHash::from_hex(wrong), None, "{wrong:?}");
        }
    }
}
