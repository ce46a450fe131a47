//! A public path, its methods, and the access that each method requires.

use mayfly_auth::{Access, Identity, Scope};

/// The methods of a route that requires no credentials.
const PUBLIC: &[(&str, RouteAccess)] =
    &[("GET", RouteAccess::Public), ("POST", RouteAccess::Public), ("DELETE", RouteAccess::Public)];

/// A public path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The path. A part in braces is a parameter.
    pub path: &'static str,
    /// The methods that the services support, such as `GET, HEAD, OPTIONS`.
    pub methods: &'static str,
    /// The methods that the single entry point routes to ingest-api, such as `POST`. All other
    /// methods are routed to list-api. Empty for a route of ws-fanout.
    pub ingest_methods: &'static str,
    /// Whether `GET` accepts a token in the query parameter `token`, for clients that cannot send
    /// headers.
    pub accepts_token_parameter: bool,
    /// The access that each method requires. The access for `GET` also applies to `HEAD`.
    access: &'static [(&'static str, RouteAccess)],
}

/// The access that a method of a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAccess {
    /// No credentials.
    Public,
    /// An API key in the query parameter `apikey`, which the handler authenticates.
    KeyParameter,
    /// Credentials with a right of this scope to data of this kind. The middleware rejects callers
    /// without any such right. The handler checks the right to the requested channel, username or
    /// host.
    Scope(Scope, Subject),
}

/// A kind of data. It determines which patterns of a key and which claim of a token apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Messages, in one or several channels.
    Messages,
    /// The inbox of one username.
    Inbox,
    /// Plays and play counts.
    Plays,
    /// Visits to the pages of a host, and their counts.
    Hosts,
    /// The health of the system.
    Pulse,
    /// The live feeds.
    Feeds,
}

impl Route {
    /// Creates a route that requires no credentials. The routes that require credentials are the
    /// constants of [`routes`](crate::routes).
    pub const fn public(path: &'static str, methods: &'static str) -> Self {
        Self::new(path, methods, PUBLIC)
    }

    /// Creates a route that is always routed to list-api. `access` must have an entry for each of
    /// `methods` except `OPTIONS`, and except `HEAD` if it has one for `GET`.
    pub(super) const fn new(
        path: &'static str,
        methods: &'static str,
        access: &'static [(&'static str, RouteAccess)],
    ) -> Self {
        Self { path, methods, ingest_methods: "", accepts_token_parameter: false, access }
    }

    /// Sets the methods that are routed to ingest-api.
    pub(super) const fn ingest(mut self, methods: &'static str) -> Self {
        self.ingest_methods = methods;
        self
    }

    /// Accepts a token in the query parameter `token`.
    pub(super) const fn with_token_parameter(mut self) -> Self {
        self.accepts_token_parameter = true;
        self
    }

    /// Returns the access that a method requires, or `None` if the route does not have the method.
    pub fn access(&self, method: &str) -> Option<RouteAccess> {
        let find = |name: &str| self.access.iter().find(|(of, _)| *of == name);
        let row =
            if method == "HEAD" { find("HEAD").or_else(|| find("GET")) } else { find(method) };
        row.map(|(_, access)| *access)
    }

    /// Iterates over the methods of the route, except `OPTIONS`, with the access that each
    /// requires.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'static str, RouteAccess)> + use<> {
        let route = *self;
        route.methods.split(", ").filter_map(move |method| Some((method, route.access(method)?)))
    }
}

impl RouteAccess {
    /// Returns the scope that a key needs, or `None` if the method does not require credentials.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Public => None,
            Self::KeyParameter => Some(Scope::Read),
            Self::Scope(scope, _) => Some(scope),
        }
    }

    /// Returns whether a caller has any right of the required kind. The handler checks the right to
    /// the requested channel, username or host.
    pub fn admits(self, identity: &Identity) -> bool {
        let (scope, subject) = match self {
            // The handler authenticates the key.
            Self::Public | Self::KeyParameter => return true,
            Self::Scope(scope, subject) => (scope, subject),
        };
        let Identity::Token(token) = identity else { return identity.has_scope(scope) };
        let rights = &token.rights;
        match (scope, subject) {
            (Scope::Publish, Subject::Messages) => !rights.publish.is_none(),
            (Scope::Publish, Subject::Plays) => rights.plays,
            (Scope::Publish, Subject::Hosts) => !rights.visits.is_none(),
            (Scope::Read, Subject::Messages) => identity.allows(&Access::ReadMessages),
            (Scope::Read, Subject::Inbox) => rights.inbox,
            (Scope::Read, Subject::Plays) => identity.allows(&Access::ReadPlays),
            (Scope::Read, Subject::Pulse) => identity.allows(&Access::ReadPulse),
            (Scope::Read, Subject::Hosts) => !rights.hosts.is_none(),
            _ => identity.has_scope(scope),
        }
    }

    /// Returns the lists of patterns of a key that the requested names must match.
    pub fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::Scope(_, Subject::Plays | Subject::Pulse) => &[],
            Self::Scope(_, Subject::Messages) => &["channels", "usernames"],
            Self::Scope(_, Subject::Inbox) => &["usernames"],
            Self::Scope(_, Subject::Feeds) => &["channels", "hosts"],
            Self::KeyParameter | Self::Scope(_, Subject::Hosts) => &["hosts"],
        }
    }

    /// Returns the members of the claim `mayfly` that grant the right, each of them on its own;
    /// empty if no token can have the right.
    pub fn claims(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::KeyParameter => &[],
            Self::Scope(Scope::Publish, Subject::Messages) => &["publish"],
            Self::Scope(Scope::Publish, Subject::Plays) => &["plays"],
            Self::Scope(Scope::Publish, Subject::Hosts) => &["visits"],
            Self::Scope(Scope::Read, Subject::Messages) => &["subscribe", "inbox"],
            Self::Scope(_, Subject::Messages | Subject::Inbox) => &["inbox"],
            Self::Scope(_, Subject::Plays | Subject::Pulse) => &["feeds"],
            Self::Scope(_, Subject::Hosts) => &["hosts"],
            Self::Scope(_, Subject::Feeds) => &["subscribe", "feeds", "hosts"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_requires_the_access_of_get() {
        const ACCESS: RouteAccess = RouteAccess::Scope(Scope::Read, Subject::Messages);
        let route = Route::new("/", "GET, HEAD, OPTIONS", &[("GET", ACCESS)]);
        assert_eq!(route.access("HEAD"), Some(ACCESS));
        assert_eq!(route.access("POST"), None);
        assert!(route.endpoints().eq([("GET", ACCESS), ("HEAD", ACCESS)]));
    }
}
