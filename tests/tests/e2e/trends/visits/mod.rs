//! Visits: validation, counting and sampling.

mod crowd;
mod isolation;
mod publishers;
mod rejections;
mod sampled;

use std::time::Duration;

use mayfly_core::Timestamp;
use mayfly_tests::{ApiResponse, World, eventually};
use redis::AsyncCommands;
use serde_json::{Value, json};

/// This timeout is longer than the sample interval.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(8);

fn visit(host: &str, path: &str, visitor: &str) -> Value {
    json!({"host": host, "path": path, "visitor": visitor})
}

async fn post(world: &World, visits: &Value) -> ApiResponse {
    ApiResponse::send(world.http.post(world.ingest_url("/v1/visits")).json(visits)).await
}

/// Sends visits in requests of the maximum size.
async fn send(world: &World, visits: &[Value]) {
    for chunk in visits.chunks(1_000) {
        let response = post(world, &json!(chunk)).await;
        assert_eq!(response.expect_status(202), json!({"accepted": chunk.len()}));
    }
}

/// Returns the current trend snapshot of a host, or null.
async fn find_trend(world: &World, host: &str) -> Value {
    let key = world.key(&format!("rising:host:{host}"));
    let json: Option<String> = world.redis().await.get(key).await.expect("Redis responds");
    json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("valid JSON"))
}

/// Waits for a trend snapshot that satisfies a condition.
async fn wait_for_trend(world: &World, host: &str, condition: impl Fn(&Value) -> bool) -> Value {
    eventually(SAMPLE_TIMEOUT, "the trend snapshot satisfies the condition", async || {
        let trend = find_trend(world, host).await;
        if condition(&trend) { Ok(trend) } else { Err(trend) }
    })
    .await
}

/// Returns the sample time of a trend snapshot.
fn sampled_at(trend: &Value) -> Timestamp {
    serde_json::from_str(&trend["sampled_at"].to_string()).expect("a valid time")
}

/// Returns path, title and visitors of each page.
fn pages_of(trend: &Value) -> Vec<(String, Option<String>, u64)> {
    let pages = trend["pages"].as_array().expect("`pages` is set");
    let page = |page: &Value| {
        let text = |name: &str| page[name].as_str().map(str::to_owned);
        let visitors = page["visitors"].as_u64().expect("`visitors` is set");
        (text("path").expect("`path` is set"), text("title"), visitors)
    };
    pages.iter().map(page).collect()
}

/// Returns the number of stored visits of a host.
async fn count_stored(world: &World, host: &str) -> u64 {
    let mut pipe = redis::pipe();
    (0..13).for_each(|class| {
        pipe.zcard(world.key(&format!("visits:{host}:p{class}")));
    });
    let counts: Vec<u64> =
        pipe.query_async(&mut world.redis().await).await.expect("Redis responds");
    counts.iter().sum()
}
