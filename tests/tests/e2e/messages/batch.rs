//! Batches: a JSON array or NDJSON, accepted completely or not at all.

use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, World, eventually, message_ids};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

async fn post(world: &World, kind: &str, body: impl Into<reqwest::Body>) -> ApiResponse {
    let request = world.http.post(world.ingest_url("/v1/messages/batch")).body(body);
    ApiResponse::send(request.header("content-type", kind)).await
}

/// Returns the same messages as a JSON array and as NDJSON.
fn forms(messages: &[Value]) -> [(&'static str, String); 2] {
    let lines: Vec<_> = messages.iter().map(ToString::to_string).collect();
    [(JSON, Value::from(messages).to_string()), (NDJSON, lines.join("\n"))]
}

fn messages(username: &str, count: usize) -> Vec<Value> {
    (0..count).map(|index| json!({"username": username, "text": index.to_string()})).collect()
}

#[tokio::test]
async fn batch_is_array_or_ndjson_and_returns_ids_in_order() {
    let world = World::shared().await;
    for (kind, body) in forms(&messages("batch-order", 20)) {
        let response = post(&world, kind, body).await.expect_status(202);
        assert_eq!(response["accepted"], 20);
        let ids: Vec<_> = response["ids"].as_array().expect("ids").clone();
        let items = world.take("batch-order").await;
        assert_eq!(message_ids(&items), ids, "oldest first, in the order sent");
        let texts: Vec<_> = items.iter().map(|item| item["text"].clone()).collect();
        assert_eq!(texts, (0..20).map(|index| json!(index.to_string())).collect::<Vec<_>>());
        eventually(DEFAULT_TIMEOUT, "the messages are listed in order", async || {
            let path = "/v1/messages?username=batch-order&order=desc&limit=20";
            let (_, page) = world.get(path).await;
            let mut listed: Vec<_> = page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["id"].clone())
                .collect();
            listed.reverse();
            if listed == ids { Ok(()) } else { Err(page) }
        })
        .await;
    }
    let blank_lines = "\r\n{\"text\":\"a\"}\r\n\n  {\"text\":\"b\"}  \n";
    assert_eq!(post(&world, NDJSON, blank_lines).await.expect_status(202)["accepted"], 2);
}

/// The writers of a worker wait for entries concurrently, and read them in several steps.
#[tokio::test]
async fn batch_is_stored_in_the_order_sent() {
    let world = World::shared().await;
    let message = json!({"channel": "batch-sequence", "text": "x"});
    let body = Value::from(vec![message; 100]).to_string();
    let mut sent = Vec::new();
    for _ in 0..5 {
        let response = post(&world, JSON, body.clone()).await.expect_status(202);
        sent.extend(response["ids"].as_array().expect("ids").clone());
        eventually(DEFAULT_TIMEOUT, "the messages are listed in order", async || {
            let path = "/v1/messages?channel=batch-sequence&order=asc&limit=1000";
            let (_, page) = world.get(path).await;
            let listed = message_ids(page["items"].as_array().expect("items"));
            if listed == sent { Ok(()) } else { Err(listed.len()) }
        })
        .await;
    }
}

#[tokio::test]
async fn batch_has_1_to_1000_messages() {
    let world = World::shared().await;
    let message = json!({"text": "x", "ttl": 0});
    for (count, status) in [(0, 400), (1, 202), (1_000, 202), (1_001, 400)] {
        for (kind, body) in forms(&vec![message.clone(); count]) {
            let response = post(&world, kind, body).await;
            assert_eq!(response.status, status, "{count} as {kind}");
            match status {
                202 => assert_eq!(response.json()["ids"].as_array().map(Vec::len), Some(count)),
                _ => assert_eq!(response.expect_problem(400, "invalid_field").len(), 1),
            }
        }
    }
}

#[tokio::test]
async fn invalid_item_returns_400_with_its_index_and_rejects_the_batch() {
    let world = World::shared().await;
    let invalid_items = [
        (json!({"username": "batch-bad", "text": ""}), "[2].text"),
        (json!({"username": "batch-bad"}), "[2].text"),
        (json!({"text": "x", "ttl": 604_801}), "[2].ttl"),
        (json!({"text": "x", "more": 1}), "[2].more"),
        (json!([]), "[2]"),
        (json!({"data": "x".repeat(64 * 1024)}), "[2]"),
    ];
    for (bad, field) in invalid_items {
        let mut items = messages("batch-bad", 4);
        items[2] = bad;
        for (kind, body) in forms(&items) {
            let fields = post(&world, kind, body).await.expect_problem(400, "invalid_field");
            assert_eq!(fields, [field]);
        }
    }
    let lines = "{\"username\":\"batch-bad\",\"text\":\"x\"}\n{\"text\":\n{\"text\":\"\"}";
    let fields = post(&world, NDJSON, lines).await.expect_problem(400, "invalid_json");
    assert_eq!(fields, ["[1]", "[2].text"]);
    post(&world, JSON, "[{\"text\":\"x\"},").await.expect_problem(400, "invalid_json");
    post(&world, JSON, "{\"text\":\"x\"}").await.expect_problem(400, "invalid_field");

    assert_eq!(world.take("batch-bad").await, [] as [Value; 0]);
    // Messages are stored in order, so this one would be listed after any message of the rejected
    // batches.
    let after = world.post_message(&json!({"username": "batch-bad", "text": "after"})).await;
    eventually(DEFAULT_TIMEOUT, "only the next message is stored", async || {
        let (_, page) = world.get("/v1/messages?username=batch-bad").await;
        if page["items"] == json!([after]) { Ok(()) } else { Err(page) }
    })
    .await;
}

#[tokio::test]
async fn batch_is_at_most_4_mib() {
    let world = World::shared().await;
    let item = json!({"data": "x".repeat(60_000), "ttl": 0}).to_string();
    let max_bytes = 4 * 1024 * 1024;
    let mut body = format!("[{}", vec![item; 69].join(","));
    body.push_str(&" ".repeat(max_bytes - body.len() - 1));
    body.push(']');
    assert_eq!(body.len(), max_bytes);
    assert_eq!(post(&world, JSON, body.clone()).await.expect_status(202)["accepted"], 69);
    body.push(' ');
    post(&world, JSON, body).await.expect_problem(413, "body_too_large");
}

#[tokio::test]
async fn other_content_type_returns_415() {
    let world = World::shared().await;
    for kind in ["text/plain", "application/ndjson", "application/x-www-form-urlencoded"] {
        post(&world, kind, "[]").await.expect_problem(415, "unsupported_media_type");
    }
}
