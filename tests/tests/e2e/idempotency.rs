//! `Idempotency-Key` on what writes: sent once or a hundred times, it is written once.

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{Answer, Gate, OwnProcess, PATIENCE, Setup, World, eventually, id_of};
use redis::AsyncCommands;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const CALLERS: usize = 64;

/// Two ingest-api behind a proxy that they trust.
async fn two_of_each() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup =
        Setup::new().with(Service::IngestApi, 2).set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");
    setup.share(&WORLD).await
}

/// A request to the n-th ingest-api under a key.
fn post(world: &World, n: usize, path: &str, key: &str) -> RequestBuilder {
    let urls = world.urls(Service::IngestApi);
    world.http.post(format!("{}{path}", urls[n % urls.len()])).header("idempotency-key", key)
}

async fn say(world: &World, key: &str, text: &str) -> Answer {
    Answer::of(post(world, 0, "/v1/messages", key).json(&json!({"text": text}))).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

/// How many messages a channel has in the walk, once all that was accepted is stored: batches are stored
/// side by side, so that what was posted last may be there before the rest.
async fn count_stored(world: &World, channel: &str) -> usize {
    world.settle(PATIENCE).await;
    let (_, page) = world.get(&format!("/v1/messages?channel={channel}&limit=1000")).await;
    page["items"].as_array().expect("there are items").len()
}

/// The bodies of a route, of which each makes so many messages on a channel of its own.
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
async fn of_64_at_once_through_two_processes_one_writes_and_all_get_its_answer() {
    let world = Setup::new().with(Service::IngestApi, 2).start().await;
    let mut messages = 0;
    for (n, (path, kind, body, makes)) in write_routes().into_iter().enumerate() {
        let key = format!("at once {n}");
        let send = |caller| {
            Answer::of(
                post(&world, caller, path, &key).header("content-type", kind).body(body.clone()),
            )
        };
        let answers = join_all((0..CALLERS).map(send)).await;
        let replayed = answers.iter().filter(|answer| is_replayed(answer)).count();
        assert_eq!(replayed, CALLERS - 1, "{path}");
        let first = &answers[0];
        assert!(matches!(first.status, 201 | 202), "{}", first.text());
        for answer in &answers {
            assert_eq!((answer.status, answer.text()), (first.status, first.text()), "{path}");
            assert_eq!(answer.header("location"), first.header("location"), "{path}");
        }
        messages += makes;
        let later = Answer::of(
            post(&world, 0, path, &key).header("content-type", kind).body(format!("{body} ")),
        );
        // A blank more is another body.
        later.await.expect_problem(422, "idempotency_key_reused");
    }
    let mut redis = world.redis().await;
    let accepted: usize =
        redis.hget(world.key("ledger"), "messages.accepted").await.expect("Redis answers");
    assert_eq!(accepted, messages);
    eventually(PATIENCE, "each is stored once", async || {
        let stored = usize::try_from(world.count("SELECT count(*) FROM messages").await);
        if stored == Ok(messages) { Ok(()) } else { Err(stored) }
    })
    .await;
}

#[tokio::test]
async fn a_key_belongs_to_one_client_and_one_route() {
    let world = two_of_each().await;
    let first = say(&world, "belongs", "x").await.expect(202);
    let again = say(&world, "belongs", "x").await;
    assert!(is_replayed(&again) && again.json() == first);
    say(&world, "belongs", "y").await.expect_problem(422, "idempotency_key_reused");

    let other = post(&world, 0, "/v1/messages", "belongs").header("x-forwarded-for", "192.0.2.1");
    let other = Answer::of(other.json(&json!({"text": "y"}))).await;
    assert!(!is_replayed(&other));
    assert_ne!(id_of(&other.expect(202)), id_of(&first));

    let chat = json!({"username": "a", "text": "x"});
    let route = Answer::of(post(&world, 0, "/chat", "belongs").json(&chat)).await;
    assert!(!is_replayed(&route));
    let slash = Answer::of(post(&world, 1, "/chat/", "belongs").json(&chat)).await;
    assert!(is_replayed(&slash), "the same route by another name");
    assert_eq!(slash.expect(201), route.expect(201));
}

#[tokio::test]
async fn what_is_refused_is_not_remembered() {
    let world = Setup::new()
        .set("MAYFLY_LIMITS__MESSAGES", "3/minute")
        .set("MAYFLY_INBOX__MESSAGES_MAX", "1")
        .start()
        .await;
    let wrong = post(&world, 0, "/v1/messages", "k").json(&json!({"text": ""}));
    Answer::of(wrong).await.expect_problem(400, "invalid_field");
    let first = say(&world, "k", "x").await;
    assert!(!is_replayed(&first));

    let chat =
        |key: &str| post(&world, 0, "/chat", key).json(&json!({"username": "u", "text": "x"}));
    Answer::of(chat("a")).await.expect(201);
    Answer::of(chat("b")).await.expect_problem(409, "inbox_full");
    assert_eq!(world.take("u").await.len(), 1);
    let now = Answer::of(chat("b")).await;
    now.expect(201);
    assert!(!is_replayed(&now));

    Answer::of(chat("c")).await.expect_problem(429, "rate_limited");
    // What is known already counts for no limit, also where that is used up.
    let again = Answer::of(chat("b")).await;
    assert!(is_replayed(&again) && again.json() == now.json());
    say(&world, "k", "x").await.expect(202);
    say(&world, "k", "y").await.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_key_is_known_for_24_hours_and_costs_ids_not_messages() {
    let world = two_of_each().await;
    let text = "x".repeat(4_000);
    let batch = vec![json!({"channel": "known", "text": text}); 100];
    Answer::of(post(&world, 0, "/v1/messages/batch", "known").json(&batch)).await.expect(202);
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:batch:127.0.0.1:known");
    let lasts: i64 = redis.pttl(&key).await.expect("Redis answers");
    assert!((86_390_000..=86_400_000).contains(&lasts), "{lasts}");
    let bytes: usize = redis.strlen(&key).await.expect("Redis answers");
    assert!(bytes < 100 * 40, "{bytes}");
    assert_eq!(count_stored(&world, "known").await, 100);
}

#[tokio::test]
async fn what_is_kept_in_a_form_that_nobody_knows_is_the_fault_of_no_other_request() {
    let world = Setup::new().set("MAYFLY_HTTP__WORKERS", "1").start().await;
    say(&world, "old", "x").await.expect(202);
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:messages:127.0.0.1:old");
    let kept: Vec<u8> = redis.get(&key).await.expect("Redis answers");
    // Behind the fingerprint of 32 bytes, something of another version.
    let foreign = [&kept[..32], b"{}".as_slice()].concat();
    let _: () = redis.set(&key, foreign).await.expect("Redis answers");
    let plain =
        || Answer::of(world.http.post(world.ingest("/v1/messages")).json(&json!({"text": "y"})));
    let (old, others) = tokio::join!(say(&world, "old", "x"), join_all((0..50).map(|_| plain())));
    old.expect_problem(500, "internal");
    for other in others {
        other.expect(202);
    }
}

#[tokio::test]
async fn a_key_that_breaks_its_rule_is_refused_by_name() {
    let world = World::shared().await;
    let long = "x".repeat(129);
    for wrong in ["", "a\tb", long.as_str()] {
        let answer = say(&world, wrong, "x").await;
        assert_eq!(answer.expect_problem(400, "invalid_field"), ["Idempotency-Key"], "{wrong:?}");
    }
    let twice = post(&world, 0, "/v1/messages", "a").header("idempotency-key", "a");
    let answer = Answer::of(twice.json(&json!({"text": "x"}))).await;
    assert_eq!(answer.expect_problem(400, "invalid_field"), ["Idempotency-Key"]);
    say(&world, &"x".repeat(128), "x").await.expect(202);
}

#[tokio::test]
async fn killed_between_write_and_answer_the_retry_elsewhere_gets_the_first_answer() {
    let world = Setup::new().start().await;
    let gate = Gate::open(&world).await;
    let killed = OwnProcess::start_behind(&world, Service::IngestApi, &gate).await;
    let body = json!({"channel": "between", "text": "x", "username": "between"});
    let url = killed.url("/v1/messages");
    let send = |url: &str| world.http.post(url).header("idempotency-key", "between").json(&body);
    // The script and the connection are there.
    let warm = world.http.post(&url).json(&json!({"channel": "warm", "text": "x"}));
    Answer::of(warm).await.expect(202);

    gate.hold_answers_to_scripts();
    let unanswered = tokio::spawn(send(&url).send());
    let mut redis = world.redis().await;
    let inbox = world.key("inbox:between");
    let ids: Vec<String> = eventually(PATIENCE, "it is written", async || {
        let ids: Vec<String> = redis.zrange(&inbox, 0, -1).await.expect("Redis answers");
        if ids.is_empty() { Err(()) } else { Ok(ids) }
    })
    .await;
    assert!(!unanswered.is_finished(), "its caller got no answer");
    killed.kill().await;
    unanswered.await.expect("it ends").expect_err("the connection broke");

    let retry = Answer::of(send(&world.ingest("/v1/messages"))).await;
    let message = retry.expect(202);
    assert!(is_replayed(&retry));
    assert_eq!([id_of(&message).to_owned()].as_slice(), ids);
    assert_eq!(retry.header("location"), world.list(&format!("/v1/messages/{}", id_of(&message))));
    let found: Value = world.get(&format!("/v1/messages/{}", id_of(&message))).await.1;
    assert_eq!(found, message, "what was written is what is answered");
    assert_eq!(count_stored(&world, "between").await, 1);
}
