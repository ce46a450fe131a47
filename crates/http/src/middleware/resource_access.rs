//! The access check of one resource: authenticates callers, and rejects those without any right of
//! the required kind, before the body of a request is read.

use std::{rc::Rc, sync::Arc};

use actix_web::{FromRequest, HttpMessage, HttpRequest, http::Method};
use futures_util::future::LocalBoxFuture;
use mayfly_auth::{Credentials, Identity, Scope};
use mayfly_authenticator::{AuthError, Authenticator};

use crate::{
    ClientAddress, Code, Problem,
    access::{find_credentials, find_credentials_or_token},
    request::Context,
    routes::{Route, RouteAccess, Subject},
};

/// The access that the methods of a resource require. `OPTIONS` and methods without a handler
/// require none, because they have no effect.
#[derive(Clone)]
pub(crate) struct ResourceAccess(Rc<[(Method, Requirement)]>);

/// The access that a method requires.
#[derive(Clone, Copy)]
pub(super) struct Requirement {
    scope: Scope,
    subject: Subject,
    accepts_token_parameter: bool,
}

impl ResourceAccess {
    /// Looks up the access that `route` requires for each of `methods`, which have handlers.
    ///
    /// # Panics
    /// Panics if the route has no access for one of the methods.
    pub(crate) fn new(route: &Route, methods: &[Method]) -> Self {
        let requirements = methods.iter().filter_map(|method| {
            let access = route.access(method.as_str());
            match access.expect("invariant: the table of routes has an access for every handler") {
                RouteAccess::Public | RouteAccess::KeyParameter => None,
                RouteAccess::Scope(scope, subject) => {
                    let accepts_token_parameter = route.accepts_token_parameter;
                    Some((method.clone(), Requirement { scope, subject, accepts_token_parameter }))
                }
            }
        });
        Self(requirements.collect())
    }

    /// Returns the access that a method requires, or `None` if it requires none.
    pub(super) fn find(&self, method: &Method) -> Option<Requirement> {
        self.0.iter().find(|(of, _)| of == method).map(|(_, requirement)| *requirement)
    }
}

impl Requirement {
    /// Checks the caller without I/O. Returns whether the check is complete. If it is not, the
    /// caller must be checked with [`Self::authenticate`].
    ///
    /// # Errors
    /// Returns the problem to reject the request with.
    pub(super) fn check_cached(self, request: &HttpRequest) -> Result<bool, Problem> {
        let authenticator = find_authenticator(request)?;
        // In this mode, credentials are ignored, even malformed ones.
        if authenticator.is_open() {
            return self.admit(request, Identity::Open).map(|()| true);
        }
        let Ok(credentials) = self.find_credentials(request) else { return Ok(false) };
        match authenticator.cached(credentials.as_ref()) {
            Some(identity) => {
                let identity = identity.map_err(|error| Problem::from_auth_error(&error))?;
                self.admit(request, identity).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Authenticates the caller and checks its rights.
    ///
    /// # Errors
    /// Returns the problem to reject the request with.
    pub(super) async fn authenticate(self, request: &HttpRequest) -> Result<(), Problem> {
        let identity = authenticate(request, self.find_credentials(request)).await?;
        self.admit(request, identity)
    }

    fn find_credentials(self, request: &HttpRequest) -> Result<Option<Credentials<'_>>, Problem> {
        if self.accepts_token_parameter {
            return find_credentials_or_token(request.headers(), request.query_string());
        }
        find_credentials(request.headers())
    }

    /// Stores the identity for the handler if the caller has a right of the required kind.
    fn admit(self, request: &HttpRequest, identity: Identity) -> Result<(), Problem> {
        if !RouteAccess::Scope(self.scope, self.subject).admits(&identity) {
            return Err(self.missing_right(&identity));
        }
        if let Some(context) = request.extensions().get::<Context>() {
            context.set_identity(identity, recheck_caller);
        }
        Ok(())
    }

    /// Returns the problem for a caller without any right of the required kind. A caller without
    /// credentials may have the right once it sends them.
    fn missing_right(self, identity: &Identity) -> Problem {
        let detail = match identity {
            Identity::Open | Identity::Anonymous(_) => {
                return Problem::from_auth_error(&AuthError::Missing);
            }
            Identity::Key(_) => {
                format!("The API key does not have the scope `{}`.", self.scope.as_str())
            }
            Identity::Token(_) => {
                let claims = RouteAccess::Scope(self.scope, self.subject).claims();
                let claims = claims.join("` or `");
                format!("The claim `mayfly` of the token does not grant `{claims}`.")
            }
        };
        Problem::new(Code::Forbidden).detail(detail)
    }
}

/// Authenticates the caller of a request, whose credentials may be malformed.
async fn authenticate(
    request: &HttpRequest,
    credentials: Result<Option<Credentials<'_>>, Problem>,
) -> Result<Identity, Problem> {
    let authenticator = find_authenticator(request)?;
    let client = ClientAddress::extract(request).into_inner()?;
    let identity = match credentials {
        Ok(credentials) => authenticator.authenticate(credentials.as_ref(), &client).await,
        Err(malformed) => {
            return Err(match authenticator.count_failure(&client).await {
                AuthError::Missing | AuthError::Invalid(_) => malformed,
                other => Problem::from_auth_error(&other),
            });
        }
    };
    identity.map_err(|error| Problem::from_auth_error(&error))
}

/// Authenticates the caller of a request with a body again. The routes with bodies accept no token
/// in the query.
fn recheck_caller(request: &HttpRequest) -> LocalBoxFuture<'_, Result<(), Problem>> {
    Box::pin(async move {
        if find_authenticator(request)?.is_open() {
            return Ok(());
        }
        authenticate(request, find_credentials(request.headers())).await.map(drop)
    })
}

fn find_authenticator(request: &HttpRequest) -> Result<&Arc<Authenticator>, Problem> {
    request.app_data().ok_or_else(|| {
        Problem::new(Code::Internal).caused_by("the server has no authenticator for this route")
    })
}

#[cfg(test)]
mod tests {
    use mayfly_auth::{Names, Scopes, Token, TokenRights};
    use mayfly_core::Username;

