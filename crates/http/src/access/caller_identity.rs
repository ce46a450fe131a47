//! The identity of the caller, and the problem for an action that it may not perform.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use mayfly_auth::{Access, Identity};

use crate::{ClientAddress, Code, Problem, request::Context};

/// The identity of the caller of a method that requires an access. The middleware has authenticated
/// the caller before the handler reads the request.
#[derive(Clone, Debug)]
pub struct CallerIdentity(Identity);

impl CallerIdentity {
    /// Returns the identity.
    pub fn identity(&self) -> &Identity {
        &self.0
    }

    /// Returns whether the caller may perform an action.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        self.0.allows(access)
    }

    /// Checks whether the caller may perform an action.
    ///
    /// # Errors
    /// Returns 403 `forbidden` if the caller has no right to it.
    pub fn check(&self, access: &Access<'_>) -> Result<(), Problem> {
        if self.0.allows(access) {
            return Ok(());
        }
        let action = describe(access);
        let detail = format!("The credentials do not grant the right to {action}.");
        Err(Problem::new(Code::Forbidden).detail(detail))
    }

    /// Returns the text that identifies the client in rate limits and idempotency keys: the API key
    /// or the subject of the token, or else the address.
    pub fn client(&self, address: &ClientAddress) -> String {
        self.0.client_id().unwrap_or_else(|| address.to_string())
    }
}

impl From<Identity> for CallerIdentity {
    fn from(identity: Identity) -> Self {
        Self(identity)
    }
}

impl FromRequest for CallerIdentity {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let identity = extensions.get::<Context>().and_then(Context::identity).cloned();
        ready(identity.map(Self).ok_or_else(|| {
            Problem::new(Code::Internal).caused_by("the route requires no credentials")
        }))
    }
}

/// Returns the action in words that follow "the right to". The words are the same for every
/// channel, username and host, so they do not reveal which ones exist.
fn describe(access: &Access<'_>) -> &'static str {
    match access {
        Access::PublishMessage { .. } => {
            "publish messages on this channel with this username; the username of a message that \
             is published with a token is the subject of the token"
        }
        Access::PublishPlays => "report plays",
        Access::PublishVisits { .. } => "report visits to this host",
        Access::ReadMessage { .. } => "read messages of this channel",
        Access::ReadMessages => "read messages",
        Access::ReadInbox { .. } => "read the inbox of this username",
        Access::TakeInbox { .. } => "take messages from the inbox of this username",
        Access::DeleteMessage { .. } => "delete this message",
        Access::ReadPlays => "read play counts",
        Access::ReadHost { .. } => "read the visitor counts of this host",
        Access::ReadPulse => "read the pulse",
        Access::Subscribe { .. } => "subscribe to this channel",
        Access::SubscribeFeed { .. } => "subscribe to this feed",
        Access::SubscribeHost { .. } => "subscribe to this host",
        Access::Connect => "open a live connection",
    }
}

#[cfg(test)]
mod tests {
    use mayfly_auth::{Scope, Scopes};

    use super::*;

    #[test]
    fn missing_right_is_forbidden_and_names_the_action() {
        let reader = CallerIdentity::from(Identity::Anonymous(Scopes::from_iter([Scope::Read])));
        assert!(reader.check(&Access::ReadPulse).is_ok() && reader.allows(&Access::ReadPulse));
        let problem = reader.check(&Access::PublishPlays).expect_err("forbidden");
        assert_eq!(problem.code(), Code::Forbidden);
        assert_eq!(problem.summary(), "The credentials do not grant the right to report plays.");
        let open = CallerIdentity::from(Identity::Open);
        assert!(open.check(&Access::PublishPlays).is_ok());
    }
}
