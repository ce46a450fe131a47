//! Hosts: the visitors of their pages, what rises, how it was before, and who may ask.

mod history;
mod keys;
mod outages;
mod pages;
mod rising;
mod upstream;

use mayfly_core::{KeyHash, Sighting, SystemClock, Timestamp, clock::Clock};
use mayfly_stack::Service;
use mayfly_tests::{Answer, Setup, World};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A Mayfly in which nobody samples, and nobody brings keys from Postgres: a test says what there is.
async fn quiet() -> World {
    static QUIET: OnceCell<World> = OnceCell::const_new();
    let world = quiet_setup().share(&QUIET).await;
    know_all_keys(&world).await;
    world
}

fn quiet_setup() -> Setup {
    Setup::new().with(Service::PersistWorker, 0)
}

/// Runs a command of Redis.
async fn redis(world: &World, command: &[&str]) {
    let mut redis = world.redis().await;
    let [name, arguments @ ..] = command else { panic!("a command has a name") };
    redis::cmd(name).arg(arguments).exec_async(&mut redis).await.expect("Redis does it");
}

/// Says that Redis has all keys.
async fn know_all_keys(world: &World) {
    redis(world, &["SET", &world.key("keys:version"), "1"]).await;
}

/// Puts an API key into Redis.
async fn put_key(world: &World, key: &str, hosts: &[&str], is_revoked: bool) {
    let id = uuid::Uuid::now_v7();
    let known = json!({"id": id, "hosts": hosts, "revoked": is_revoked}).to_string();
    redis(world, &["HSET", &world.key("keys"), KeyHash::of(key).as_str(), &known]).await;
}

/// Pages as a sighting has them: path, visitors, and what they were before.
type Pages<'a> = &'a [(&'a str, u64, Option<u64>)];

fn sighting(host: &str, at: Timestamp, pages: Pages) -> Sighting {
    let compared_to = pages.iter().any(|page| page.2.is_some());
    let pages: Vec<_> = pages
        .iter()
        .map(|(path, visitors, before)| {
            json!({"path": path, "title": format!("Title of {path}"), "visitors": visitors,
                   "before": before, "usual": null})
        })
        .collect();
    let compared_to = compared_to.then(|| at.before(std::time::Duration::from_secs(5)));
    let sighting = json!({"host": host, "sampled_at": at, "visitors": 7, "exact": true,
                          "compared_to": compared_to, "pages": pages});
    serde_json::from_str(&sighting.to_string()).expect("it is a sighting")
}

/// Puts the newest sighting of a host into Redis.
async fn put_sighting(world: &World, sighting: &Sighting) {
    let key = world.key(&format!("rising:host:{}", sighting.host));
    let json = serde_json::to_string(sighting).expect("it is JSON");
    redis(world, &["SET", &key, &json]).await;
}

/// Stores samples of a host: when, and its pages with their visitors.
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

async fn get(world: &World, path: &str) -> Answer {
    Answer::of(world.http.get(world.list(path))).await
}

async fn increases(world: &World, key: &str, host: &str) -> Answer {
    let url = world.list("/api/v1.0/increasingconcurrents");
    Answer::of(world.http.get(url).query(&[("apikey", key), ("host", host)])).await
}

/// Now, in whole seconds.
fn now() -> Timestamp {
    Timestamp::from_millis(SystemClock.now().as_millis() / 1_000 * 1_000)
}
