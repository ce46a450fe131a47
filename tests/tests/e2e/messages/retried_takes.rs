//! A retried take returns the response that was lost.

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, RedisProxy, ServiceProcess, Setup, World, eventually, message_id,
};
use redis::AsyncCommands;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

fn take(world: &World, n: usize, username: &str, limit: usize, key: &str) -> RequestBuilder {
    let urls = world.urls(Service::ListApi);
    let url = format!("{}/v1/users/{username}/messages/take?limit={limit}", urls[n % urls.len()]);
    world.http.post(url).header("idempotency-key", key)
}

async fn fill(world: &World, username: &str, messages: usize) {
    let batch: Vec<Value> = (0..messages)
        .map(|n| json!({"username": username, "text": format!("{n}"), "data": {"n": 1.0}, "ttl": 600}))
        .collect();
    let sent = world.http.post(world.ingest_url("/v1/messages/batch")).json(&batch);
    ApiResponse::send(sent).await.expect_status(202);
}

fn items(response: &ApiResponse) -> Vec<Value> {
    response.expect_status(200)["items"].as_array().cloned().expect("the response has `items`")
}

fn is_replayed(response: &ApiResponse) -> bool {
    response.header("idempotent-replayed") == "true"
}

#[tokio::test]
async fn retried_take_returns_the_same_items_from_redis_and_postgres() {
    let world = Setup::new().dedicated_servers().scale(Service::ListApi, 2).start().await;
    for is_worker_running in [false, true] {
        let username = format!("again-{is_worker_running}");
        if is_worker_running {
            world.stack.start(Service::PersistWorker).await.expect("the worker starts");
        } else {
            world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
        }
        fill(&world, &username, 30).await;
        let first = ApiResponse::send(take(&world, 0, &username, 10, &username)).await;
        assert!(!is_replayed(&first));
        assert_eq!(items(&first).len(), 10);
        if is_worker_running {
            let mut redis = world.redis().await;
            eventually(DEFAULT_TIMEOUT, "Postgres has the take", async || {
                let taken: u64 = redis.hlen(world.key("taken")).await.expect("Redis responds");
                if taken == 0 { Ok(()) } else { Err(taken) }
            })
            .await;
        } else {
            world.stack.stop(mayfly_stack::ProcessKind::Postgres).await.expect("Postgres stops");
        }
        for n in 0..3 {
            let again = ApiResponse::send(take(&world, n, &username, 10, &username)).await;
            assert!(is_replayed(&again));
            assert_eq!(again.text(), first.text());
        }
        if !is_worker_running {
            world.stack.start(mayfly_stack::ProcessKind::Postgres).await.expect("Postgres starts");
        }
        let others = world.take(&username).await;
        assert_eq!(others.len(), 20);
        assert!(others.iter().all(|other| !items(&first).contains(other)));
        let again = ApiResponse::send(take(&world, 1, &username, 10, &username)).await;
        assert_eq!(again.text(), first.text());
    }
}

#[tokio::test]
async fn concurrent_takes_with_one_key_take_once() {
    let world = Setup::new().scale(Service::ListApi, 2).start().await;
    fill(&world, "crowd", 100).await;
    let responses =
        join_all((0..64).map(|n| ApiResponse::send(take(&world, n, "crowd", 60, "one")))).await;
    assert_eq!(responses.iter().filter(|response| !is_replayed(response)).count(), 1);
    for response in &responses {
        assert_eq!(response.expect_status(200), responses[0].json());
    }
    assert_eq!(items(&responses[0]).len(), 60);
    assert_eq!(responses[0].json()["has_more"], true);
    let rest = ApiResponse::send(take(&world, 0, "crowd", 60, "two")).await;
    assert_eq!((items(&rest).len(), &rest.json()["has_more"]), (40, &json!(false)));
    // An empty take is not stored, since losing it has no effect.
    let none = ApiResponse::send(take(&world, 0, "crowd", 60, "three")).await;
    assert!(items(&none).is_empty());
    fill(&world, "crowd", 1).await;
    let now = ApiResponse::send(take(&world, 1, "crowd", 60, "three")).await;
    assert_eq!((is_replayed(&now), items(&now).len()), (false, 1));
}

#[tokio::test]
async fn take_by_get_is_replayed() {
    let world = World::shared().await;
    fill(&world, "chats", 3).await;
    let get = |key: &str| {
        world.http.get(world.list_url("/chats/chats?limit=2")).header("idempotency-key", key)
    };
    let first = ApiResponse::send(get("chats")).await;
    let again = ApiResponse::send(get("chats")).await;
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(again.expect_status(200), first.json());
    assert_eq!(first.json().as_array().map(Vec::len), Some(2));
    assert_eq!(world.take("chats").await.len(), 1);
}

