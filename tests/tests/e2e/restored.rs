//! Redis emptied: what was live is live again.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{PATIENCE, Setup, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn hot_copies_and_inboxes_are_made_again_from_postgres_and_what_was_taken_stays_taken() {
    let world = Setup::new().own_servers().with(Service::PersistWorker, 2).start().await;
    let mut kept = Vec::new();
    for number in 0..200 {
        let message = json!({"username": "fred", "text": format!("{number}"), "ttl": 300});
        kept.push(world.post_message(&message).await);
    }
    let taken = world.http.post(world.list("/v1/users/fred/messages/take?limit=50"));
    let taken: Value =
        taken.send().await.expect("it is answered").json().await.expect("it is JSON");
    assert_eq!(taken["items"].as_array().map(Vec::len), Some(50));
    kept.drain(..50);
    eventually(PATIENCE, "all is stored and the take applied", async || {
        let live = "SELECT count(*) FROM messages WHERE expires_at > now()";
        let live = world.count(live).await;
        if live == 150 { Ok(()) } else { Err(live) }
    })
    .await;

    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis empties itself");
    let inbox = eventually(Duration::from_secs(60), "the inbox is whole again", async || {
        let (_, inbox) = world.get("/v1/users/fred/messages?limit=1000").await;
        let items = inbox["items"].as_array().cloned().unwrap_or_default();
        if items.len() >= kept.len() { Ok(items) } else { Err(items.len()) }
    })
    .await;
    assert_eq!(inbox, kept);

    let key = world.key(&format!("message:{}", kept[0]["id"].as_str().expect("it has an id")));
    let ttl: i64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await.expect("it is asked");
    assert!((1..=300_000).contains(&ttl), "{ttl}");
    assert_eq!(world.take("fred").await.len(), kept.len());
    assert_eq!(world.take("fred").await.len(), 0);
}
