//! Verification of tokens.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    JwkSet, TOKEN_BYTES_MAX, Token, TokenError, TokenSecret,
    claims::{Claims, Header, Parts, decode_object},
};

/// The keys that verify tokens, and the required claims.
#[derive(Debug, Clone, Default)]
pub struct TokenSettings {
    /// The shared secrets, all of which verify HS256 tokens.
    pub secrets: Vec<TokenSecret>,
    /// The public keys. If a key set is configured but not loaded yet, it is empty.
    pub jwks: Option<JwkSet>,
    /// The accepted issuers. An empty list accepts tokens of every issuer, and without an issuer.
    pub issuers: Vec<String>,
    /// The accepted audiences. An empty list accepts tokens for every audience, and without one.
    pub audiences: Vec<String>,
}

/// Verifies tokens. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct TokenVerifier(Arc<TokenSettings>);

impl TokenVerifier {
    /// Creates a verifier.
    #[must_use]
    pub fn new(settings: TokenSettings) -> Self {
        Self(Arc::new(settings))
    }

    /// Returns a verifier with another key set and the same settings otherwise.
    #[must_use]
    pub fn with_jwks(&self, jwks: JwkSet) -> Self {
        Self::new(TokenSettings { jwks: Some(jwks), ..TokenSettings::clone(&self.0) })
    }

    /// Verifies a token at a time, in seconds since the Unix epoch. Revocations are not checked.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Token, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let parts = Parts::split(token)?;
        self.verify_signature(&parts)?;
        let payload = decode_object(parts.payload)?;
        let claims = Claims::parse(&payload)?;
        claims.check_time(now_s)?;
        claims.check_issuer(&self.0.issuers)?;
        claims.check_audience(&self.0.audiences)?;
        claims.to_token()
    }

    /// Verifies the signature with the keys of the type that the algorithm requires, so that a
    /// public key is never used as a shared secret.
    fn verify_signature(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let header = decode_object(parts.header)?;
        let header = Header::parse(&header)?;
        let algorithm = match &*header.alg {
            "HS256" if self.0.secrets.is_empty() => return Err(TokenError::Algorithm),
            "HS256" => {
                let keys = self.0.secrets.iter().map(|secret| &secret.verifying_key);
                return verify_with(keys, Algorithm::HS256, parts);
            }
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(TokenError::Algorithm),
        };
        let jwks = self.0.jwks.as_ref().ok_or(TokenError::Algorithm)?;
        verify_with(jwks.find(algorithm, header.kid.as_deref())?, algorithm, parts)
    }
}

fn verify_with<'a>(
    mut keys: impl Iterator<Item = &'a DecodingKey>,
    algorithm: Algorithm,
    parts: &Parts<'_>,
) -> Result<(), TokenError> {
    let message = parts.message.as_bytes();
    let is_signed = keys.any(|key| {
        jsonwebtoken::crypto::verify(parts.signature, message, key, algorithm).unwrap_or(false)
    });
    if is_signed { Ok(()) } else { Err(TokenError::Signature) }
}
