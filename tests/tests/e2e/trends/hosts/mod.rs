//! Hosts: visitors per page, rising pages, history and API keys.

mod history;
mod keys;
mod outages;
mod pages;
mod rising;
mod upstream;

use mayfly_core::{KeyHash, SystemClock, Timestamp, TrendSnapshot, clock::Clock};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, Setup, World};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Returns a stack without publishers and workers, so that tests provide trend snapshots and API
/// keys.
async fn shared_world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let world = setup().share(&WORLD).await;
    mark_keys_loaded(&world).await;
    world
}

fn setup() -> Setup {
    Setup::new().scale(Service::PersistWorker, 0)
}

/// Runs a Redis command.
async fn redis(world: &World, command: &[&str]) {
    let mut redis = world.redis().await;
    let [name, arguments @ ..] = command else { panic!("an empty command") };
    redis::cmd(name).arg(arguments).exec_async(&mut redis).await.expect("Redis responds");
}

/// Marks the API keys in Redis as complete. Does not change their version if it is known.
async fn mark_keys_loaded(world: &World) {
    redis(world, &["SET", &world.key("keys:version"), "1", "NX"]).await;
}

/// Writes an API key to Redis, in the format of the previous version.
async fn put_key(world: &World, key: &str, hosts: &[&str], is_revoked: bool) {
    let id = uuid::Uuid::now_v7();
    let record = json!({"id": id, "hosts": hosts, "revoked": is_revoked}).to_string();
    redis(world, &["HSET", &world.key("keys"), KeyHash::from_key(key).as_str(), &record]).await;
    // If the keys are loaded, their version changes, so that no process uses its cache.
    redis(world, &["SET", &world.key("keys:version"), &id.to_string(), "XX"]).await;
}

/// Pages of a trend snapshot: path, visitors, and previous visitors.
type Pages<'a> = &'a [(&'a str, u64, Option<u64>)];

fn trend_snapshot(host: &str, at: Timestamp, pages: Pages) -> TrendSnapshot {
    let compared_to = pages.iter().any(|page| page.2.is_some());
    let pages: Vec<_> = pages
        .iter()
        .map(|(path, visitors, before)| {
            json!({"path": path, "title": format!("Title of {path}"), "visitors": visitors,
                   "before": before, "usual": null})
        })
        .collect();
    let compared_to = compared_to.then(|| at.minus(std::time::Duration::from_secs(5)));
    let trend = json!({"host": host, "sampled_at": at, "visitors": 7, "exact": true,
                          "compared_to": compared_to, "pages": pages});
    serde_json::from_str(&trend.to_string()).expect("a valid trend snapshot")
}

/// Writes the current trend snapshot of a host to Redis.
async fn put_trend(world: &World, trend: &TrendSnapshot) {
    let key = world.key(&format!("rising:host:{}", trend.host));
    let json = serde_json::to_string(trend).expect("valid JSON");
    redis(world, &["SET", &key, &json]).await;
}

/// Stores samples of a host: time, and visitors by page.
async fn store_samples(world: &World, host: &str, samples: &[(Timestamp, Vec<(&str, u64)>)]) {
    let hosts = vec![host; samples.len()];
    let times: Vec<_> = samples.iter().map(|(at, _)| at.to_string()).collect();
    let pages: Vec<_> = samples
        .iter()
        .map(|(_, pages)| {
            let page = |(path, visitors): &(&str, u64)| {
                json!({"path": path, "title": null, "visitors": visitors})
            };
            pages.iter().map(page).collect::<Value>().to_string()
        })
        .collect();
    let sql = "SELECT store_samples_v1($1::text[], $2::text[]::timestamptz[], array_fill(7::bigint, ARRAY[cardinality($1::text[])]), \
         array_fill(true, ARRAY[cardinality($1::text[])]), $3::text[]::jsonb[], array_fill('[]'::jsonb, ARRAY[cardinality($1::text[])]))";
    let stored = world.postgres().await.execute(sql, &[&hosts, &times, &pages]).await;
    stored.expect("the samples are stored");
}

async fn get(world: &World, path: &str) -> ApiResponse {
    ApiResponse::send(world.http.get(world.list_url(path))).await
}

async fn increases(world: &World, key: &str, host: &str) -> ApiResponse {
    let url = world.list_url("/api/v1.0/increasingconcurrents");
    ApiResponse::send(world.http.get(url).query(&[("apikey", key), ("host", host)])).await
}

/// Returns the current time in whole seconds.
fn now() -> Timestamp {
    Timestamp::from_millis(SystemClock.now().as_millis() / 1_000 * 1_000)
}
