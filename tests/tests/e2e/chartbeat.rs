//! Visitors as another service knows them: how it is called, by whom, how often, and what is told of
//! its answers.

mod calls;
mod failures;
mod keys;
mod publishers;
mod quota;
mod refresh;

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Answer, FakeChartbeat, Setup, SourceCall, World, eventually};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::sync::OnceCell;

/// How far calls for one host are apart. What the clocks of two processes measure differs a little.
const SPACING: Duration = Duration::from_millis(2_950);

/// A Mayfly whose visitors are known by this source, which so many publishers may call.
fn setup(source: &str, publishers: usize) -> Setup {
    Setup::new()
        .with_s3()
        .with(Service::StatsPublisher, publishers)
        .set("MAYFLY_RISING__SOURCE", "chartbeat")
        .set("MAYFLY_RISING__CHARTBEAT_URL", source)
}

async fn start(setup: Setup) -> World {
    let world = setup.start().await;
    wait_for_keys(&world).await;
    world
}

/// One source and one Mayfly, for tests that have hosts of their own.
async fn shared() -> (&'static FakeChartbeat, World) {
    static SOURCE: OnceCell<FakeChartbeat> = OnceCell::const_new();
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let source = SOURCE.get_or_init(async || FakeChartbeat::start()).await;
    let world = setup(&source.url(), 1).share(&WORLD).await;
    wait_for_keys(&world).await;
    (source, world)
}

/// Waits until the API keys are known in Redis: before, nobody can say which are revoked.
async fn wait_for_keys(world: &World) {
    let mut redis = world.redis().await;
    eventually(Duration::from_secs(10), "the keys are known", async || {
        let is_known: bool = redis.exists(world.key("keys:version")).await.expect("Redis answers");
        if is_known { Ok(()) } else { Err("no keys") }
    })
    .await;
}

/// What the first list-api answers who asks for a host with a key.
async fn ask(world: &World, key: &str, host: &str) -> Answer {
    ask_at(world, &world.list(""), key, host).await
}

async fn ask_at(world: &World, list_api: &str, key: &str, host: &str) -> Answer {
    let url = format!("{list_api}/api/v1.0/increasingconcurrents");
    Answer::of(world.http.get(url).query(&[("apikey", key), ("host", host)])).await
}

/// The paths of pages with their changes, as they were answered.
fn increases(answer: &Answer) -> Vec<(String, i64)> {
    let list = answer.expect(200);
    let one = |page: &Value| {
        let path = page["path"].as_str().expect("it has a path");
        assert_eq!(page["title"], format!("Title of {path}"));
        (path.to_owned(), page["change"].as_i64().expect("it has a change"))
    };
    list.as_array().expect("it is a list").iter().map(one).collect()
}

/// Increases as a test expects them.
fn pages(increases: &[(&str, i64)]) -> Vec<(String, i64)> {
    increases.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect()
}

/// How far these calls are apart.
fn distances(calls: &[SourceCall]) -> Vec<Duration> {
    calls.windows(2).map(|two| two[1].at.duration_since(two[0].at)).collect()
}
