//! Problems that report a failed authentication.

use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use mayfly_authenticator::AuthError;

use super::{Code, Problem};
use crate::RateLimit;

/// The challenge for a request whose credentials are not accepted (RFC 6750, section 3.1). A
/// request without credentials receives the scheme alone.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

/// The name of the limit of failed authentications in the rate limit headers.
const POLICY: &str = "auth_failures";

impl Problem {
    /// Creates the problem that reports why a caller is not authenticated: 401 without valid
    /// credentials, 429 after too many failures, and 503 if the credentials cannot be checked. Does
    /// not report whether the credentials are unknown, expired or revoked.
    pub fn from_auth_error(error: &AuthError) -> Self {
        match error {
            AuthError::Missing => Self::new(Code::Unauthorized).detail(
                "Credentials are required: send an API key or a token as Authorization: Bearer, or \
                 an API key as X-API-Key.",
            ),
            AuthError::Invalid(_) => Self::invalid_credentials(),
            AuthError::RateLimited { retry_after, rate } => {
                let limit = RateLimit {
                    policy: POLICY,
                    rate: *rate,
                    remaining: 0,
                    resets_in: *retry_after,
                };
                limit.reject(
                    "Too many authentications from this address have failed. Fix the credentials, \
                     and retry after the time in the Retry-After header.",
                )
            }
            AuthError::NotLoaded | AuthError::Unavailable => {
                Self::new(Code::Unavailable).caused_by(error)
            }
        }
    }

    /// Creates the problem for credentials that are not accepted.
    pub(crate) fn invalid_credentials() -> Self {
        Self::new(Code::Unauthorized)
            .detail("The credentials are invalid, expired or revoked.")
            .header(WWW_AUTHENTICATE, INVALID_TOKEN)
    }
}
