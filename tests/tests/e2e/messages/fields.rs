//! Validation of message fields at and beyond their limits.

use mayfly_tests::{ApiResponse, World};
use serde_json::{Value, json};

async fn post_text(world: &World, body: impl Into<reqwest::Body>) -> ApiResponse {
    let request = world.http.post(world.ingest_url("/v1/messages")).body(body);
    ApiResponse::send(request.header("content-type", "application/json")).await
}

/// Returns a document with this nesting depth.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, level| {
        if level % 2 == 0 { json!([inner]) } else { json!({ "in": inner }) }
    })
}

/// Returns a message of exactly this size.
fn message_of_bytes(bytes: usize) -> String {
    let (before, after) = ("{\"data\":\"", "\"}");
    format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
}

#[tokio::test]
async fn every_field_is_accepted_at_its_limit() {
    let world = World::shared().await;
    for message in [
        json!({"text": "x", "channel": "a"}),
        json!({"text": "x", "channel": format!("AZaz09._:-{}", "c".repeat(54))}),
        json!({"text": "x", "username": "u"}),
        json!({"text": "x", "username": "🚀".repeat(200)}),
        json!({"text": "x", "username": " blanks and / % \\ \" matter "}),
        json!({"text": "t"}),
        json!({"text": "😀".repeat(4_096)}),
        json!({"text": "line\nline\ttab\u{7}"}),
        json!({"text": "x", "city": "c", "state": "s"}),
        json!({"text": "x", "city": "ä".repeat(64), "state": "😀".repeat(64)}),
        json!({"text": "x", "ttl": 0}),
        json!({"text": "x", "ttl": 1}),
        json!({"text": "x", "ttl": 604_800}),
        json!({"data": nested(64)}),
        json!({"data": false}),
        json!({"text": "x", "data": {}}),
        json!({"text": "x", "data": null, "username": null, "city": null, "ttl": null}),
    ] {
        let posted = world.post_message(&message).await;
        for (name, value) in message.as_object().expect("an object") {
            let is_equal = posted[name] == *value || name == "ttl";
            assert!(is_equal, "{name}: {} is not {value}", posted[name]);
        }
    }
    post_text(&world, message_of_bytes(64 * 1024)).await.expect_status(202);
    post_text(&world, r#"{"data":[1.7976931348623157e308,-1e308,1e-400]}"#)
        .await
        .expect_status(202);
}

#[tokio::test]
async fn every_field_beyond_its_limit_is_rejected_by_name() {
    let world = World::shared().await;
    for (message, field) in [
        (json!({}), "text"),
        (json!({"data": null}), "text"),
        (json!({"username": "u"}), "text"),
        (json!({"text": ""}), "text"),
        (json!({"text": "😀".repeat(4_097)}), "text"),
        (json!({"text": 1}), "text"),
        (json!({"text": "a\u{0}b"}), "text"),
        (json!({"text": "x", "channel": ""}), "channel"),
        (json!({"text": "x", "channel": "c".repeat(65)}), "channel"),
        (json!({"text": "x", "channel": "a b"}), "channel"),
        (json!({"text": "x", "channel": "a/b"}), "channel"),
        (json!({"text": "x", "channel": "ä"}), "channel"),
        (json!({"text": "x", "channel": "a\n"}), "channel"),
        (json!({"text": "x", "username": ""}), "username"),
        (json!({"text": "x", "username": "ä".repeat(201)}), "username"),
        (json!({"text": "x", "username": "a\nb"}), "username"),
        (json!({"text": "x", "username": "a\u{7f}b"}), "username"),
        (json!({"text": "x", "username": "a\u{85}b"}), "username"),
        (json!({"text": "x", "username": ["u"]}), "username"),
        (json!({"text": "x", "city": ""}), "city"),
        (json!({"text": "x", "city": "ä".repeat(65)}), "city"),
        (json!({"text": "x", "city": "\u{0}"}), "city"),
        (json!({"text": "x", "state": "s".repeat(65)}), "state"),
        (json!({"text": "x", "ttl": -1}), "ttl"),
        (json!({"text": "x", "ttl": 604_801}), "ttl"),
        (json!({"text": "x", "ttl": 1.5}), "ttl"),
        (json!({"text": "x", "ttl": "60"}), "ttl"),
        (json!({"text": "x", "ttl": u64::MAX}), "ttl"),
        (json!({"data": nested(65)}), "data"),
        (json!({"data": {"a\u{0}": 1}}), "data"),
        (json!({"data": ["\u{0}"]}), "data"),
        (json!({"text": "x", "unknown": 1}), "unknown"),
        (json!({"text": "x", "id": "mine"}), "id"),
    ] {
        let response = post_text(&world, message.to_string()).await;
        assert_eq!(response.expect_problem(400, "invalid_field"), [field], "{message}");
    }
    let several = json!({"text": "", "channel": "ä", "ttl": -1}).to_string();
    let mut fields = post_text(&world, several).await.expect_problem(400, "invalid_field");
    fields.sort_unstable();
    assert_eq!(fields, ["channel", "text", "ttl"], "all invalid fields are reported");
}

#[tokio::test]
async fn message_is_at_most_64_kib() {
    let world = World::shared().await;
    let response = post_text(&world, message_of_bytes(64 * 1024 + 1)).await;
    response.expect_problem(413, "body_too_large");
    // The limit also applies without a Content-Length header.
    let chunks = vec![b'['; 70 * 1024];
    let chunks = futures_util::stream::iter(
        chunks.chunks(4_096).map(<[u8]>::to_vec).map(Ok::<_, std::io::Error>).collect::<Vec<_>>(),
    );
    let response = post_text(&world, reqwest::Body::wrap_stream(chunks)).await;
    response.expect_problem(413, "body_too_large");
}

#[tokio::test]
async fn malformed_json_is_rejected() {
    let world = World::shared().await;
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, codes) in [
        ("", &["invalid_json"][..]),
        ("{\"text\":\"x\"", &["invalid_json"]),
        ("{\"text\":\"x\"}{}", &["invalid_json"]),
        ("{'text':'x'}", &["invalid_json"]),
        ("{\"text\":\"x\",}", &["invalid_json"]),
        ("\u{feff}{\"text\":\"x\"}", &["invalid_json"]),
        ("{\"text\":\"\\ud800\"}", &["invalid_json"]),
        ("{\"text\":\"\\udc00x\"}", &["invalid_json"]),
        ("{\"text\":\"\nraw control\"}", &["invalid_json"]),
        ("{\"data\":\"\\ud800\"}", &["invalid_json", "invalid_field"]),
        ("{\"data\":{\"\\udfff\":1}}", &["invalid_json", "invalid_field"]),
        ("{\"data\":1e400}", &["invalid_field"]),
        ("{\"data\":[-1e309]}", &["invalid_field"]),
        ("{\"data\":01}", &["invalid_json"]),
        ("{\"text\":\"x\",\"text\":\"y\"}", &["invalid_field"]),
        ("{\"data\":1,\"data\":2}", &["invalid_field"]),
        ("[]", &["invalid_field"]),
        ("\"text\"", &["invalid_field"]),
        ("null", &["invalid_field"]),
        (deep.as_str(), &["invalid_field", "invalid_json"]),
    ] {
        let response = post_text(&world, body.to_owned()).await;
        let code = response.expect_status(400)["code"].as_str().unwrap_or_default().to_owned();
        response.expect_problem(400, &code);
        assert!(codes.contains(&code.as_str()), "{body:.60}: {}", response.text());
    }
    let response = post_text(&world, b"{\"text\":\"\xff\"}".to_vec()).await;
    response.expect_problem(400, "invalid_json");
}

#[tokio::test]
async fn json_content_types_are_accepted_and_others_return_415() {
    let world = World::shared().await;
    let post = |kind: Option<&str>| {
        let request = world.http.post(world.ingest_url("/v1/messages")).body("{\"text\":\"x\"}");
        ApiResponse::send(match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        })
    };
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/cloudevents+json",
    ] {
        post(Some(kind)).await.expect_status(202);
    }
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-ndjson"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json; charset=latin1"),
        Some("application/+json"),
        Some("json"),
    ] {
        post(kind).await.expect_problem(415, "unsupported_media_type");
    }
    let request =
        world.http.post(world.ingest_url("/message/write/")).json(&json!({"username": "u"}));
    ApiResponse::send(request).await.expect_problem(415, "unsupported_media_type");
}
