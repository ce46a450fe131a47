//! Methods: what a path knows, and what it says of it.

use mayfly_runtime::Service;

use crate::server::{problem, start, start_as};

#[tokio::test]
async fn a_method_the_path_does_not_know_is_405_and_allow_names_those_that_are_answered() {
    let server = start(&[]).await;
    for (method, path, allow) in [
        ("DELETE", "/plain", "GET, HEAD, POST, OPTIONS"),
        ("GET", "/documents", "POST, OPTIONS"),
        // The other API answers it: it was sent here and not there.
        ("DELETE", "/v1/messages/x", "GET, HEAD, OPTIONS"),
        // Nobody does.
        ("PATCH", "/v1/messages/x", "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let response = server.request(method, path).send().await.expect("an answer");
        assert_eq!(response.status(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        assert_eq!(problem(response).await["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let server = start(&[]).await;
    let response = server.request("HEAD", "/text/100").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "100");
    assert_eq!(response.bytes().await.expect("no body").len(), 0);
}

#[tokio::test]
async fn head_of_a_get_that_writes_is_405() {
    let server = start(&[]).await;
    let response = server.request("HEAD", "/message/write").send().await.expect("an answer");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET, POST, OPTIONS");
}

#[tokio::test]
async fn options_of_a_public_path_is_answered_alike_by_both_apis() {
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
            let response = server.request("OPTIONS", path).send().await.expect("an answer");
            assert_eq!(response.status(), 204, "{path}");
            assert_eq!(response.headers()["allow"], allow, "{path}");
        }
    }
    let response = servers[0].request("OPTIONS", "/nowhere").send().await.expect("an answer");
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn a_path_of_the_other_api_is_not_found_but_with_a_method_that_it_does_not_know_either() {
    let server = start_as(Service::ListApi, &[]).await;
    let response = server.post("/dummy").send().await.expect("an answer");
    assert_eq!(response.status(), 404);
    let response = server.get("/dummy").send().await.expect("an answer");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST, OPTIONS");
}

#[tokio::test]
async fn health_is_answered_without_detail() {
    let server = start(&[]).await;
    let response = server.get("/health").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.expect("a body"), r#"{"status":"ok"}"#);
    assert_eq!(server.request("HEAD", "/health").send().await.expect("an answer").status(), 200);
}
