//! Authenticates live connections.

use std::time::Duration;

use mayfly_auth::{Access, Credentials, Identity, Scope, Scopes};
use mayfly_authenticator::{AuthError, Rejection};
use mayfly_http::{Code, Problem};
use metrics::counter;

use super::client_frame::FrameError;
use crate::{
    hub::{ClientSlot, Hub, REFUSAL_RETRY_AFTER},
    metrics as names,
    websocket::{Close, CloseCode},
    worker::Proof,
};

/// An authenticated caller that may open a live connection.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) identity: Identity,
    /// `None` for a caller without credentials.
    pub(super) proof: Option<Proof>,
}

/// The reason for refusing a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denial {
    #[error("credentials are required: send a token or a key in the first frame or in a header")]
    Missing,
    #[error("the credentials are invalid")]
    Invalid,
    #[error("the token has expired")]
    TokenExpired,
    #[error("the credentials are no longer valid")]
    Revoked,
    #[error("the credentials do not allow live connections")]
    Forbidden,
    #[error("too many authentications from this address have failed")]
    RateLimited {
        /// The time after which the client may retry.
        retry_after: Duration,
    },
    #[error("the credentials cannot be checked at the moment")]
    Unavailable,
    #[error("the client has too many connections")]
    TooManyConnections,
}

impl Denial {
    fn from_error(error: AuthError, credentials: Option<&Credentials<'_>>) -> Self {
        match error {
            AuthError::Missing => Self::Missing,
            AuthError::Invalid(Rejection::Unknown) => Self::Invalid,
            AuthError::Invalid(Rejection::Revoked) => Self::Revoked,
            AuthError::Invalid(Rejection::Expired) => match credentials {
                Some(Credentials::Token(_)) => Self::TokenExpired,
                Some(Credentials::Key(_)) | None => Self::Revoked,
            },
            AuthError::RateLimited { retry_after, .. } => Self::RateLimited { retry_after },
            AuthError::NotLoaded | AuthError::Unavailable => Self::Unavailable,
        }
    }

    /// Returns the code of the `error` frame.
    fn code(self) -> &'static str {
        match self {
            Self::Missing | Self::Invalid => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Revoked => "revoked",
            Self::Forbidden => "forbidden",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::TooManyConnections => "overloaded",
        }
    }

    fn retry_after_ms(self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } => {
                Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX))
            }
            _ => None,
        }
    }

    /// Returns the `error` frame for a client frame of this type.
    pub(super) fn to_frame_error(self, reply_to: &'static str) -> FrameError {
        let retry_after_ms = self.retry_after_ms();
        let error = FrameError::new(self.code(), self.to_string()).reply_to(reply_to);
        FrameError { retry_after_ms, ..error }
    }
}

impl From<Denial> for Close {
    fn from(denial: Denial) -> Self {
        let code = match denial {
            Denial::Missing | Denial::Invalid => CloseCode::Unauthorized,
            Denial::Forbidden => return Self::with_reason(CloseCode::Unauthorized, "forbidden"),
            Denial::TokenExpired => CloseCode::TokenExpired,
            Denial::Revoked => CloseCode::Revoked,
            Denial::RateLimited { .. } => {
                let retry_after_ms = denial.retry_after_ms().unwrap_or_default();
                let reason = format!("retry_after_ms={retry_after_ms}");
                return Self::with_reason(CloseCode::Overloaded, reason);
            }
            Denial::Unavailable => CloseCode::Overloaded,
            Denial::TooManyConnections => {
                return Self::with_reason(CloseCode::Overloaded, "too_many_connections");
            }
        };
        code.into()
    }
}

/// Returns whether a caller without credentials may open a live connection.
pub(super) fn accepts_anonymous_callers(hub: &Hub) -> bool {
    let scopes = hub.settings.auth.anonymous.iter().filter_map(|name| Scope::parse(name).ok());
    hub.authenticator.is_open()
        || Identity::Anonymous(scopes.collect::<Scopes>()).allows(&Access::Connect)
}

