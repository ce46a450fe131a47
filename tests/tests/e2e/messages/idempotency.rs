//! `Idempotency-Key` on write routes: a repeated request is executed once.

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, RedisProxy, ServiceProcess, Setup, World, eventually, message_id,
};
use redis::AsyncCommands;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const CALLERS: usize = 64;

/// Returns a stack with two `ingest-api` that trust a proxy.
async fn shared_world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup = Setup::new()
        .scale(Service::IngestApi, 2)
        .set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");
    setup.share(&WORLD).await
}

/// Builds a request with a key to the n-th `ingest-api`.
fn post(world: &World, n: usize, path: &str, key: &str) -> RequestBuilder {
    let urls = world.urls(Service::IngestApi);
    world.http.post(format!("{}{path}", urls[n % urls.len()])).header("idempotency-key", key)
}

async fn post_text(world: &World, key: &str, text: &str) -> ApiResponse {
    ApiResponse::send(post(world, 0, "/v1/messages", key).json(&json!({"text": text}))).await
}

fn is_replayed(response: &ApiResponse) -> bool {
    response.header("idempotent-replayed") == "true"
}

/// Returns the number of listed messages of a channel after everything accepted is stored. Batches
/// are stored concurrently, so the last message may be stored before earlier ones.
async fn count_stored(world: &World, channel: &str) -> usize {
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let (_, page) = world.get(&format!("/v1/messages?channel={channel}&limit=1000")).await;
    page["items"].as_array().expect("the response has `items`").len()
}

/// Returns write requests: path, content type, body and number of messages.
fn write_routes() -> Vec<(&'static str, &'static str, String, usize)> {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let message = json!({"channel": "key-one", "text": "x", "data": {"b": 1.0, "a": []}, "ttl": 7});
    let batch =
        json!([{"channel": "key-batch", "text": "a"}, {"channel": "key-batch", "text": "b"}]);
    let lines =
        "{\"channel\":\"key-lines\",\"text\":\"a\"}\n{\"channel\":\"key-lines\",\"text\":\"b\"}";
    let chat = json!({"username": "key-user", "text": "x"});
    vec![
        ("/v1/messages", json, message.to_string(), 1),
        ("/v1/messages/batch", json, batch.to_string(), 2),
        ("/v1/messages/batch", "application/x-ndjson", lines.to_owned(), 2),
        ("/chat", json, chat.to_string(), 1),
        ("/dummy", json, json!({"any": "thing"}).to_string(), 1),
        ("/message/write/", form, "username=key&city=b&state=c&message=d".to_owned(), 1),
    ]
}

#[tokio::test]
async fn concurrent_requests_with_one_key_are_executed_once() {
    let world = Setup::new().scale(Service::IngestApi, 2).start().await;
    let mut messages = 0;
    for (n, (path, kind, body, count)) in write_routes().into_iter().enumerate() {
        let key = format!("concurrent {n}");
        let send = |caller| {
            ApiResponse::send(
                post(&world, caller, path, &key).header("content-type", kind).body(body.clone()),
            )
        };
        let responses = join_all((0..CALLERS).map(send)).await;
        let replayed = responses.iter().filter(|response| is_replayed(response)).count();
        assert_eq!(replayed, CALLERS - 1, "{path}");
        let first = &responses[0];
        assert!(matches!(first.status, 201 | 202), "{}", first.text());
        for response in &responses {
            assert_eq!((response.status, response.text()), (first.status, first.text()), "{path}");
            assert_eq!(response.header("location"), first.header("location"), "{path}");
        }
        messages += count;
        let later = ApiResponse::send(
            post(&world, 0, path, &key).header("content-type", kind).body(format!("{body} ")),
        );
        // An additional space is a different body.
        later.await.expect_problem(422, "idempotency_key_reused");
    }
    let mut redis = world.redis().await;
    let accepted: usize =
        redis.hget(world.key("ledger"), "messages.accepted").await.expect("Redis responds");
    assert_eq!(accepted, messages);
    eventually(DEFAULT_TIMEOUT, "each message is stored once", async || {
        let stored = usize::try_from(world.query_count("SELECT count(*) FROM messages").await);
        if stored == Ok(messages) { Ok(()) } else { Err(stored) }
    })
    .await;
}

#[tokio::test]
async fn key_is_scoped_to_client_and_route() {
    let world = shared_world().await;
    let first = post_text(&world, "belongs", "x").await.expect_status(202);
    let again = post_text(&world, "belongs", "x").await;
    assert!(is_replayed(&again) && again.json() == first);
    post_text(&world, "belongs", "y").await.expect_problem(422, "idempotency_key_reused");

    let other = post(&world, 0, "/v1/messages", "belongs").header("x-forwarded-for", "192.0.2.1");
    let other = ApiResponse::send(other.json(&json!({"text": "y"}))).await;
    assert!(!is_replayed(&other));
    assert_ne!(message_id(&other.expect_status(202)), message_id(&first));

    let chat = json!({"username": "a", "text": "x"});
    let route = ApiResponse::send(post(&world, 0, "/chat", "belongs").json(&chat)).await;
    assert!(!is_replayed(&route));
    let slash = ApiResponse::send(post(&world, 1, "/chat/", "belongs").json(&chat)).await;
    assert!(is_replayed(&slash), "an alias of the same route");
    assert_eq!(slash.expect_status(201), route.expect_status(201));
}

