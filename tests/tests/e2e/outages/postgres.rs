//! Postgres is away: what is hot goes on.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{Part, Service};
use mayfly_tests::{
    PATIENCE, Setup, World, beside_others, eventually, id_of, ids_of, short_or_full,
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Away, bring_back, get, post, take_away, wait_for_readyz};

/// Two seconds, as the contract says; beside other tests an answer of the built-in timeout may come later.
fn cold_read_max() -> Duration {
    Duration::from_secs(short_or_full(4, 2))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_stopped_all_that_is_hot_goes_on_and_afterwards_everything_is_stored() {
    go_through(Away::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_frozen_all_that_is_hot_goes_on_and_afterwards_everything_is_stored() {
    go_through(Away::Frozen).await;
}

async fn go_through(how: Away) {
    let world = Setup::new()
        .own_servers()
        .built_in_timeouts()
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .start()
        .await;
    let cold = world.post_message(&json!({"text": "cold", "ttl": 0})).await;
    world.settle(PATIENCE).await;
    let pids = world.service_pids();

    let away = take_away(&world, Part::Postgres, how).await;
    let until = Instant::now() + Duration::from_secs(short_or_full(1, 30));
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        assert_hot_goes_on(&world, rounds).await;
        assert_cold_is_unavailable(&world, id_of(&cold)).await;
        rounds += 1;
        sleep(Duration::from_millis(100)).await;
    }
    wait_for_readyz(&world, Service::IngestApi, 200, "ready").await;
    wait_for_readyz(&world, Service::ListApi, 200, "degraded").await;
    wait_for_readyz(&world, Service::PersistWorker, 503, "postgres").await;
    bring_back(&world, Part::Postgres, away).await;

    let back = Instant::now();
    let sum = world.settle(Duration::from_secs(15)).await;
    println!(
        "{how:?}, {rounds} rounds: stored {}, {:?} after it was back",
        sum.stored,
        back.elapsed()
    );
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 1 + 3 * rounds);
    let taken = "SELECT count(*) FROM messages WHERE username IS NOT NULL AND expires_at < now()";
    assert_eq!(world.count(taken).await, rounds, "what was taken shows it in Postgres too");
    wait_for_readyz(&world, Service::PersistWorker, 200, "ready").await;
    wait_for_readyz(&world, Service::ListApi, 200, "\"status\":\"ready\"").await;
    let (status, found) = world.get(&format!("/v1/messages/{}", id_of(&cold))).await;
    assert_eq!((status, found), (200, cold));
    assert_eq!(world.service_pids(), pids, "a service was restarted");
}

/// Posts, hot reads, inboxes and takes.
async fn assert_hot_goes_on(world: &World, round: i64) {
    let username = format!("fred-{round}");
    let (answer, took) =
        post(world, &json!({"text": "hot", "username": username, "ttl": 600})).await;
    let message = answer.expect(202);
    assert!(took < beside_others(Duration::from_secs(1)), "a post took {took:?}");
    let id = id_of(&message);
    let born_expired = post(world, &json!({"text": "never hot", "ttl": 0})).await.0.expect(202);
    let hot = post(world, &json!({"text": "hot", "ttl": 600})).await.0.expect(202);
    for live in [&message, &born_expired, &hot] {
        assert_eq!(&get(world, &format!("/v1/messages/{}", id_of(live))).await.0.expect(200), live);
    }
    let inbox = get(world, &format!("/v1/users/{username}/messages")).await.0.expect(200);
    assert_eq!(inbox["items"][0], message);
    let taken = world.take(&username).await;
    assert_eq!(ids_of(&taken), [id]);
    assert_eq!(get(world, &format!("/v1/messages/{id}")).await.0.expect(200), taken[0]);
    assert_ne!(taken[0]["expires_at"], message["expires_at"]);
}

/// More cold reads at once than there are connections, of what is there and of what is not.
async fn assert_cold_is_unavailable(world: &World, cold: &str) {
    let unknown = Uuid::now_v7();
    let paths =
        [format!("/v1/messages/{cold}"), format!("/v1/messages/{unknown}"), "/v1/messages".into()];
    let reads = paths.iter().cycle().take(24).map(|path| get(world, path));
    for (answer, took) in join_all(reads).await {
        answer.expect_problem(503, "unavailable");
        assert!(took < cold_read_max(), "a cold read took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_while_postgres_is_away_is_found_all_the_time() {
    let world = Setup::new().own_servers().built_in_timeouts().start().await;
    let away = take_away(&world, Part::Postgres, Away::Stopped).await;
    let message = world.post_message(&json!({"text": "short", "ttl": 1, "username": "fred"})).await;
    let path = format!("/v1/messages/{}", id_of(&message));
    eventually(PATIENCE, "its hot copy is gone", async || {
        assert_eq!(get(&world, &path).await.0.expect(200), message);
        let left = world.pttl(id_of(&message)).await;
        if left == -2 { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(get(&world, &path).await.0.expect(200), message);
    bring_back(&world, Part::Postgres, away).await;
    eventually(Duration::from_secs(15), "it is stored", async || {
        assert_eq!(get(&world, &path).await.0.expect(200), message);
        if world.is_waiting(id_of(&message)).await { Err("waiting") } else { Ok(()) }
    })
    .await;
    assert_eq!(get(&world, &path).await.0.expect(200), message);
}
