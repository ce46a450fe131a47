//! The digests of API keys, and revocations of tokens.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// The SHA-256 digest of an API key, as 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(String);

impl KeyHash {
    /// Computes the digest of a key.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        Self(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Parses a digest from 64 lowercase hexadecimal digits. Returns `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_valid =
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_valid.then(|| Self(text.to_owned()))
    }

    /// Returns the digest as text.
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

/// A revocation of one or more tokens. A revoked token grants no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRevocation {
    /// Revokes the token with this ID, the claim `jti`.
    Token(String),
    /// Revokes the tokens of a subject, the claim `sub`, that were issued before a time, and those
    /// that do not contain their time of issue.
    Subject {
        /// The subject.
        subject: String,
        /// The earliest time of issue, the claim `iat`, of the tokens that stay valid.
        issued_before: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_through_hex() {
        let hash = KeyHash::from_key("mf_x");
        assert_eq!(KeyHash::from_hex(hash.as_str()), Some(hash.clone()));
        for wrong in ["", &hash.as_str().to_uppercase(), &hash.as_str()[1..]] {
            assert_eq!(KeyHash::from_hex(wrong), None, "{wrong:?}");
        }
    }
}
