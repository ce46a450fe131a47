//! What a browser is told: which pages may call.

use reqwest::Response;

use crate::server::{TestServer, start};

const ALLOWED: (&str, &str) =
    ("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://example.org,http://localhost:*");

async fn preflight(server: &TestServer, origin: &str, method: &str) -> Response {
    server
        .request("OPTIONS", "/plain")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "content-type,x-api-key")
        .send()
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_answered_and_may_be_kept_ten_minutes() {
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
        assert!(names.contains("content-type") && names.contains("x-api-key"), "{names}");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert!(headers.contains_key("x-request-id") && headers.contains_key("cache-control"));
    }
}

#[tokio::test]
async fn an_allowed_page_sees_answers_and_problems_and_their_headers() {
    let server = start(&[ALLOWED, ("MAYFLY_HTTP__REQUEST_TIMEOUT", "50ms")]).await;
    for path in ["/plain", "/nowhere", "/problem/rate_limited", "/stuck"] {
        let response = server
            .get(path)
            .header("origin", "https://example.org")
            .send()
            .await
            .expect("an answer");
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://example.org",
            "{path}"
        );
        let exposed = response.headers()["access-control-expose-headers"]
            .to_str()
            .expect("text")
            .to_lowercase();
        for name in [
            "location",
            "link",
            "etag",
            "ratelimit",
            "retry-after",
            "x-request-id",
            "idempotent-replayed",
        ] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn a_foreign_page_is_not_told_that_it_may_and_is_not_refused_for_that() {
    for settings in [&[][..], &[ALLOWED][..]] {
        let server = start(settings).await;
        let response = server
            .get("/plain")
            .header("origin", "https://evil.net")
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        let response = preflight(&server, "https://evil.net", "POST").await;
        assert_eq!(response.status(), 204);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST, OPTIONS");
    }
}

#[tokio::test]
async fn a_star_allows_every_page() {
    let server = start(&[("MAYFLY_HTTP__ALLOWED_ORIGINS", "*")]).await;
    let response = server
        .get("/plain")
        .header("origin", "https://anywhere.net")
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(
        preflight(&server, "null", "DELETE").await.headers()["access-control-allow-origin"],
        "*"
    );
}