#[tokio::test]
async fn rejected_request_is_not_stored_under_its_key() {
    let world = Setup::new()
        .set("MAYFLY_LIMITS__MESSAGES", "3/minute")
        .set("MAYFLY_INBOX__MESSAGES_MAX", "1")
        .start()
        .await;
    let wrong = post(&world, 0, "/v1/messages", "k").json(&json!({"text": ""}));
    ApiResponse::send(wrong).await.expect_problem(400, "invalid_field");
    let first = post_text(&world, "k", "x").await;
    assert!(!is_replayed(&first));

    let chat =
        |key: &str| post(&world, 0, "/chat", key).json(&json!({"username": "u", "text": "x"}));
    ApiResponse::send(chat("a")).await.expect_status(201);
    ApiResponse::send(chat("b")).await.expect_problem(409, "inbox_full");
    assert_eq!(world.take("u").await.len(), 1);
    let now = ApiResponse::send(chat("b")).await;
    now.expect_status(201);
    assert!(!is_replayed(&now));

    ApiResponse::send(chat("c")).await.expect_problem(429, "rate_limited");
    // A replay does not count toward the rate limit, and succeeds even when the limit is exhausted.
    let again = ApiResponse::send(chat("b")).await;
    assert!(is_replayed(&again) && again.json() == now.json());
    post_text(&world, "k", "x").await.expect_status(202);
    post_text(&world, "k", "y").await.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn key_is_stored_for_24_hours_and_without_message_bodies() {
    let world = shared_world().await;
    let text = "x".repeat(4_000);
    let batch = vec![json!({"channel": "known", "text": text}); 100];
    ApiResponse::send(post(&world, 0, "/v1/messages/batch", "known").json(&batch))
        .await
        .expect_status(202);
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:batch:127.0.0.1:known");
    let ttl: i64 = redis.pttl(&key).await.expect("Redis responds");
    assert!((86_390_000..=86_400_000).contains(&ttl), "{ttl}");
    let bytes: usize = redis.strlen(&key).await.expect("Redis responds");
    assert!(bytes < 100 * 40, "{bytes}");
    assert_eq!(count_stored(&world, "known").await, 100);
}

#[tokio::test]
async fn unknown_record_format_fails_only_its_own_request() {
    let world = Setup::new().set("MAYFLY_HTTP__WORKERS", "1").start().await;
    post_text(&world, "old", "x").await.expect_status(202);
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:messages:127.0.0.1:old");
    let stored: Vec<u8> = redis.get(&key).await.expect("Redis responds");
    // The fingerprint of 32 bytes, followed by a record of another version.
    let foreign = [&stored[..32], b"{}".as_slice()].concat();
    let _: () = redis.set(&key, foreign).await.expect("Redis responds");
    let plain = || {
        ApiResponse::send(
            world.http.post(world.ingest_url("/v1/messages")).json(&json!({"text": "y"})),
        )
    };
    let (old, others) =
        tokio::join!(post_text(&world, "old", "x"), join_all((0..50).map(|_| plain())));
    old.expect_problem(500, "internal");
    for other in others {
        other.expect_status(202);
    }
}

#[tokio::test]
async fn invalid_key_is_rejected_by_header_name() {
    let world = World::shared().await;
    let long = "x".repeat(129);
    for wrong in ["", "a\tb", long.as_str()] {
        let response = post_text(&world, wrong, "x").await;
        assert_eq!(response.expect_problem(400, "invalid_field"), ["Idempotency-Key"], "{wrong:?}");
    }
    let twice = post(&world, 0, "/v1/messages", "a").header("idempotency-key", "a");
    let response = ApiResponse::send(twice.json(&json!({"text": "x"}))).await;
    assert_eq!(response.expect_problem(400, "invalid_field"), ["Idempotency-Key"]);
    post_text(&world, &"x".repeat(128), "x").await.expect_status(202);
}

#[tokio::test]
async fn retry_after_a_kill_between_write_and_response_replays_the_response() {
    let world = Setup::new().start().await;
    let proxy = RedisProxy::start(&world).await;
    let killed = ServiceProcess::start_behind_proxy(&world, Service::IngestApi, &proxy).await;
    let body = json!({"channel": "between", "text": "x", "username": "between"});
    let url = killed.url("/v1/messages");
    let send = |url: &str| world.http.post(url).header("idempotency-key", "between").json(&body);
    // Loads the script and opens the connection.
    let warm = world.http.post(&url).json(&json!({"channel": "warm", "text": "x"}));
    ApiResponse::send(warm).await.expect_status(202);

    let inbox = world.key("inbox:between");
    proxy.hold_script_replies(&inbox);
    let unanswered = tokio::spawn(send(&url).send());
    let mut redis = world.redis().await;
    let ids: Vec<String> = eventually(DEFAULT_TIMEOUT, "the message is written", async || {
        let ids: Vec<String> = redis.zrange(&inbox, 0, -1).await.expect("Redis responds");
        if ids.is_empty() { Err(()) } else { Ok(ids) }
    })
    .await;
    assert!(!unanswered.is_finished(), "the caller has no response");
    killed.kill().await;
    unanswered.await.expect("the task finishes").expect_err("the connection broke");

    let retry = ApiResponse::send(send(&world.ingest_url("/v1/messages"))).await;
    let message = retry.expect_status(202);
    assert!(is_replayed(&retry));
    assert_eq!([message_id(&message).to_owned()].as_slice(), ids);
    assert_eq!(
        retry.header("location"),
        world.list_url(&format!("/v1/messages/{}", message_id(&message)))
    );
    let found: Value = world.get(&format!("/v1/messages/{}", message_id(&message))).await.1;
    assert_eq!(found, message, "the replayed response is the stored message");
    assert_eq!(count_stored(&world, "between").await, 1);
}
