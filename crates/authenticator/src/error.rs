//! Errors of authentication, classified by how a caller can react to them.

use std::{fmt, time::Duration};

use mayfly_runtime::settings::Rate;

/// The reason why a caller is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There are no credentials, and callers without credentials have no rights.
    #[error("the credentials are missing")]
    Missing,
    /// The credentials are not valid.
    #[error("the credentials are {0}")]
    Invalid(Rejection),
    /// Too many authentications of the client have failed. The credentials were not checked.
    #[error("too many authentications have failed")]
    RateLimited {
        /// The time after which the client may retry.
        retry_after: Duration,
        /// The maximum number of failures per window.
        rate: Rate,
    },
    /// The keys or revocations are not completely loaded into Redis, so it is unknown whether the
    /// credentials are valid.
    #[error("the keys and revocations are not loaded yet")]
    NotLoaded,
    /// The credentials cannot be checked, because Redis or the public keys of tokens are
    /// unavailable.
    #[error("the credentials cannot be checked at the moment")]
    Unavailable,
}

/// The reason why credentials are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The key does not exist, or the token is malformed or was not issued for this installation.
    Unknown,
    /// The credentials were valid, but have expired.
    Expired,
    /// The credentials were valid, but have been revoked.
    Revoked,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}
