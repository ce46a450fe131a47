//! Errors of tokens.

use super::TOKEN_BYTES_MAX;

/// The reason why a token is rejected. The texts are for logs: a response does not contain them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is too long.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The text is not a JSON Web Token, or its header has critical extensions.
    #[error("the token is malformed")]
    Malformed,
    /// The algorithm is not HS256, RS256, ES256 or EdDSA, or there is no key for it.
    #[error("the algorithm of the token is not supported, or no key is configured for it")]
    Algorithm,
    /// No key verifies the signature.
    #[error("the signature of the token is invalid")]
    Signature,
    /// The key set does not contain the key. A newer key set may contain it.
    #[error("the key of the token is unknown")]
    UnknownKey,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet, because of `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The issuer is missing or not accepted.
    #[error("the issuer of the token is not accepted")]
    Issuer,
    /// The audience is missing or not accepted.
    #[error("the audience of the token is not accepted")]
    Audience,
    /// A claim is missing or invalid.
    #[error("the claim {0} of the token is missing or invalid")]
    Claim(&'static str),
}
