//! Many takes of one inbox at once: each message goes to exactly one caller.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    Answer, LASTING, PATIENCE, Setup, World, beside_others, eventually, id_of, short_or_full,
};
use serde_json::{Value, json};

const CALLERS: usize = 64;
const MESSAGES: usize = 100;

/// What all takes of one inbox together gave, id by id.
type Taken = HashMap<String, Value>;

/// Fills an inbox and has it taken by all at once, through both list-api.
async fn take_at_once(world: &World, username: &str) -> Taken {
    let message = json!({"username": username, "text": "x"});
    let batch = world.http.post(world.ingest("/v1/messages/batch")).json(&vec![message; MESSAGES]);
    let accepted = Answer::of(batch).await.expect(202);
    let apis = world.urls(Service::ListApi);
    assert_eq!(world.stack.env().urls(Service::ListApi).len(), 2);
    let calls = (0..CALLERS).map(|caller| {
        let (api, limit) = (&apis[caller % apis.len()], 1 + caller % 7);
        let path = format!("/v1/users/{username}/messages/take?limit={limit}");
        Answer::of(world.http.post(format!("{api}{path}")))
    });
    let mut taken = Taken::new();
    let mut keep = |answer: Value| {
        for item in answer["items"].as_array().expect("there are items") {
            let before = taken.insert(id_of(item).to_owned(), item.clone());
            assert_eq!(before, None, "taken twice");
        }
    };
    for answer in join_all(calls).await {
        keep(answer.expect(200));
    }
    let last = world.http.post(world.list(&format!("/v1/users/{username}/messages/take")));
    keep(Answer::of(last).await.expect(200));
    assert_eq!(taken.len(), MESSAGES, "each to somebody");
    for id in accepted["ids"].as_array().expect("ids") {
        assert!(taken.contains_key(id.as_str().expect("an id")), "{id} went to nobody");
    }
    taken
}

/// Each is found by id as its taker got it, and its end is past.
async fn see_by_id(world: &World, taken: &Taken) {
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let now = now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let ids: Vec<_> = taken.iter().collect();
    for some in ids.chunks(25) {
        let gets = some
            .iter()
            .map(|(id, _)| Answer::of(world.http.get(world.list(&format!("/v1/messages/{id}")))));
        for (answer, (_, item)) in join_all(gets).await.into_iter().zip(some) {
            assert_eq!(answer.expect(200), **item);
            assert!(item["expires_at"].as_str() <= Some(&now), "{item} at {now}");
        }
    }
}

async fn see_stored(world: &World, total: usize, within: Duration) {
    let query = "SELECT count(*) FROM messages WHERE expires_at <= now()";
    eventually(within, "all are stored with their end in the past", async || {
        let stored = world.count(query).await;
        if stored == i64::try_from(total).expect("few") { Ok(()) } else { Err(stored) }
    })
    .await;
    assert_eq!(world.count("SELECT count(*) FROM early_expiries").await, 0);
}

async fn take_round_after_round(workers_run: bool) {
    let setup = Setup::new().with(Service::ListApi, 2).with(Service::PersistWorker, 3);
    let world = setup.start().await;
    if !workers_run {
        world.stack.stop(Service::PersistWorker).await.expect("the workers stop");
    }
    let rounds = short_or_full(5, 200);
    let mut all = Vec::new();
    for round in 0..rounds {
        let taken = take_at_once(&world, &format!("user-{round}")).await;
        see_by_id(&world, &taken).await;
        all.push(taken);
    }
    if !workers_run {
        world.stack.start(Service::PersistWorker).await.expect("the workers start");
    }
    // A take shows within 3 s of an idle worker; many rounds are more to do first.
    let within =
        Duration::from_secs(3) + Duration::from_millis(50) * u32::try_from(rounds).expect("few");
    see_stored(&world, rounds * MESSAGES, beside_others(within)).await;
    for taken in &all {
        see_by_id(&world, taken).await;
    }
    eventually(PATIENCE, "nothing is left in Redis", async || {
        let keys = world.keys().await;
        if keys.iter().eq(LASTING) { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test]
async fn each_message_goes_to_exactly_one_of_64_takers_with_three_workers_running() {
    take_round_after_round(true).await;
}

#[tokio::test]
async fn each_message_goes_to_exactly_one_of_64_takers_with_the_workers_stopped_until_afterwards() {
    take_round_after_round(false).await;
}
