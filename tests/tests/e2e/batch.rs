//! Batches: an array or lines, all of it or nothing.

use mayfly_tests::{Answer, PATIENCE, World, eventually, ids_of};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

async fn post(world: &World, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = world.http.post(world.ingest("/v1/messages/batch")).body(body);
    Answer::of(request.header("content-type", kind)).await
}

/// The same messages as an array and as lines.
fn forms(messages: &[Value]) -> [(&'static str, String); 2] {
    let lines: Vec<_> = messages.iter().map(ToString::to_string).collect();
    [(JSON, Value::from(messages).to_string()), (NDJSON, lines.join("\n"))]
}

fn messages(username: &str, count: usize) -> Vec<Value> {
    (0..count).map(|place| json!({"username": username, "text": place.to_string()})).collect()
}

#[tokio::test]
async fn a_batch_is_an_array_or_ndjson_and_its_ids_come_in_order() {
    let world = World::shared().await;
    for (kind, body) in forms(&messages("batch-order", 20)) {
        let answer = post(&world, kind, body).await.expect(202);
        assert_eq!(answer["accepted"], 20);
        let ids: Vec<_> = answer["ids"].as_array().expect("ids").clone();
        let items = world.take("batch-order").await;
        assert_eq!(ids_of(&items), ids, "oldest first is as they were sent");
        let texts: Vec<_> = items.iter().map(|item| item["text"].clone()).collect();
        assert_eq!(texts, (0..20).map(|place| json!(place.to_string())).collect::<Vec<_>>());
        eventually(PATIENCE, "they are walked in order", async || {
            let path = "/v1/messages?username=batch-order&order=desc&limit=20";
            let (_, page) = world.get(path).await;
            let mut walked: Vec<_> = page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["id"].clone())
                .collect();
            walked.reverse();
            if walked == ids { Ok(()) } else { Err(page) }
        })
        .await;
    }
    let blank_lines = "\r\n{\"text\":\"a\"}\r\n\n  {\"text\":\"b\"}  \n";
    assert_eq!(post(&world, NDJSON, blank_lines).await.expect(202)["accepted"], 2);
}

#[tokio::test]
async fn a_batch_holds_1_to_1000_messages() {
    let world = World::shared().await;
    let message = json!({"text": "x", "ttl": 0});
    for (count, status) in [(0, 400), (1, 202), (1_000, 202), (1_001, 400)] {
        for (kind, body) in forms(&vec![message.clone(); count]) {
            let answer = post(&world, kind, body).await;
            assert_eq!(answer.status, status, "{count} as {kind}");
            match status {
                202 => assert_eq!(answer.json()["ids"].as_array().map(Vec::len), Some(count)),
                _ => assert_eq!(answer.expect_problem(400, "invalid_field").len(), 1),
            }
        }
    }
}

#[tokio::test]
async fn one_bad_item_is_400_with_its_index_and_nothing_of_the_batch_is_accepted() {
    let world = World::shared().await;
    let refused = [
        (json!({"username": "batch-bad", "text": ""}), "[2].text"),
        (json!({"username": "batch-bad"}), "[2].text"),
        (json!({"text": "x", "ttl": 604_801}), "[2].ttl"),
        (json!({"text": "x", "more": 1}), "[2].more"),
        (json!([]), "[2]"),
        (json!({"data": "x".repeat(64 * 1024)}), "[2]"),
    ];
    for (bad, field) in refused {
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
    // What is accepted now is stored behind whatever would have been accepted before.
    let after = world.post_message(&json!({"username": "batch-bad", "text": "after"})).await;
    eventually(PATIENCE, "the next message is stored alone", async || {
        let (_, page) = world.get("/v1/messages?username=batch-bad").await;
        if page["items"] == json!([after]) { Ok(()) } else { Err(page) }
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_at_most_4_mib() {
    let world = World::shared().await;
    let item = json!({"data": "x".repeat(60_000), "ttl": 0}).to_string();
    let bytes_max = 4 * 1024 * 1024;
    let mut body = format!("[{}", vec![item; 69].join(","));
    body.push_str(&" ".repeat(bytes_max - body.len() - 1));
    body.push(']');
    assert_eq!(body.len(), bytes_max);
    assert_eq!(post(&world, JSON, body.clone()).await.expect(202)["accepted"], 69);
    body.push(' ');
    post(&world, JSON, body).await.expect_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_batch_of_another_kind_is_415() {
    let world = World::shared().await;
    for kind in ["text/plain", "application/ndjson", "application/x-www-form-urlencoded"] {
        post(&world, kind, "[]").await.expect_problem(415, "unsupported_media_type");
    }
}
