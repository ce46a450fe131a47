//! Tokens: JSON Web Tokens (RFC 7519) that grant the rights of a user.

mod claims;
mod error;
mod jwks;
mod secret;
mod sign;
mod verifier;

use mayfly_core::Username;
use serde::{Deserialize, Serialize};

pub use self::{
    error::TokenError,
    jwks::{JwkSet, JwkSetError},
    secret::TokenSecret,
    sign::{NewToken, sign},
    verifier::{TokenSettings, TokenVerifier},
};
use crate::{feeds::Feeds, names::Names};

/// Maximum length of a token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// Difference between the clocks of the issuer and of Mayfly that is tolerated, in seconds.
pub const LEEWAY_S: i64 = 30;

/// The claims of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The claim `sub`: the username of the caller.
    pub subject: Username,
    /// The claim `jti`, by which a single token can be revoked: 1 to 128 characters without control
    /// characters.
    pub id: Option<Box<str>>,
    /// The claim `iat`, in seconds since the Unix epoch.
    pub issued_at: Option<i64>,
    /// The claim `exp`, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// The claim `mayfly`.
    pub rights: TokenRights,
}

impl Token {
    /// Returns the first second since the Unix epoch at which the token is no longer accepted: its
    /// expiry time plus the leeway.
    #[must_use]
    pub const fn ends_at_s(&self) -> i64 {
        self.expires_at.saturating_add(LEEWAY_S)
    }
}

/// The rights that a token grants: the claim `mayfly`. A missing list grants nothing. The default
/// grants nothing at all. Unknown members are ignored, so an issuer can already use the members of a
/// later version: every member only grants rights. A restriction has to be named in the parameter
/// `crit` of the header, because all versions reject a token with an unknown critical parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRights {
    /// The channels that the subject may publish on.
    #[serde(default = "Names::none", skip_serializing_if = "Names::is_none")]
    pub publish: Names,
    /// The channels whose messages the subject may receive and read.
    #[serde(default = "Names::none", skip_serializing_if = "Names::is_none")]
    pub subscribe: Names,
    /// The feeds that the subject may receive. `plays` and `pulse` also allow reading them.
    /// `messages` has no effect, because `subscribe` decides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub feeds: Feeds,
    /// The hosts whose pages the subject may receive and read.
    #[serde(default = "Names::none", skip_serializing_if = "Names::is_none")]
    pub hosts: Names,
    /// Whether the subject may read, take and delete the messages of its inbox.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inbox: bool,
    /// Whether the subject may report plays.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plays: bool,
    /// The hosts that the subject may report visits to.
    #[serde(default = "Names::none", skip_serializing_if = "Names::is_none")]
    pub visits: Names,
}

impl Default for TokenRights {
    fn default() -> Self {
        Self {
            publish: Names::none(),
            subscribe: Names::none(),
            feeds: Feeds::EMPTY,
            hosts: Names::none(),
            inbox: false,
            plays: false,
            visits: Names::none(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