/// Authenticates a caller by the text of a token or a key, if any. The mode `open` ignores the
/// text. Failures count for the address of the client.
pub(super) async fn authenticate(
    hub: &Hub,
    text: Option<&str>,
    address: &str,
) -> Result<Accepted, Denial> {
    let authenticator = &hub.authenticator;
    if authenticator.is_open() {
        return Ok(Accepted { identity: Identity::Open, proof: None });
    }
    // A change during the authentication may not be taken into account.
    let generation = *authenticator.changes().borrow();
    let Ok(credentials) = text.map(Credentials::parse).transpose() else {
        let error = authenticator.count_failure(address).await;
        return Err(Denial::from_error(error, None));
    };
    let credentials = credentials.as_ref();
    match authenticator.authenticate(credentials, address).await {
        Ok(identity) if identity.allows(&Access::Connect) => {
            let proof =
                credentials.map(|credentials| Proof { digest: credentials.digest(), generation });
            Ok(Accepted { identity, proof })
        }
        // The caller may send credentials.
        Ok(Identity::Anonymous(_)) => Err(Denial::Missing),
        Ok(_) => Err(Denial::Forbidden),
        Err(error) => Err(Denial::from_error(error, credentials)),
    }
}

/// Counts a connection for the client with this identity. Returns `None` if the identity is counted
/// by its address, or if the connection is already counted for the client, `current`.
pub(super) fn count_connection(
    hub: &Hub,
    identity: &Identity,
    current: Option<&str>,
) -> Result<Option<ClientSlot>, Denial> {
    match identity.client_id() {
        Some(client) if current != Some(&*client) => admit(hub, &client).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Counts a connection for a client.
pub(super) fn admit(hub: &Hub, client: &str) -> Result<ClientSlot, Denial> {
    hub.clients.admit(client).ok_or_else(|| {
        counter!(names::CLIENT_LIMITS_EXCEEDED_TOTAL, "limit" => "connections").increment(1);
        Denial::TooManyConnections
    })
}

/// Returns the problem for a client with too many connections.
pub(super) fn too_many_connections() -> Problem {
    Problem::new(Code::Overloaded)
        .detail("The client has too many live connections. Close one of them.")
        .retry_after(REFUSAL_RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_has_an_error_frame_and_a_close_code() {
        let limited = Denial::RateLimited { retry_after: Duration::from_millis(1_500) };
        for (denial, code, close, reason) in [
            (Denial::Missing, "unauthorized", 4502, "unauthorized"),
            (Denial::Invalid, "unauthorized", 4502, "unauthorized"),
            (Denial::Forbidden, "forbidden", 4502, "forbidden"),
            (Denial::TokenExpired, "token_expired", 4003, "token_expired"),
            (Denial::Revoked, "revoked", 4503, "revoked"),
            (limited, "rate_limited", 4002, "retry_after_ms=1500"),
            (Denial::Unavailable, "unavailable", 4002, "overloaded"),
            (Denial::TooManyConnections, "overloaded", 4002, "too_many_connections"),
        ] {
            let error = denial.to_frame_error("auth");
            assert_eq!((error.code, error.reply_to), (code, Some("auth")));
            assert_eq!(error.retry_after_ms, (denial == limited).then_some(1_500));
            let closed = Close::from(denial);
            assert_eq!((closed.code.number(), &*closed.reason), (close, reason));
        }
    }

    #[test]
    fn expired_key_is_revoked_and_expired_token_can_be_renewed() {
        let expired = AuthError::Invalid(Rejection::Expired);
        let token = Credentials::Token("a.b.c");
        assert_eq!(Denial::from_error(expired, Some(&token)), Denial::TokenExpired);
        let key = Credentials::Key("mf_a");
        assert_eq!(Denial::from_error(expired, Some(&key)), Denial::Revoked);
    }

    #[tokio::test]
    async fn mode_open_accepts_any_text() {
        let hub = Hub::for_tests(&[]);
        assert!(accepts_anonymous_callers(&hub));
        for text in [None, Some(""), Some("mf_x")] {
            let accepted = authenticate(&hub, text, "192.0.2.1").await.expect("accepted");
            assert!(matches!(accepted.identity, Identity::Open) && accepted.proof.is_none());
        }
        let slot = count_connection(&hub, &Identity::Open, Some("192.0.2.1"));
        assert!(slot.is_ok_and(|slot| slot.is_none()), "still counted by its address");
    }

    #[tokio::test]
    async fn connections_of_a_client_are_limited() {
        let hub = Hub::for_tests(&[("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "1")]);
        let slot = admit(&hub, "192.0.2.1");
        assert!(slot.is_ok());
        assert_eq!(admit(&hub, "192.0.2.1").err(), Some(Denial::TooManyConnections));
        assert!(admit(&hub, "192.0.2.2").is_ok());
    }
}
