//! Signing of tokens.

use jsonwebtoken::{Algorithm, Header};
use mayfly_core::Username;
use serde::Serialize;

use super::{
    TOKEN_BYTES_MAX, TokenError, TokenRights, TokenSecret,
    claims::{Claims, Parts, decode_object},
};

/// The claims of a token to sign.
#[derive(Debug, Clone, Serialize)]
pub struct NewToken {
    /// The claim `sub`: the username of the caller.
    #[serde(rename = "sub")]
    pub subject: Username,
    /// The claim `jti`, by which a single token can be revoked.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The claim `iat`, in seconds since the Unix epoch.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// The claim `exp`, in seconds since the Unix epoch.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// The claim `iss`.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The claim `aud`.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The claim `mayfly`.
    #[serde(rename = "mayfly")]
    pub rights: TokenRights,
}

/// Signs a token with HS256.
///
/// # Errors
///
/// [`TokenError::TooLong`] or [`TokenError::Claim`] if a verifier would reject the token.
pub fn sign(token: &NewToken, secret: &TokenSecret) -> Result<String, TokenError> {
    let header = Header::new(Algorithm::HS256);
    let text = jsonwebtoken::encode(&header, token, &secret.signing_key)
        .map_err(|_| TokenError::Malformed)?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    let payload = decode_object(Parts::split(&text)?.payload)?;
    Claims::parse(&payload)?.to_token()?;
    Ok(text)
}