    use super::*;
    use crate::routes;

    fn token(rights: TokenRights) -> Identity {
        let subject = Username::parse("fred").expect("a username");
        let token = Token { subject, id: None, issued_at: None, expires_at: i64::MAX, rights };
        Identity::Token(Arc::new(token))
    }

    /// Returns the methods and paths at which a caller is not rejected, in the order of the table.
    fn list_allowed(identity: &Identity) -> Vec<String> {
        let mut allowed = Vec::new();
        for route in routes::ALL.into_iter().flatten() {
            for (method, access) in route.endpoints().filter(|(method, _)| *method != "HEAD") {
                if matches!(access, RouteAccess::Scope(..)) && access.admits(identity) {
                    allowed.push(format!("{method} {}", route.path));
                }
            }
        }
        allowed
    }

    #[test]
    fn token_reaches_only_the_routes_of_its_claims() {
        assert_eq!(list_allowed(&token(TokenRights::default())), [""; 0]);
        let channels = || Names::parse(["chat.*"]).expect("a pattern");
        let rights = TokenRights { publish: channels(), ..TokenRights::default() };
        let publish = [
            "POST /v1/messages",
            "POST /v1/messages/batch",
            "GET /message/write",
            "POST /message/write",
            "GET /message/write/",
            "POST /message/write/",
            "POST /chat",
            "POST /chat/",
            "POST /dummy",
        ];
        assert_eq!(list_allowed(&token(rights)), publish);
        let rights = TokenRights { plays: true, visits: channels(), ..TokenRights::default() };
        assert_eq!(list_allowed(&token(rights)), ["POST /v1/plays", "POST /v1/visits"]);
        let rights = TokenRights { inbox: true, ..TokenRights::default() };
        let inbox = [
            "GET /v1/messages",
            "GET /v1/messages/{id}",
            "DELETE /v1/messages/{id}",
            "GET /v1/users/{username}/messages",
            "POST /v1/users/{username}/messages/take",
            "GET /chat/{id}",
            "GET /chats/{username}",
        ];
        assert_eq!(list_allowed(&token(rights)), inbox);
        let rights = TokenRights { subscribe: channels(), ..TokenRights::default() };
        let subscribe = [
            "GET /v1/messages",
            "GET /v1/messages/{id}",
            "GET /chat/{id}",
            "GET /v1/live",
            "GET /ws",
            "GET /echo",
            "GET /v1/events",
        ];
        assert_eq!(list_allowed(&token(rights)), subscribe);
    }

    #[test]
    fn each_scope_reaches_its_routes_and_operate_reaches_all() {
        let list = |scope| list_allowed(&Identity::Anonymous(Scopes::from_iter([scope])));
        let mut all: Vec<_> = [Scope::Publish, Scope::Subscribe, Scope::Read, Scope::Take]
            .into_iter()
            .flat_map(list)
            .collect();
        let mut operate = list(Scope::Operate);
        assert_eq!(operate, list_allowed(&Identity::Open));
        all.sort();
        operate.sort();
        assert_eq!(all, operate, "each method requires one scope");
        let take = [
            "DELETE /v1/messages/{id}",
            "POST /v1/users/{username}/messages/take",
            "GET /chats/{username}",
        ];
        assert_eq!(list(Scope::Take), take);
    }

    #[test]
    fn public_methods_and_methods_without_a_handler_require_no_access() {
        let access = ResourceAccess::new(&routes::MESSAGES, &[Method::GET, Method::HEAD]);
        assert!(access.find(&Method::GET).is_some() && access.find(&Method::HEAD).is_some());
        for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
            assert!(access.find(&method).is_none(), "{method}");
        }
        for route in [routes::HEALTH, routes::STATS, routes::INCREASING] {
            let access = ResourceAccess::new(&route, &[Method::GET, Method::HEAD]);
            assert!(access.find(&Method::GET).is_none(), "{}", route.path);
        }
        assert!(ResourceAccess::new(&routes::WRITE, &[Method::GET]).find(&Method::GET).is_some());
    }
}
