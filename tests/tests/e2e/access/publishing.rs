//! Messages, plays and visits from callers with limited rights.

use std::time::Duration;

use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use super::{
    create_operator,
    credentials::{NewKey, SECRET, TokenOptions, create_keys, create_token, sign_token},
    get, message, post, post_message, send, setup, shared,
};
use crate::operations::mayfly;

/// Returns the number of accepted messages.
async fn count_accepted(world: &World) -> i64 {
    world.ledger_sums().await.accepted
}

#[tokio::test]
async fn message_with_a_token_has_the_subject_as_its_username() {
    let world = shared().await;
    let token = create_token("pub-fred", json!({"publish": ["pub.*", "dummy", "lobby"]}));
    for body in [json!({"channel": "pub.1", "text": "x"}), message("pub.1", "pub-fred", "x")] {
        let accepted = post(&world, "/v1/messages", &body, &token).await.expect_status(202);
        assert_eq!(accepted["username"], "pub-fred");
    }
    let any = post(&world, "/dummy", &json!([1]), &token).await.expect_status(202);
    assert_eq!((&any["username"], &any["channel"]), (&json!("pub-fred"), &json!("dummy")));

    let other = post(&world, "/v1/messages", &message("pub.1", "eve", "x"), &token).await;
    assert_eq!(other.expect_problem(403, "forbidden"), ["username"]);
    let chat = post(&world, "/chat", &json!({"username": "eve", "text": "x"}), &token).await;
    assert_eq!(chat.expect_problem(403, "forbidden"), ["username"]);
    let form = "/message/write/?username=eve&city=c&state=s&message=m";
    let write = send(world.http.post(world.ingest_url(form)), &token).await;
    assert_eq!(write.expect_problem(403, "forbidden"), ["username"]);
    let channel = post(&world, "/v1/messages", &message("other", "", "x"), &token).await;
    assert_eq!(channel.expect_problem(403, "forbidden"), ["channel"]);
}

#[tokio::test]
async fn username_patterns_of_a_key_do_not_apply_to_messages_without_a_username() {
    let world = shared().await;
    let key = NewKey {
        scopes: &["publish"],
        channels: Some(&["pub-key"]),
        usernames: Some(&["bot-*"]),
        ..NewKey::default()
    };
    let key = create_keys(&world, &[key]).await.remove(0);
    for (username, status) in [("", 202), ("bot-1", 202), ("fred", 403)] {
        let response = post(&world, "/v1/messages", &message("pub-key", username, "x"), &key).await;
        assert_eq!(response.status, status, "{username}: {}", response.text());
    }
    let dummy = post(&world, "/dummy", &json!(1), &key).await;
    assert_eq!(dummy.expect_problem(403, "forbidden"), ["channel"]);
}

#[tokio::test]
async fn batch_with_one_forbidden_message_is_rejected_completely() {
    // Other tests write to the shared stack.
    let world = setup().start().await;
    let token = create_token("batch-fred", json!({"publish": ["batch.*"]}));
    let before = count_accepted(&world).await;
    let batch = json!([
        message("batch.1", "", "a"),
        message("secret", "", "b"),
        message("batch.2", "eve", "c"),
        message("batch.3", "batch-fred", "d"),
    ]);
    let response = post(&world, "/v1/messages/batch", &batch, &token).await;
    assert_eq!(response.expect_problem(403, "forbidden"), ["[1].channel", "[2].username"]);
    let lines: Vec<String> =
        batch.as_array().expect("an array").iter().map(Value::to_string).collect();
    let ndjson = world
        .http
        .post(world.ingest_url("/v1/messages/batch"))
        .header("content-type", "application/x-ndjson")
        .body(lines.join("\n"));
    let response = send(ndjson, &token).await;
    assert_eq!(response.expect_problem(403, "forbidden"), ["[1].channel", "[2].username"]);
    assert_eq!(count_accepted(&world).await, before, "nothing is written");

    let allowed = json!([message("batch.1", "", "a"), message("batch.3", "batch-fred", "d")]);
    let accepted = post(&world, "/v1/messages/batch", &allowed, &token).await.expect_status(202);
    let operator = create_operator(&world).await;
    for id in accepted["ids"].as_array().expect("`ids`") {
        let path = format!("/v1/messages/{}", id.as_str().expect("an ID"));
        let found = get(&world, &path, &operator).await.expect_status(200);
        assert_eq!(found["username"], "batch-fred");
    }
}

#[tokio::test]
async fn visits_to_hosts_without_the_right_are_rejected_completely() {
    let world = shared().await;
    let token = create_token("visit-fred", json!({"visits": ["*.visits.example.org"]}));
    let visit = |host: &str| json!({"host": host, "path": "/", "visitor": "v"});
    let mixed = json!([
        visit("A.visits.example.org"),
        visit("b.visits.example.org"),
        visit("visits.example.org")
    ]);
    let response = post(&world, "/v1/visits", &mixed, &token).await;
    assert_eq!(response.expect_problem(403, "forbidden"), ["[2].host"]);
    let response = post(&world, "/v1/visits", &visit("other.org"), &token).await;
    assert_eq!(response.expect_problem(403, "forbidden"), ["host"]);
    let operator = create_operator(&world).await;
    let pages = get(&world, "/v1/hosts/a.visits.example.org/pages", &operator).await;
    assert_eq!(pages.expect_status(200)["visitors"], 0);
    post(&world, "/v1/visits", &visit("a.visits.example.org"), &token).await.expect_status(202);
}

#[tokio::test]
async fn invalid_item_is_reported_before_the_rights_are_checked() {
    let world = shared().await;
    let token = create_token("pub-fred", json!({"publish": ["pub.*"]}));
    let batch = json!([message("secret", "", "a"), {"channel": "pub.1", "text": ""}]);
    let response = post(&world, "/v1/messages/batch", &batch, &token).await;
    assert_eq!(response.expect_problem(400, "invalid_field"), ["[1].text"]);
}

/// The credentials are checked before the body is read, so they must be checked again after it.
#[tokio::test]
async fn slow_body_is_rejected_if_the_token_is_revoked_meanwhile() {
    let world = shared().await;
    let id = Uuid::now_v7().to_string();
    let token = sign_token(&TokenOptions {
        subject: "sloth",
        rights: json!({"publish": ["slow"]}),
        ttl_s: 600,
        id: Some(&id),
        secret: SECRET,
    });
    let message = message("slow", "", "too late");
    let body = message.to_string();
    let address = world.ingest_url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("the service listens");
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let (first, last) = body.split_at(body.len() - 1);
    stream.write_all((head + first).as_bytes()).await.expect("the head is sent");
    // While the server responds to another request, it checks the head.
    post_message(&world, &message, &token).await;

    let output = mayfly(&world, &["token", "revoke", "--jti", &id], &[]).await;
    assert!(output.is_success, "{}", output.stderr);
    eventually(DEFAULT_TIMEOUT, "the token is rejected", async || {
        match post(&world, "/v1/messages", &message, &token).await.status {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // A body that takes less time is not checked again.
    tokio::time::sleep(Duration::from_millis(250)).await;
    // The server may have rejected the head already.
    stream.write_all(last.as_bytes()).await.ok();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("the server responds");
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    assert!(response.contains("\"code\":\"unauthorized\""), "{response}");
}
