//! Slow reads of one kind in Postgres.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_tests::{DEFAULT_TIMEOUT, Setup, World, eventually, message_id};
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: usize = 30;
/// The number of sessions that one kind of read can use in a pool of 8: one dedicated session and
/// two shared ones.
const SESSIONS: i64 = 3;

/// Replaces the table with a view in which a message of the channel `slow` cannot be read in time.
const MAKE_SLOW: &str = "ALTER TABLE messages RENAME TO stored_messages; \
     CREATE VIEW messages AS SELECT * FROM stored_messages \
     WHERE channel <> 'slow' OR pg_sleep(60) IS NOT NULL";

async fn count_slow_reads(world: &World) -> i64 {
    let sleeping = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    world.query_count(sleeping).await
}

/// Lists the slow channel until stopped. Half of the clients disconnect before the response.
fn spawn_clients(world: &World, is_stopped: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (http, is_stopped) = (world.http.clone(), Arc::clone(is_stopped));
        let url = world.list_url("/v1/messages?channel=slow");
        clients.spawn(async move {
            while !is_stopped.load(Ordering::Relaxed) {
                let mut request = http.get(&url);
                if client % 2 == 1 {
                    request = request.timeout(Duration::from_millis(100));
                }
                if let Ok(response) = request.send().await {
                    assert_eq!(response.status(), 503);
                }
            }
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_of_one_kind_do_not_fail_others() {
    let world = Setup::new().set("MAYFLY_POSTGRES__TIMEOUT", "2s").start().await;
    let mut ids = Vec::new();
    for channel in ["slow", "other"] {
        let message = json!({"channel": channel, "text": "x", "ttl": 0});
        ids.push(message_id(&world.post_message(&message).await).to_owned());
    }
    eventually(DEFAULT_TIMEOUT, "the messages are only in Postgres", async || {
        for id in &ids {
            if world.is_waiting(id).await {
                return Err(id);
            }
        }
        Ok(())
    })
    .await;
    world.postgres().await.batch_execute(MAKE_SLOW).await.expect("valid SQL");

    let is_stopped = Arc::new(AtomicBool::new(false));
    let clients = spawn_clients(&world, &is_stopped);
    eventually(DEFAULT_TIMEOUT, "slow reads use their share", async || {
        let count = count_slow_reads(&world).await;
        if count == SESSIONS { Ok(()) } else { Err(count) }
    })
    .await;
    let by_id = format!("/v1/messages/{}", ids[1]);
    for _ in 0..20 {
        for path in [&by_id, "/v1/hosts/a.org/history?path=/"] {
            let (status, body) = world.get(path).await;
            assert_eq!(status, 200, "{path}: {body}");
        }
        let count = count_slow_reads(&world).await;
        assert!(count <= SESSIONS, "{count} slow reads");
    }
    is_stopped.store(true, Ordering::Relaxed);
    clients.join_all().await;
}