#[tokio::test]
async fn take_is_replayed_while_redis_is_full_and_an_empty_take_stores_nothing() {
    let world = Setup::new().dedicated_servers().start().await;
    fill(&world, "full", 5).await;
    let mut redis = world.redis().await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET")
        .arg("maxmemory")
        .arg("1mb")
        .exec_async(&mut redis)
        .await
        .expect("Redis responds");
    let rejected = world.post("/v1/messages", &json!({"text": "x"})).await;
    assert_eq!(rejected.status(), 503, "Redis is full");
    for n in 0..20 {
        let none = ApiResponse::send(take(&world, 0, "nobody", 10, &format!("none-{n}"))).await;
        assert!(items(&none).is_empty());
    }
    // Other keys are not counted, because a worker removes them concurrently.
    let stored: Vec<String> = redis.keys(world.key("idempotency:*")).await.expect("Redis responds");
    assert!(stored.is_empty(), "{stored:?}");
    let first = ApiResponse::send(take(&world, 0, "full", 10, "full")).await;
    let again = ApiResponse::send(take(&world, 0, "full", 10, "full")).await;
    assert!(is_replayed(&again));
    assert_eq!((items(&first).len(), again.text()), (5, first.text()));
}

#[tokio::test]
async fn key_is_scoped_to_inbox_and_limit_and_stored_for_ten_minutes() {
    let world = World::shared().await;
    fill(&world, "keyed", 3).await;
    let first = ApiResponse::send(take(&world, 0, "keyed", 2, "only")).await;
    assert_eq!(items(&first).len(), 2);
    let other_limit = ApiResponse::send(take(&world, 0, "keyed", 3, "only")).await;
    other_limit.expect_problem(422, "idempotency_key_reused");
    let other_inbox = ApiResponse::send(take(&world, 0, "someone", 2, "only")).await;
    other_inbox.expect_problem(422, "idempotency_key_reused");
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:take:127.0.0.1:only");
    let ttl: i64 = redis.pttl(&key).await.expect("Redis responds");
    assert!((590_000..=600_000).contains(&ttl), "{ttl}");
    let wrong = ApiResponse::send(take(&world, 0, "keyed", 2, "a\tb")).await;
    assert_eq!(wrong.expect_problem(400, "invalid_field"), ["Idempotency-Key"]);
    assert_eq!(world.take("keyed").await.len(), 1, "rejected takes took nothing");
}

#[tokio::test]
async fn retry_after_a_kill_between_take_and_response_returns_the_items() {
    let world = Setup::new().start().await;
    let proxy = RedisProxy::start(&world).await;
    let killed = ServiceProcess::start_behind_proxy(&world, Service::ListApi, &proxy).await;
    fill(&world, "warm", 1).await;
    fill(&world, "lost", 5).await;
    let warm = world.http.post(killed.url("/v1/users/warm/messages/take"));
    ApiResponse::send(warm).await.expect_status(200);
    let send = |url: String| world.http.post(url).header("idempotency-key", "lost");

    let path = "/v1/users/lost/messages/take";
    let inbox = world.key("inbox:lost");
    // The proxy waits for the script with this key, because a take begins with a script that only
    // reads the inbox.
    let outcome = world.key("idempotency:v1:take:127.0.0.1:lost");
    proxy.hold_script_replies(&outcome);
    let unanswered = tokio::spawn(send(killed.url(path)).send());
    let mut redis = world.redis().await;
    eventually(DEFAULT_TIMEOUT, "the inbox is taken", async || {
        let remaining: u64 = redis.zcard(&inbox).await.expect("Redis responds");
        if remaining == 0 { Ok(()) } else { Err(remaining) }
    })
    .await;
    assert!(!unanswered.is_finished(), "the caller has no response");
    killed.kill().await;
    unanswered.await.expect("the task finishes").expect_err("the connection broke");

    assert!(world.take("lost").await.is_empty(), "no other caller receives them");
    let retry = ApiResponse::send(send(world.list_url(path))).await;
    assert!(is_replayed(&retry));
    let taken = items(&retry);
    assert_eq!(taken.len(), 5);
    for item in &taken {
        let (status, found) = world.get(&format!("/v1/messages/{}", message_id(item))).await;
        assert_eq!((status, &found), (200, item), "expired by the take");
    }
}
