//! Credentials: callers without the required access are rejected before the body is read.
//!
//! The servers have no Redis, so they can check no key. The end-to-end tests cover valid
//! credentials.

use reqwest::Response;
use tokio::io::AsyncWriteExt;

use crate::server::{TestServer, problem, read_until, start};

const KEYS: (&str, &str) = ("MAYFLY_AUTH__MODE", "keys");
const MISSING: &str = "Bearer";
const INVALID: &str = "Bearer error=\"invalid_token\"";

async fn get(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = server.get(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("a response")
}

async fn expect_unauthorized(response: Response, challenge: &str) {
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], challenge);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(problem(response).await["code"], "unauthorized");
}

#[tokio::test]
async fn only_protected_methods_require_credentials() {
    let server = start(&[KEYS]).await;
    expect_unauthorized(get(&server, "/v1/messages", &[]).await, MISSING).await;
    let post = server.post("/v1/messages").header("content-type", "application/json").body("{}");
    expect_unauthorized(post.send().await.expect("a response"), MISSING).await;
    let head = server.request("HEAD", "/v1/messages").send().await.expect("a response");
    assert_eq!(head.status(), 401);
    for path in ["/plain", "/health", "/docs", "/docs/errors", "/query"] {
        assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
    }
    // These methods have no effect.
    for (method, status) in [("OPTIONS", 204), ("DELETE", 405)] {
        let response = server.request(method, "/v1/messages").send().await.expect("a response");
        assert_eq!(response.status(), status, "{method}");
    }
}

#[tokio::test]
async fn malformed_credentials_are_invalid() {
    let server = start(&[KEYS]).await;
    for headers in [
        &[("authorization", "Basic eDp5")][..],
        &[("authorization", "Bearer")],
        &[("authorization", "mf_hunter2")],
        &[("x-api-key", "")],
        &[("authorization", "Bearer mf_hunter2"), ("x-api-key", "mf_other")],
        &[("authorization", "Bearer mf_hunter2"), ("authorization", "Bearer mf_other")],
    ] {
        let response = get(&server, "/v1/messages", headers).await;
        assert!(!format!("{:?}", response.headers()).contains("hunter2"));
        expect_unauthorized(response, INVALID).await;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_checked_are_unavailable() {
    let server = start(&[KEYS]).await;
    for headers in [("authorization", "Bearer mf_hunter2"), ("x-api-key", "mf_hunter2")] {
        let response = get(&server, "/v1/messages", &[headers]).await;
        assert_eq!(response.status(), 503, "{headers:?}");
        assert!(response.headers().contains_key("retry-after"));
        let problem = problem(response).await;
        assert_eq!(problem["code"], "unavailable");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[tokio::test]
async fn credentials_are_checked_before_the_body_is_read() {
    let server = start(&[KEYS]).await;
    for header in ["X-Other: x", "Authorization: Basic eDp5"] {
        for length in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let mut connection = server.connect().await;
            let request = format!(
                "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                 {header}\r\n{length}\r\n\r\n"
            );
            connection.write_all(request.as_bytes()).await.expect("the request is written");
            let response = read_until(&mut connection, "\"code\":\"unauthorized\"").await;
            assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        }
    }
}

#[tokio::test]
async fn callers_without_credentials_have_the_anonymous_scopes() {
    let server = start(&[KEYS, ("MAYFLY_AUTH__ANONYMOUS", "read")]).await;
    let response = get(&server, "/v1/messages", &[]).await;
    assert_eq!(response.status(), 200);
    assert!(response.text().await.expect("a body").starts_with("Anonymous"));
    let post = server.post("/v1/messages").header("content-type", "application/json").body("{}");
    expect_unauthorized(post.send().await.expect("a response"), MISSING).await;
    let malformed = [("authorization", "Basic eDp5")];
    expect_unauthorized(get(&server, "/v1/messages", &malformed).await, INVALID).await;
}

#[tokio::test]
async fn mode_open_ignores_credentials() {
    let server = start(&[]).await;
    for header in
        [("authorization", "Basic eDp5"), ("authorization", "Bearer mf_x"), ("x-api-key", "")]
    {
        let response = get(&server, "/v1/messages", &[header]).await;
        assert_eq!(response.status(), 200, "{header:?}");
        assert_eq!(response.text().await.expect("a body"), "Open");
    }
}

#[tokio::test]
async fn only_event_streams_accept_a_token_in_the_query() {
    let server = start(&[KEYS]).await;
    for (path, challenge) in [
        ("/v1/events", MISSING),
        ("/v1/events?token=mf_a", INVALID),
        ("/v1/events?token=", INVALID),
        ("/v1/messages?token=mf_a", MISSING),
        ("/v1/messages?token=", MISSING),
    ] {
        expect_unauthorized(get(&server, path, &[]).await, challenge).await;
    }
}

#[tokio::test]
async fn failed_authentications_are_limited_per_address() {
    let limit = ("MAYFLY_LIMITS__AUTH_FAILURES", "2/hour");
    let server = start(&[KEYS, limit]).await;
    let malformed = [("authorization", "Basic eDp5")];
    for _ in 0..2 {
        expect_unauthorized(get(&server, "/v1/messages", &malformed).await, INVALID).await;
    }
    let response = get(&server, "/v1/messages", &malformed).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["ratelimit-policy"], "\"auth_failures\";q=2;w=3600");
    let remaining = response.headers()["ratelimit"].to_str().expect("text").to_owned();
    assert!(remaining.starts_with("\"auth_failures\";r=0;t="), "{remaining}");
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(problem(response).await["code"], "rate_limited");
    // A request without credentials is not an attempt to guess them.
    expect_unauthorized(get(&server, "/v1/messages", &[]).await, MISSING).await;
}
