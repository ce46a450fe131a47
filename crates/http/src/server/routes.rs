//! The public paths of both APIs. Each API responds to `OPTIONS`, and with 405, for all of them.

use actix_web::http::Method;

/// Paths and their methods. Exact paths precede patterns.
pub const ROUTES: [(&str, &str); 27] = [
    ("/", "GET, HEAD, OPTIONS"),
    ("/docs", "GET, HEAD, OPTIONS"),
    ("/openapi.json", "GET, HEAD, OPTIONS"),
    ("/health", "GET, HEAD, OPTIONS"),
    ("/v1/messages", "GET, HEAD, POST, OPTIONS"),
    ("/v1/messages/batch", "POST, OPTIONS"),
    ("/v1/messages/{id}", "GET, HEAD, DELETE, OPTIONS"),
    ("/v1/users/{username}/messages", "GET, HEAD, OPTIONS"),
    ("/v1/users/{username}/messages/take", "POST, OPTIONS"),
    ("/message/write", "GET, POST, OPTIONS"),
    ("/message/write/", "GET, POST, OPTIONS"),
    ("/chat", "POST, OPTIONS"),
    ("/chat/", "POST, OPTIONS"),
    ("/chat/{id}", "GET, HEAD, OPTIONS"),
    ("/chats/{username}", "GET, HEAD, OPTIONS"),
    ("/dummy", "POST, OPTIONS"),
    ("/v1/plays", "GET, HEAD, POST, OPTIONS"),
    ("/v1/plays/{video_id}", "GET, HEAD, OPTIONS"),
    ("/v1/hosts/{host}/pages", "GET, HEAD, OPTIONS"),
    ("/v1/hosts/{host}/rising", "GET, HEAD, OPTIONS"),
    ("/v1/hosts/{host}/history", "GET, HEAD, OPTIONS"),
    ("/api/v1.0/increasingconcurrents", "GET, HEAD, OPTIONS"),
    ("/v1/visits", "POST, OPTIONS"),
    ("/v1/pulse", "GET, HEAD, OPTIONS"),
    ("/v1/stats", "GET, HEAD, OPTIONS"),
    ("/stat/get", "GET, HEAD, OPTIONS"),
    ("/stat/get/", "GET, HEAD, OPTIONS"),
];

/// Returns the methods that the APIs support on a path, such as `GET, HEAD, OPTIONS`, or `None` if the
/// path does not exist.
pub fn find_methods(path: &str) -> Option<&'static str> {
    ROUTES.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, methods)| *methods)
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
