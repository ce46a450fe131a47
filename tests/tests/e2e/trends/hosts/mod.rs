//! Hosts: visitors per page, rising pages, history and API keys.

mod history;
mod keys;
mod outages;
mod pages;
mod rising;
mod upstream;

use mayfly_auth::Key;
use mayfly_core::{KeyHash, SystemClock, Timestamp, TrendSnapshot, clock::Clock};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, Setup, World, create_page_key, load_credentials};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Returns a stack without publishers and workers, so that tests provide trend snapshots and API
/// keys.
async fn shared_world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    static LOADED: OnceCell<()> = OnceCell::const_new();
    let world = setup().share(&WORLD).await;
    LOADED.get_or_init(|| load_keys(&world, &[])).await;
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

/// Loads all API keys into Redis.
async fn load_keys(world: &World, keys: &[(KeyHash, Key)]) {
    load_credentials(&world.hot_store(&world.prefix), keys, &[]).await;
}

/// Writes an API key to Redis.
async fn put_key(world: &World, key: &str, hosts: &[&str], is_revoked: bool) {
    let (hash, key) = create_page_key(key, hosts, is_revoked);
    let written = world.hot_store(&world.prefix).api_keys().put(&[(hash, Some(key))], &[]).await;
    written.expect("Redis responds");
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
