//! The public paths of the services, their methods, and the access that each method requires.
//!
//! A service can register only a path of this table, or a path that is public. The middleware, the
//! OpenAPI document and the tests read the table. [`frames`] is the table of the frames and feeds
//! of live connections.
//!
//! On all paths of the two APIs, ingest-api and list-api, each API responds to `OPTIONS` and
//! rejects unsupported methods with 405. Tests check the OpenAPI document, docs/API.md and the
//! routing of the single entry point against [`ROUTES`].

pub mod frames;
mod route;

use actix_web::http::Method;
use mayfly_auth::Scope::{Publish, Read, Subscribe, Take};

pub use self::route::{Route, RouteAccess, Subject};

const READ: &str = "GET, HEAD, OPTIONS";
const WRITE_ONLY: &str = "POST, OPTIONS";
const READ_AND_WRITE: &str = "GET, HEAD, POST, OPTIONS";

const PUBLISH_MESSAGES: RouteAccess = RouteAccess::Scope(Publish, Subject::Messages);
const PUBLISH_PLAYS: RouteAccess = RouteAccess::Scope(Publish, Subject::Plays);
const PUBLISH_VISITS: RouteAccess = RouteAccess::Scope(Publish, Subject::Hosts);
const READ_MESSAGES: RouteAccess = RouteAccess::Scope(Read, Subject::Messages);
const READ_INBOX: RouteAccess = RouteAccess::Scope(Read, Subject::Inbox);
const READ_PLAYS: RouteAccess = RouteAccess::Scope(Read, Subject::Plays);
const READ_HOSTS: RouteAccess = RouteAccess::Scope(Read, Subject::Hosts);
const READ_PULSE: RouteAccess = RouteAccess::Scope(Read, Subject::Pulse);
const TAKE_INBOX: RouteAccess = RouteAccess::Scope(Take, Subject::Inbox);
const DELETE_MESSAGES: RouteAccess = RouteAccess::Scope(Take, Subject::Messages);
const SUBSCRIBE: RouteAccess = RouteAccess::Scope(Subscribe, Subject::Feeds);

/// The redirect to the documentation, or the web page.
pub const HOME: Route = Route::public("/", READ);
/// The documentation page.
pub const DOCS: Route = Route::public("/docs", READ);
/// The documentation of the problem codes.
pub const ERRORS: Route = Route::public("/docs/errors", READ);
/// The OpenAPI document.
pub const OPENAPI: Route = Route::public("/openapi.json", READ);
/// The health check.
pub const HEALTH: Route = Route::public("/health", READ);
/// The stored messages, and a new message.
pub const MESSAGES: Route = Route::new(
    "/v1/messages",
    READ_AND_WRITE,
    &[("GET", READ_MESSAGES), ("POST", PUBLISH_MESSAGES)],
)
.ingest("POST");
/// A batch of new messages.
pub const MESSAGES_BATCH: Route =
    Route::new("/v1/messages/batch", WRITE_ONLY, &[("POST", PUBLISH_MESSAGES)]).ingest("POST");
/// A message by ID.
pub const MESSAGE: Route = Route::new(
    "/v1/messages/{id}",
    "GET, HEAD, DELETE, OPTIONS",
    &[("GET", READ_MESSAGES), ("DELETE", DELETE_MESSAGES)],
);
/// The inbox of a username.
pub const INBOX: Route = Route::new("/v1/users/{username}/messages", READ, &[("GET", READ_INBOX)]);
/// A take of the inbox of a username.
pub const INBOX_TAKE: Route =
    Route::new("/v1/users/{username}/messages/take", WRITE_ONLY, &[("POST", TAKE_INBOX)]);
/// A new message as a query or a form, without a trailing slash.
pub const WRITE: Route = write("/message/write");
/// A new message as a query or a form.
pub const WRITE_SLASH: Route = write("/message/write/");
/// A new message in a short form.
pub const CHAT: Route =
    Route::new("/chat", WRITE_ONLY, &[("POST", PUBLISH_MESSAGES)]).ingest("POST");
/// A new message in a short form, with a trailing slash.
pub const CHAT_SLASH: Route =
    Route::new("/chat/", WRITE_ONLY, &[("POST", PUBLISH_MESSAGES)]).ingest("POST");
/// A message by ID, in a short form.
pub const CHAT_MESSAGE: Route = Route::new("/chat/{id}", READ, &[("GET", READ_MESSAGES)]);
/// A take of the inbox of a username with `GET`.
pub const CHATS: Route = Route::new("/chats/{username}", READ, &[("GET", TAKE_INBOX)]);
/// A new message that contains any JSON document.
pub const DUMMY: Route =
    Route::new("/dummy", WRITE_ONLY, &[("POST", PUBLISH_MESSAGES)]).ingest("POST");
/// The play counts, and new plays.
pub const PLAYS: Route =
    Route::new("/v1/plays", READ_AND_WRITE, &[("GET", READ_PLAYS), ("POST", PUBLISH_PLAYS)])
        .ingest("POST");
/// The play count of a video.
pub const VIDEO_PLAYS: Route = Route::new("/v1/plays/{video_id}", READ, &[("GET", READ_PLAYS)]);
/// The visitor counts of a host's pages.
pub const HOST_PAGES: Route = Route::new("/v1/hosts/{host}/pages", READ, &[("GET", READ_HOSTS)]);
/// The trending pages of a host.
pub const HOST_RISING: Route = Route::new("/v1/hosts/{host}/rising", READ, &[("GET", READ_HOSTS)]);
/// The visitor history of a page.
pub const HOST_HISTORY: Route =
    Route::new("/v1/hosts/{host}/history", READ, &[("GET", READ_HOSTS)]);
