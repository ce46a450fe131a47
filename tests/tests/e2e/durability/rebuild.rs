//! Rebuilding hot copies and inboxes after Redis is flushed.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{DEFAULT_TIMEOUT, Setup, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn hot_copies_and_inboxes_are_rebuilt_from_postgres_without_taken_messages() {
    let world = Setup::new().dedicated_servers().scale(Service::PersistWorker, 2).start().await;
    let mut live = Vec::new();
    for number in 0..200 {
        let message = json!({"username": "fred", "text": format!("{number}"), "ttl": 300});
        live.push(world.post_message(&message).await);
    }
    let taken = world.http.post(world.list_url("/v1/users/fred/messages/take?limit=50"));
    let taken: Value =
        taken.send().await.expect("the service responds").json().await.expect("valid JSON");
    assert_eq!(taken["items"].as_array().map(Vec::len), Some(50));
    live.drain(..50);
    eventually(DEFAULT_TIMEOUT, "the messages and the take are stored", async || {
        let live = "SELECT count(*) FROM messages WHERE expires_at > now()";
        let live = world.query_count(live).await;
        if live == 150 { Ok(()) } else { Err(live) }
    })
    .await;

    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
    let inbox = eventually(Duration::from_secs(60), "the inbox is rebuilt", async || {
        let (_, inbox) = world.get("/v1/users/fred/messages?limit=1000").await;
        let items = inbox["items"].as_array().cloned().unwrap_or_default();
        if items.len() >= live.len() { Ok(items) } else { Err(items.len()) }
    })
    .await;
    assert_eq!(inbox, live);

    let key = world.key(&format!("message:{}", live[0]["id"].as_str().expect("`id` is set")));
    let ttl: i64 =
        redis::cmd("PTTL").arg(key).query_async(&mut redis).await.expect("Redis responds");
    assert!((1..=300_000).contains(&ttl), "{ttl}");
    assert_eq!(world.take("fred").await.len(), live.len());
    assert_eq!(world.take("fred").await.len(), 0);
}
