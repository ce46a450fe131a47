//! Concurrent takes of one inbox: each message is returned to exactly one caller.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, PERSISTENT_KEYS, Setup, World, eventually, message_id,
    short_or_full, with_slack,
};
use serde_json::{Value, json};

const CALLERS: usize = 64;
const MESSAGES: usize = 100;

/// The items of all takes of one inbox, by ID.
type Taken = HashMap<String, Value>;

/// Fills an inbox and takes it concurrently through both `list-api` instances.
async fn take_concurrently(world: &World, username: &str) -> Taken {
    let message = json!({"username": username, "text": "x"});
    let batch =
        world.http.post(world.ingest_url("/v1/messages/batch")).json(&vec![message; MESSAGES]);
    let accepted = ApiResponse::send(batch).await.expect_status(202);
    let apis = world.urls(Service::ListApi);
    assert_eq!(world.stack.env().urls(Service::ListApi).len(), 2);
    let calls = (0..CALLERS).map(|caller| {
        let (api, limit) = (&apis[caller % apis.len()], 1 + caller % 7);
        let path = format!("/v1/users/{username}/messages/take?limit={limit}");
        ApiResponse::send(world.http.post(format!("{api}{path}")))
    });
    let mut taken = Taken::new();
    let mut collect = |response: Value| {
        for item in response["items"].as_array().expect("the response has `items`") {
            let previous = taken.insert(message_id(item).to_owned(), item.clone());
            assert_eq!(previous, None, "taken twice");
        }
    };
    for response in join_all(calls).await {
        collect(response.expect_status(200));
    }
    let last = world.http.post(world.list_url(&format!("/v1/users/{username}/messages/take")));
    collect(ApiResponse::send(last).await.expect_status(200));
    assert_eq!(taken.len(), MESSAGES, "every message is taken");
    for id in accepted["ids"].as_array().expect("ids") {
        assert!(taken.contains_key(id.as_str().expect("an id")), "{id} was not taken");
    }
    taken
}

/// Checks that a read of each message by its ID returns the taken message, which has expired.
async fn check_by_id(world: &World, taken: &Taken) {
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let now = now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let ids: Vec<_> = taken.iter().collect();
    for chunk in ids.chunks(25) {
        let gets = chunk.iter().map(|(id, _)| {
            ApiResponse::send(world.http.get(world.list_url(&format!("/v1/messages/{id}"))))
        });
        for (response, (_, item)) in join_all(gets).await.into_iter().zip(chunk) {
            assert_eq!(response.expect_status(200), **item);
            assert!(item["expires_at"].as_str() <= Some(&now), "{item} at {now}");
        }
    }
}

async fn wait_until_stored(world: &World, total: usize, within: Duration) {
    let query = "SELECT count(*) FROM messages WHERE expires_at <= now()";
    eventually(within, "all messages are stored as expired", async || {
        let stored = world.query_count(query).await;
        if stored == i64::try_from(total).expect("fits in the integer type") {
            Ok(())
        } else {
            Err(stored)
        }
    })
    .await;
    assert_eq!(world.query_count("SELECT count(*) FROM early_expiries").await, 0);
}

async fn take_in_rounds(are_workers_running: bool) {
    let setup = Setup::new().scale(Service::ListApi, 2).scale(Service::PersistWorker, 3);
    let world = setup.start().await;
    if !are_workers_running {
        world.stack.stop(Service::PersistWorker).await.expect("the workers stop");
    }
    let rounds = short_or_full(5, 200);
    let mut all = Vec::new();
    for round in 0..rounds {
        let taken = take_concurrently(&world, &format!("user-{round}")).await;
        check_by_id(&world, &taken).await;
        all.push(taken);
    }
    if !are_workers_running {
        world.stack.start(Service::PersistWorker).await.expect("the workers start");
    }
    // An idle worker stores a take within 3 s; many rounds need more time.
    let within = Duration::from_secs(3)
        + Duration::from_millis(50) * u32::try_from(rounds).expect("fits in the integer type");
    wait_until_stored(&world, rounds * MESSAGES, with_slack(within)).await;
    for taken in &all {
        check_by_id(&world, taken).await;
    }
    eventually(DEFAULT_TIMEOUT, "Redis has only the persistent keys", async || {
        let keys = world.keys().await;
        if keys.iter().eq(PERSISTENT_KEYS) { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test]
async fn each_message_is_taken_once_with_three_workers_running() {
    take_in_rounds(true).await;
}

#[tokio::test]
async fn each_message_is_taken_once_with_workers_stopped() {
    take_in_rounds(false).await;
}
