//! Postgres is unavailable: writes and hot reads continue.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually, message_id, message_ids, short_or_full, with_slack,
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Outage, get, interrupt, post, restore, wait_for_readyz};

/// Returns the contractual limit of two seconds, or more in a short run, which shares the machine.
fn max_cold_read() -> Duration {
    Duration::from_secs(short_or_full(4, 2))
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_requests_work_while_postgres_is_stopped() {
    run(Outage::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_requests_work_while_postgres_is_frozen() {
    run(Outage::Frozen).await;
}

async fn run(outage: Outage) {
    let world = Setup::new()
        .dedicated_servers()
        .default_timeouts()
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .start()
        .await;
    let cold = world.post_message(&json!({"text": "cold", "ttl": 0})).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let pids = world.service_pids();

    let guard = interrupt(&world, ProcessKind::Postgres, outage).await;
    let until = Instant::now() + Duration::from_secs(short_or_full(1, 30));
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        assert_hot_requests_work(&world, rounds).await;
        assert_cold_is_unavailable(&world, message_id(&cold)).await;
        rounds += 1;
        sleep(Duration::from_millis(100)).await;
    }
    wait_for_readyz(&world, Service::IngestApi, 200, "ready").await;
    wait_for_readyz(&world, Service::ListApi, 200, "degraded").await;
    wait_for_readyz(&world, Service::PersistWorker, 503, "postgres").await;
    restore(&world, ProcessKind::Postgres, guard).await;

    let restored_at = Instant::now();
    let sums = world.wait_until_processed(Duration::from_secs(15)).await;
    println!(
        "{outage:?}, {rounds} rounds: stored {}, {:?} after the restore",
        sums.stored,
        restored_at.elapsed()
    );
    assert_eq!(world.query_count("SELECT count(*) FROM messages").await, 1 + 3 * rounds);
    let taken = "SELECT count(*) FROM messages WHERE username IS NOT NULL AND expires_at < now()";
    assert_eq!(world.query_count(taken).await, rounds, "takes are stored");
    wait_for_readyz(&world, Service::PersistWorker, 200, "ready").await;
    wait_for_readyz(&world, Service::ListApi, 200, "\"status\":\"ready\"").await;
    let (status, found) = world.get(&format!("/v1/messages/{}", message_id(&cold))).await;
    assert_eq!((status, found), (200, cold));
    assert_eq!(world.service_pids(), pids, "a service was restarted");
}

/// Checks posts, hot reads, inboxes and takes.
async fn assert_hot_requests_work(world: &World, round: i64) {
    let username = format!("fred-{round}");
    let (response, elapsed) =
        post(world, &json!({"text": "hot", "username": username, "ttl": 600})).await;
    let message = response.expect_status(202);
    assert!(elapsed < with_slack(Duration::from_secs(1)), "a post took {elapsed:?}");
    let id = message_id(&message);
    let born_expired =
        post(world, &json!({"text": "never hot", "ttl": 0})).await.0.expect_status(202);
    let hot = post(world, &json!({"text": "hot", "ttl": 600})).await.0.expect_status(202);
    for live in [&message, &born_expired, &hot] {
        assert_eq!(
            &get(world, &format!("/v1/messages/{}", message_id(live))).await.0.expect_status(200),
            live
        );
    }
    let inbox = get(world, &format!("/v1/users/{username}/messages")).await.0.expect_status(200);
    assert_eq!(inbox["items"][0], message);
    let taken = world.take(&username).await;
    assert_eq!(message_ids(&taken), [id]);
    assert_eq!(get(world, &format!("/v1/messages/{id}")).await.0.expect_status(200), taken[0]);
    assert_ne!(taken[0]["expires_at"], message["expires_at"]);
}

/// Sends more concurrent cold reads than there are connections, for known and unknown IDs.
async fn assert_cold_is_unavailable(world: &World, cold: &str) {
    let unknown = Uuid::now_v7();
    let paths =
        [format!("/v1/messages/{cold}"), format!("/v1/messages/{unknown}"), "/v1/messages".into()];
    let reads = paths.iter().cycle().take(24).map(|path| get(world, path));
    for (response, elapsed) in join_all(reads).await {
        // Reads that waited too long for a session of their kind were not sent to Postgres.
        let is_sent = response.json()["code"] != "overloaded";
        response.expect_problem(503, if is_sent { "unavailable" } else { "overloaded" });
        assert!(elapsed < max_cold_read(), "a cold read took {elapsed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_expires_while_postgres_is_unavailable_stays_readable() {
    let world = Setup::new().dedicated_servers().default_timeouts().start().await;
    let guard = interrupt(&world, ProcessKind::Postgres, Outage::Stopped).await;
    let message = world.post_message(&json!({"text": "short", "ttl": 1, "username": "fred"})).await;
    let path = format!("/v1/messages/{}", message_id(&message));
    eventually(DEFAULT_TIMEOUT, "the hot copy is expired", async || {
        assert_eq!(get(&world, &path).await.0.expect_status(200), message);
        let ttl = world.pttl(message_id(&message)).await;
        if ttl == -2 { Ok(()) } else { Err(ttl) }
    })
    .await;
    assert_eq!(get(&world, &path).await.0.expect_status(200), message);
    restore(&world, ProcessKind::Postgres, guard).await;
    eventually(Duration::from_secs(15), "the message is stored", async || {
        assert_eq!(get(&world, &path).await.0.expect_status(200), message);
        if world.is_waiting(message_id(&message)).await { Err("waiting") } else { Ok(()) }
    })
    .await;
    assert_eq!(get(&world, &path).await.0.expect_status(200), message);
}