/// The pages of a host with increasing visitor counts.
pub const INCREASING: Route =
    Route::new("/api/v1.0/increasingconcurrents", READ, &[("GET", RouteAccess::KeyParameter)]);
/// New visits.
pub const VISITS: Route =
    Route::new("/v1/visits", WRITE_ONLY, &[("POST", PUBLISH_VISITS)]).ingest("POST");
/// The health of the system.
pub const PULSE: Route = Route::new("/v1/pulse", READ, &[("GET", READ_PULSE)]);
/// The statistics snapshot.
pub const STATS: Route = Route::public("/v1/stats", READ);
/// The statistics snapshot, without a trailing slash.
pub const STAT_GET: Route = Route::public("/stat/get", READ);
/// The statistics snapshot, with a trailing slash.
pub const STAT_GET_SLASH: Route = Route::public("/stat/get/", READ);

/// The live feeds as a WebSocket. Upgrades do not pass through the middleware.
pub const LIVE: Route = live("/v1/live");
/// The live feeds as a WebSocket.
pub const WS: Route = live("/ws");
/// The live feeds as a WebSocket.
pub const ECHO: Route = live("/echo");
/// The live feeds as server-sent events.
pub const EVENTS: Route = live("/v1/events").with_token_parameter();
/// The public URLs of the services.
pub const CONFIG: Route = Route::public("/config.json", READ);

/// The routes of both APIs. Exact paths precede patterns.
pub const ROUTES: [Route; 27] = [
    HOME,
    DOCS,
    OPENAPI,
    HEALTH,
    MESSAGES,
    MESSAGES_BATCH,
    MESSAGE,
    INBOX,
    INBOX_TAKE,
    WRITE,
    WRITE_SLASH,
    CHAT,
    CHAT_SLASH,
    CHAT_MESSAGE,
    CHATS,
    DUMMY,
    PLAYS,
    VIDEO_PLAYS,
    HOST_PAGES,
    HOST_RISING,
    HOST_HISTORY,
    INCREASING,
    VISITS,
    PULSE,
    STATS,
    STAT_GET,
    STAT_GET_SLASH,
];

/// The routes of ws-fanout, except its static files.
pub const LIVE_ROUTES: [Route; 5] = [LIVE, WS, ECHO, EVENTS, CONFIG];

/// The routes of all services.
pub const ALL: [&[Route]; 2] = [&ROUTES, &LIVE_ROUTES];

/// Returns a route for `/message/write` or `/message/write/`, where `GET` also sends a message.
const fn write(path: &'static str) -> Route {
    const ACCESS: &[(&str, RouteAccess)] = &[("GET", PUBLISH_MESSAGES), ("POST", PUBLISH_MESSAGES)];
    Route::new(path, "GET, POST, OPTIONS", ACCESS).ingest("GET, HEAD, POST, OPTIONS")
}

/// Returns a route for a path of the live feeds.
const fn live(path: &'static str) -> Route {
    const ACCESS: &[(&str, RouteAccess)] = &[("GET", SUBSCRIBE)];
    Route::new(path, READ, ACCESS)
}

/// Returns the methods that the APIs support on a path, such as `GET, HEAD, OPTIONS`, or `None` if
/// the path does not exist.
pub fn find_methods(path: &str) -> Option<&'static str> {
    ROUTES.iter().find(|route| matches(route.path, path)).map(|route| route.methods)
}

/// Returns whether `methods` contains `method`.
pub(crate) fn has_method(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|one| one == method.as_str())
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(part))
                if expected == part || (expected.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn exact_path_precedes_pattern() {
        assert_eq!(find_methods("/v1/messages/batch"), Some("POST, OPTIONS"));
        assert_eq!(find_methods("/v1/messages/x"), Some("GET, HEAD, DELETE, OPTIONS"));
        assert_eq!(find_methods("/chat/"), Some("POST, OPTIONS"));
        assert_eq!(find_methods("/chat/x"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(find_methods("/v1/users/a%2Fb/messages/take"), Some("POST, OPTIONS"));
        for unknown in ["", "/docs/", "/v1/messages/", "/v1/users//messages", "/chats/", "/nowhere"]
        {
            assert_eq!(find_methods(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_method_has_an_access() {
        let mut paths = BTreeSet::new();
        for route in ALL.into_iter().flatten() {
            assert!(paths.insert(route.path), "{} has two rows", route.path);
            for method in route.methods.split(", ").filter(|method| *method != "OPTIONS") {
                assert!(route.access(method).is_some(), "{method} {}", route.path);
            }
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                let is_listed = route.methods.split(", ").any(|one| one == method);
                let is_protected =
                    route.access(method).is_some_and(|access| access != RouteAccess::Public);
                let is_head_of_write = method == "HEAD" && route.path.starts_with("/message/write");
                assert!(is_listed || !is_protected || is_head_of_write, "{method} {}", route.path);
            }
        }
    }

    /// The contract lists the routes that require no credentials.
    #[test]
    fn few_routes_are_public() {
        let public: Vec<_> = ALL
            .into_iter()
            .flatten()
            .filter(|route| route.endpoints().any(|(_, access)| access == RouteAccess::Public))
            .map(|route| route.path)
            .collect();
        let expected = [
            "/",
            "/docs",
            "/openapi.json",
            "/health",
            "/v1/stats",
            "/stat/get",
            "/stat/get/",
            "/config.json",
        ];
        assert_eq!(public, expected);
    }

    #[test]
    fn only_event_streams_accept_a_token_in_the_query() {
        let with_token: Vec<_> = ALL
            .into_iter()
            .flatten()
            .filter(|route| route.accepts_token_parameter)
            .map(|route| route.path)
            .collect();
        assert_eq!(with_token, ["/v1/events"]);
    }
}
