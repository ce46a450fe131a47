//! The public paths of both APIs, so that each answers `OPTIONS` for both, and 405.

use actix_web::http::Method;

/// Paths and their methods, exact ones before those with a name in them.
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

/// Names the methods of a public path over both APIs, as `GET, HEAD, OPTIONS`; none where neither knows the path.
pub fn find_methods(path: &str) -> Option<&'static str> {
    ROUTES.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, methods)| *methods)
}

/// Whether a method is among those that are named.
pub(crate) fn has_method(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|one| one == method.as_str())
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part))
                if wanted == part || (wanted.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find_methods;

    #[test]
    fn an_exact_path_comes_before_one_with_a_name() {
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
