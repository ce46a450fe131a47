//! `HEAD`, `OPTIONS` and unsupported methods.

use mayfly_runtime::Service;

use crate::server::{problem, start, start_as};

#[tokio::test]
async fn unsupported_method_is_405_and_allow_lists_supported_ones() {
    let server = start(&[]).await;
    for (method, path, allow) in [
        ("DELETE", "/plain", "GET, HEAD, POST, OPTIONS"),
        ("GET", "/documents", "POST, OPTIONS"),
        // The other API supports the method: the request was sent to the wrong API.
        ("DELETE", "/v1/messages/x", "GET, HEAD, OPTIONS"),
        // No API supports the method.
        ("PATCH", "/v1/messages/x", "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let response = server.request(method, path).send().await.expect("a response");
        assert_eq!(response.status(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        assert_eq!(problem(response).await["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn head_responds_like_get_without_a_body() {
    let server = start(&[]).await;
    let response = server.request("HEAD", "/text/100").send().await.expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "100");
    assert_eq!(response.bytes().await.expect("no body").len(), 0);
}

#[tokio::test]
async fn head_of_a_get_that_writes_is_405() {
    let server = start(&[]).await;
    let response = server.request("HEAD", "/message/write").send().await.expect("a response");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET, POST, OPTIONS");
}

#[tokio::test]
async fn both_apis_respond_to_options_alike() {
    let servers = [start_as(Service::IngestApi, &[]).await, start_as(Service::ListApi, &[]).await];
    for (path, allow) in [
        ("/v1/messages", "GET, HEAD, POST, OPTIONS"),
        ("/v1/messages/batch", "POST, OPTIONS"),
        ("/v1/messages/0190", "GET, HEAD, DELETE, OPTIONS"),
        ("/message/write", "GET, POST, OPTIONS"),
        ("/message/write/", "GET, POST, OPTIONS"),
        ("/chat", "POST, OPTIONS"),
        ("/chat/0190", "GET, HEAD, OPTIONS"),
        ("/v1/users/fred/messages/take", "POST, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ] {
        for server in &servers {
            let response = server.request("OPTIONS", path).send().await.expect("a response");
            assert_eq!(response.status(), 204, "{path}");
            assert_eq!(response.headers()["allow"], allow, "{path}");
        }
    }
    let response = servers[0].request("OPTIONS", "/nowhere").send().await.expect("a response");
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn path_of_other_api_is_404_or_405_if_no_api_supports_the_method() {
    let server = start_as(Service::ListApi, &[]).await;
    let response = server.post("/dummy").send().await.expect("a response");
    assert_eq!(response.status(), 404);
    let response = server.get("/dummy").send().await.expect("a response");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST, OPTIONS");
}

#[tokio::test]
async fn health_has_no_details() {
    let server = start(&[]).await;
    let response = server.get("/health").send().await.expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.expect("a body"), r#"{"status":"ok"}"#);
    assert_eq!(server.request("HEAD", "/health").send().await.expect("a response").status(), 200);
}
