//! Shared secrets, with which HS256 tokens are signed and verified.

use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey};

/// A shared secret. Dropping it overwrites the secret.
#[derive(Clone)]
pub struct TokenSecret {
    pub(super) signing_key: EncodingKey,
    pub(super) verifying_key: DecodingKey,
}

impl TokenSecret {
    /// The rule, worded to follow the field's name. A shorter secret could be guessed from a token
    /// (RFC 7518, section 3.2).
    pub const RULE: &str = "must be 32 to 1024 bytes";

    const BYTES_MIN: usize = 32;
    const BYTES_MAX: usize = 1_024;

    /// Validates a secret. Its bytes are used as they are. The error is the violated rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(Self::BYTES_MIN..=Self::BYTES_MAX).contains(&text.len()) {
            return Err(Self::RULE);
        }
        let signing_key = EncodingKey::from_secret(text.as_bytes()).map_err(|_| Self::RULE)?;
        let verifying_key = DecodingKey::from_secret(text.as_bytes()).map_err(|_| Self::RULE)?;
        Ok(Self { signing_key, verifying_key })
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_has_at_least_256_bits() {
        assert!(TokenSecret::parse(&"s".repeat(32)).is_ok());
        assert!(TokenSecret::parse(&"s".repeat(1_024)).is_ok());
        for length in [0, 31, 1_025] {
            let result = TokenSecret::parse(&"s".repeat(length));
            assert_eq!(result.err(), Some(TokenSecret::RULE), "{length}");
        }
    }

    #[test]
    fn secret_is_redacted() {
        let secret = TokenSecret::parse(&"s".repeat(32)).expect("a secret");
        assert_eq!(format!("{secret:?}"), "TokenSecret([redacted])");
    }
}
