//! Query parameters.

use crate::server::{problem, start};

const UNKNOWN: &str = "is unknown; expected one of limit, order, username, channel, size";

#[tokio::test]
async fn valid_query_is_parsed() {
    let server = start(&[]).await;
    let response = server
        .get("/query?limit=5&order=desc&username=a%2Fb+c&channel=x&size=1000")
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-size"], "1000");
    let read: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(
        read,
        serde_json::json!({"limit": 5, "order": "desc", "username": "a/b c", "channel": ["x"]})
    );
    assert_eq!(server.get("/query?").send().await.expect("a response").status(), 200);
}

#[tokio::test]
async fn invalid_parameter_is_rejected_by_name() {
    let server = start(&[]).await;
    for (query, field, message) in [
        ("colour=red", "colour", UNKNOWN),
        ("limit=5&limit=6", "limit", "must be given only once"),
        ("size=-1", "size", "must be an integer between 1 and 1000"),
        ("size=0", "size", "must be an integer between 1 and 1000"),
        ("size=1001", "size", "must be an integer between 1 and 1000"),
        ("size=99999999999", "size", "must be an integer between 1 and 1000"),
        ("size=abc", "size", "must be an integer between 1 and 1000"),
        ("size=1.5", "size", "must be an integer between 1 and 1000"),
        ("size=+5", "size", "must be an integer between 1 and 1000"),
        ("size=", "size", "must be an integer between 1 and 1000"),
        ("order=up", "order", "must be one of asc, desc"),
        ("username=%FF", "username", "must be percent-encoded UTF-8"),
        ("=x", "", UNKNOWN),
    ] {
        let response = server.get(&format!("/query?{query}")).send().await.expect("a response");
        assert_eq!(response.status(), 400, "{query}");
        let problem = problem(response).await;
        assert_eq!(problem["code"], "invalid_field", "{query}");
        assert_eq!(
            problem["errors"],
            serde_json::json!([{"field": field, "message": message}]),
            "{query}"
        );
    }
}

#[tokio::test]
async fn route_without_parameters_rejects_any() {
    let server = start(&[]).await;
    let response = server.get("/plain?limit=5").send().await.expect("a response");
    assert_eq!(response.status(), 400);
    assert_eq!(problem(response).await["errors"][0]["field"], "limit");
    assert_eq!(server.get("/plain?").send().await.expect("a response").status(), 200);
}
