//! The public paths of both APIs, ingest-api and list-api. On all of these paths, each API responds
//! to `OPTIONS` and rejects unsupported methods with 405. Tests check the OpenAPI document,
//! docs/API.md and the routing of the single entry point against this table.

use actix_web::http::Method;

/// A public path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The path. A part in braces is a parameter.
    pub path: &'static str,
    /// The methods that the APIs support, such as `GET, HEAD, OPTIONS`.
    pub methods: &'static str,
    /// The methods that the single entry point routes to ingest-api, such as `POST`. All other
    /// methods are routed to list-api.
    pub ingest_methods: &'static str,
}

/// Returns a route that is always routed to list-api.
const fn list(path: &'static str, methods: &'static str) -> Route {
    Route { path, methods, ingest_methods: "" }
}

/// Returns a route that is routed to ingest-api for `POST`, and to list-api for all other methods.
const fn ingest(path: &'static str, methods: &'static str) -> Route {
    Route { path, methods, ingest_methods: "POST" }
}

/// Returns a route for `/message/write` or `/message/write/`, where `GET` also sends a message.
const fn write(path: &'static str) -> Route {
    Route { path, methods: "GET, POST, OPTIONS", ingest_methods: "GET, HEAD, POST, OPTIONS" }
}

/// All routes. Exact paths precede patterns.
pub const ROUTES: [Route; 27] = [
    list("/", "GET, HEAD, OPTIONS"),
    list("/docs", "GET, HEAD, OPTIONS"),
    list("/openapi.json", "GET, HEAD, OPTIONS"),
    list("/health", "GET, HEAD, OPTIONS"),
    ingest("/v1/messages", "GET, HEAD, POST, OPTIONS"),
    ingest("/v1/messages/batch", "POST, OPTIONS"),
    list("/v1/messages/{id}", "GET, HEAD, DELETE, OPTIONS"),
    list("/v1/users/{username}/messages", "GET, HEAD, OPTIONS"),
    list("/v1/users/{username}/messages/take", "POST, OPTIONS"),
    write("/message/write"),
    write("/message/write/"),
    ingest("/chat", "POST, OPTIONS"),
    ingest("/chat/", "POST, OPTIONS"),
    list("/chat/{id}", "GET, HEAD, OPTIONS"),
    list("/chats/{username}", "GET, HEAD, OPTIONS"),
    ingest("/dummy", "POST, OPTIONS"),
    ingest("/v1/plays", "GET, HEAD, POST, OPTIONS"),
    list("/v1/plays/{video_id}", "GET, HEAD, OPTIONS"),
    list("/v1/hosts/{host}/pages", "GET, HEAD, OPTIONS"),
    list("/v1/hosts/{host}/rising", "GET, HEAD, OPTIONS"),
    list("/v1/hosts/{host}/history", "GET, HEAD, OPTIONS"),
    list("/api/v1.0/increasingconcurrents", "GET, HEAD, OPTIONS"),
    ingest("/v1/visits", "POST, OPTIONS"),
    list("/v1/pulse", "GET, HEAD, OPTIONS"),
    list("/v1/stats", "GET, HEAD, OPTIONS"),
    list("/stat/get", "GET, HEAD, OPTIONS"),
    list("/stat/get/", "GET, HEAD, OPTIONS"),
];

/// Returns the methods that the APIs support on a path, such as `GET, HEAD, OPTIONS`, or `None` if
/// the path does not exist.
pub fn find_methods(path: &str) -> Option<&'static str> {
    ROUTES.iter().find(|route| matches(route.path, path)).map(|route| route.methods)
}

/// Returns whether `methods` contains `method`.
pub(super) fn has_method(methods: &str, method: &Method) -> bool {
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
    use super::find_methods;

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
}
