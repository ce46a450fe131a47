//! CORS.

use reqwest::Response;

use crate::server::{TestServer, start};

const ALLOWED: (&str, &str) =
    ("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://example.org,http://localhost:*");

async fn preflight(server: &TestServer, origin: &str, method: &str) -> Response {
    server
        .request("OPTIONS", "/plain")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "content-type,authorization,x-api-key")
        .send()
        .await
        .expect("a response")
}

#[tokio::test]
async fn preflight_of_allowed_origin_is_cacheable_for_ten_minutes() {
    let server = start(&[ALLOWED]).await;
    for origin in ["https://example.org", "http://localhost:5173"] {
        let response = preflight(&server, origin, "POST").await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], origin);
        assert_eq!(headers["access-control-max-age"], "600");
        let methods = headers["access-control-allow-methods"].to_str().expect("text");
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            assert!(methods.contains(method), "{methods}");
        }
        let names = headers["access-control-allow-headers"].to_str().expect("text");
        for name in ["content-type", "authorization", "x-api-key"] {
            assert!(names.contains(name), "{names}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert!(headers.contains_key("x-request-id") && headers.contains_key("cache-control"));
    }
}

#[tokio::test]
async fn allowed_origin_reads_responses_problems_and_headers() {
    let server = start(&[ALLOWED, ("MAYFLY_HTTP__REQUEST_TIMEOUT", "50ms")]).await;
    for (path, accept) in [
        ("/plain", "*/*"),
        ("/nowhere", "*/*"),
        ("/problem/rate_limited", "*/*"),
        ("/stuck", "*/*"),
        ("/plain", "application/json; version=2"),
        ("/nowhere", "application/json; version=2"),
    ] {
        let response = server
            .get(path)
            .header("origin", "https://example.org")
            .header("accept", accept)
            .send()
            .await
            .expect("a response");
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://example.org",
            "{path}"
        );
        let exposed = response.headers()["access-control-expose-headers"]
            .to_str()
            .expect("text")
            .to_lowercase();
        let mut exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
        exposed.sort_unstable();
        assert_eq!(
            exposed,
            [
                "age",
                "etag",
                "idempotent-replayed",
                "link",
                "location",
                "mayfly-accepted",
                "mayfly-stale",
                "ratelimit",
                "ratelimit-policy",
                "retry-after",
                "x-request-id",
            ]
        );
    }
}

#[tokio::test]
async fn other_origin_receives_no_cors_headers_and_is_not_rejected() {
    for settings in [&[][..], &[ALLOWED][..]] {
        let server = start(settings).await;
        let response = server
            .get("/plain")
            .header("origin", "https://evil.net")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        let response = preflight(&server, "https://evil.net", "POST").await;
        assert_eq!(response.status(), 204);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST, OPTIONS");
    }
}

#[tokio::test]
async fn star_allows_every_origin() {
    let server = start(&[("MAYFLY_HTTP__ALLOWED_ORIGINS", "*")]).await;
    let response = server
        .get("/plain")
        .header("origin", "https://anywhere.net")
        .send()
        .await
        .expect("a response");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(
        preflight(&server, "null", "DELETE").await.headers()["access-control-allow-origin"],
        "*"
    );
}
