//! Visits: taken or refused, counted, sampled by one publisher.

mod crowd;
mod publishers;
mod refused;
mod sampled;
mod thinned;

use std::time::Duration;

use mayfly_core::Timestamp;
use mayfly_tests::{Answer, World, eventually};
use redis::AsyncCommands;
use serde_json::{Value, json};

/// Longer than samples are apart.
const SAMPLED_WITHIN: Duration = Duration::from_secs(8);

fn visit(host: &str, path: &str, visitor: &str) -> Value {
    json!({"host": host, "path": path, "visitor": visitor})
}

async fn post(world: &World, visits: &Value) -> Answer {
    Answer::of(world.http.post(world.ingest("/v1/visits")).json(visits)).await
}

/// Sends visits, as many a request as may be.
async fn send(world: &World, visits: &[Value]) {
    for chunk in visits.chunks(1_000) {
        let answer = post(world, &json!(chunk)).await;
        assert_eq!(answer.expect(202), json!({"accepted": chunk.len()}));
    }
}

/// The newest sighting of a host; null if there is none.
async fn find_sighting(world: &World, host: &str) -> Value {
    let key = world.key(&format!("rising:host:{host}"));
    let json: Option<String> = world.redis().await.get(key).await.expect("Redis answers");
    json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("it is JSON"))
}

/// Waits for a sighting of a host of which something holds.
async fn until_seen(world: &World, host: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(SAMPLED_WITHIN, "it is seen", async || {
        let seen = find_sighting(world, host).await;
        if holds(&seen) { Ok(seen) } else { Err(seen) }
    })
    .await
}

/// When a sighting was sampled.
fn sampled_at(sighting: &Value) -> Timestamp {
    serde_json::from_str(&sighting["sampled_at"].to_string()).expect("it is an instant")
}

/// Path, title and visitors of each page.
fn pages_of(sighting: &Value) -> Vec<(String, Option<String>, u64)> {
    let pages = sighting["pages"].as_array().expect("there are pages");
    let page = |page: &Value| {
        let text = |name: &str| page[name].as_str().map(str::to_owned);
        let visitors = page["visitors"].as_u64().expect("it has a number");
        (text("path").expect("it has a path"), text("title"), visitors)
    };
    pages.iter().map(page).collect()
}

/// How many visits of a host are kept.
async fn count_kept(world: &World, host: &str) -> u64 {
    let mut pipe = redis::pipe();
    (0..13).for_each(|class| {
        pipe.zcard(world.key(&format!("visits:{host}:p{class}")));
    });
    let kept: Vec<u64> = pipe.query_async(&mut world.redis().await).await.expect("Redis answers");
    kept.iter().sum()
}
