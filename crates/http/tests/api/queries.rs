//! Parameters: every wrong one is refused by name.

use crate::server::{problem, start};

#[tokio::test]
async fn a_sound_query_is_read() {
    let server = start(&[]).await;
    let response = server
        .get("/query?limit=5&order=desc&username=a%2Fb+c&channel=x")
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    let read: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(
        read,
        serde_json::json!({"limit": 5, "order": "desc", "username": "a/b c", "channel": ["x"]})
    );
    assert_eq!(server.get("/query?").send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_wrong_parameter_is_refused_by_name() {
    let server = start(&[]).await;
    for (query, field, message) in [
        ("colour=red", "colour", "is unknown"),
        ("limit=5&limit=6", "limit", "must come once"),
        ("limit=five", "limit", "must be a whole number from 0 to 65535"),
        ("limit=", "limit", "must be a whole number from 0 to 65535"),
        ("limit=70000", "limit", "must be a whole number from 0 to 65535"),
        ("order=up", "order", "must be one of asc, desc"),
        ("username=%FF", "username", "must be UTF-8"),
        ("=x", "", "is unknown"),
    ] {
        let response = server.get(&format!("/query?{query}")).send().await.expect("an answer");
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
async fn a_route_without_parameters_refuses_each() {
    let server = start(&[]).await;
    let response = server.get("/plain?limit=5").send().await.expect("an answer");
    assert_eq!(response.status(), 400);
    assert_eq!(problem(response).await["errors"][0]["field"], "limit");
    assert_eq!(server.get("/plain?").send().await.expect("an answer").status(), 200);
}
