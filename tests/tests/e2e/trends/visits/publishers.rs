//! One of several publishers samples.

use futures_util::StreamExt;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{sampled_at, send, visit};

const HOST: &str = "published.test";

/// A subscription to the published trend snapshots.
struct Feed(redis::aio::PubSub);

impl Feed {
    async fn open(world: &World) -> Self {
        let client = redis::Client::open(world.stack.env().redis_url()).expect("a valid address");
        let mut feed = client.get_async_pubsub().await.expect("Redis responds");
        feed.subscribe(world.key("feed:rising")).await.expect("Redis responds");
        Self(feed)
    }

    /// Returns the next snapshots.
    async fn next(&mut self, count: usize) -> Vec<Value> {
        let messages = self.0.on_message().take(count);
        let trends = messages.map(|message| {
            serde_json::from_slice(message.get_payload_bytes()).expect("valid JSON")
        });
        timeout(DEFAULT_TIMEOUT, trends.collect()).await.expect("the snapshots are published")
    }
}

/// Returns the five-second interval in which each snapshot was sampled.
fn intervals(trends: &[Value]) -> Vec<i64> {
    trends.iter().map(|one| sampled_at(one).as_millis() / 5_000).collect()
}

async fn samples_by_process(world: &World) -> Vec<u64> {
    let mut all = Vec::new();
    for url in world.stack.env().admin_urls(Service::StatsPublisher) {
        let metrics = ApiResponse::send(world.http.get(format!("{url}/metrics"))).await.text();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("mayfly_rising_samples_total "));
        all.push(line.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_publishers_samples_every_five_seconds_and_is_replaced_when_killed() {
    let world = Setup::new().scale(Service::StatsPublisher, 2).with_s3().start().await;
    let mut feed = Feed::open(&world).await;
    send(&world, &[visit(HOST, "/", "a"), visit(HOST, "/", "b")]).await;
    let trends = feed.next(3).await;
    let at = intervals(&trends);
    assert!(at.windows(2).all(|two| two[1] == two[0] + 1), "{at:?}");
    assert!(trends.iter().all(|one| one["visitors"] == 2 && one["host"] == HOST), "{trends:?}");
    for two in trends.windows(2) {
        assert_eq!(two[1]["compared_to"], two[0]["sampled_at"]);
        assert_eq!(two[1]["pages"][0]["before"], json!(2));
    }
    let by_process = samples_by_process(&world).await;
    let leader = by_process.iter().position(|samples| *samples > 0).expect("one publisher samples");
    assert!(by_process.iter().enumerate().all(|(n, samples)| n == leader || *samples == 0));

    send_signal(world.stack.env().pids(Service::StatsPublisher)[leader], Signal::SIGKILL);
    let after = intervals(&feed.next(2).await);
    let all: Vec<_> = at.iter().chain(&after).copied().collect();
    assert!(
        all.windows(2).all(|two| two[1] == two[0] + 1),
        "missing or duplicate samples: {all:?}"
    );
    // All samples are stored, except one that the killed process published but did not store.
    let count = i64::try_from(all.len()).expect("fits in the integer type");
    eventually(DEFAULT_TIMEOUT, "the samples are stored", async || {
        let stored = world.query_count("SELECT count(*) FROM page_samples").await;
        if stored >= count - 1 { Ok(()) } else { Err(stored) }
    })
    .await;
}
