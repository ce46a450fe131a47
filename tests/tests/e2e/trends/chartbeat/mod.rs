//! Chartbeat as the visitor source: calls, keys, quotas and failures.

mod calls;
mod failures;
mod keys;
mod publishers;
mod quota;
mod refresh;

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, FakeChartbeat, Setup, SourceCall, World, eventually};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::sync::OnceCell;

/// The minimum interval between calls for one host, less a tolerance for different clocks.
const MIN_CALL_INTERVAL: Duration = Duration::from_millis(2_950);

/// Returns a setup with this source and this number of publishers. Hosts are sampled only on
/// request, because the periodic refresh at the beginning of each hour would add a sample to a
/// test.
fn setup(source: &str, publishers: usize) -> Setup {
    Setup::new()
        .with_s3()
        .scale(Service::StatsPublisher, publishers)
        .set("MAYFLY_RISING__SOURCE", "chartbeat")
        .set("MAYFLY_RISING__CHARTBEAT_URL", source)
        .set("MAYFLY_RISING__REFRESH", "80000h")
}

async fn start(setup: Setup) -> World {
    let world = setup.start().await;
    wait_for_keys(&world).await;
    world
}

/// Returns a source and a stack, shared by tests that use their own hosts.
async fn shared() -> (&'static FakeChartbeat, World) {
    static SOURCE: OnceCell<FakeChartbeat> = OnceCell::const_new();
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let source = SOURCE.get_or_init(async || FakeChartbeat::start()).await;
    let world = setup(&source.url(), 1).share(&WORLD).await;
    wait_for_keys(&world).await;
    (source, world)
}

/// Waits until the API keys are loaded into Redis.
async fn wait_for_keys(world: &World) {
    let mut redis = world.redis().await;
    eventually(Duration::from_secs(10), "the keys are loaded", async || {
        let is_loaded: bool =
            redis.exists(world.key("keys:version")).await.expect("Redis responds");
        if is_loaded { Ok(()) } else { Err("no keys") }
    })
    .await;
}

/// Requests the increasing pages of a host from the first `list-api`.
async fn get_increases(world: &World, key: &str, host: &str) -> ApiResponse {
    get_increases_at(world, &world.list_url(""), key, host).await
}

async fn get_increases_at(world: &World, list_api: &str, key: &str, host: &str) -> ApiResponse {
    let url = format!("{list_api}/api/v1.0/increasingconcurrents");
    ApiResponse::send(world.http.get(url).query(&[("apikey", key), ("host", host)])).await
}

/// Parses the paths and changes of a response.
fn parse_increases(response: &ApiResponse) -> Vec<(String, i64)> {
    let list = response.expect_status(200);
    let one = |page: &Value| {
        let path = page["path"].as_str().expect("`path` is set");
        assert_eq!(page["title"], format!("Title of {path}"));
        (path.to_owned(), page["change"].as_i64().expect("`change` is set"))
    };
    list.as_array().expect("an array").iter().map(one).collect()
}

/// Returns expected increases.
fn pages(increases: &[(&str, i64)]) -> Vec<(String, i64)> {
    increases.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect()
}

/// Returns the intervals between calls.
fn intervals(calls: &[SourceCall]) -> Vec<Duration> {
    calls.windows(2).map(|two| two[1].at.duration_since(two[0].at)).collect()
}
