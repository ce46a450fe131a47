//! However many publishers there are, one samples.

use std::time::Duration;

use futures_util::StreamExt;
use mayfly_stack::Service;
use mayfly_tests::{Answer, Setup, World, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{sampled_at, send, visit};

const HOST: &str = "published.test";

/// Sightings as they are published.
struct Feed(redis::aio::PubSub);

impl Feed {
    async fn open(world: &World) -> Self {
        let client = redis::Client::open(world.stack.env().redis_url()).expect("it is an address");
        let mut feed = client.get_async_pubsub().await.expect("Redis answers");
        feed.subscribe(world.key("feed:rising")).await.expect("Redis answers");
        Self(feed)
    }

    /// All that are published within some time.
    async fn listen(&mut self, time: Duration) -> Vec<Value> {
        let (until, mut seen) = (Instant::now() + time, Vec::new());
        let mut messages = self.0.on_message();
        while let Ok(Some(message)) =
            timeout(until.duration_since(Instant::now()), messages.next()).await
        {
            seen.push(serde_json::from_slice(message.get_payload_bytes()).expect("it is JSON"));
        }
        seen
    }
}

/// In which interval of five seconds each was sampled.
fn intervals(sightings: &[Value]) -> Vec<i64> {
    sightings.iter().map(|one| sampled_at(one).as_millis() / 5_000).collect()
}

async fn samples_by_process(world: &World) -> Vec<u64> {
    let mut all = Vec::new();
    for url in world.stack.env().admin_urls(Service::StatsPublisher) {
        let metrics = Answer::of(world.http.get(format!("{url}/metrics"))).await.text();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("mayfly_rising_samples_total "));
        all.push(line.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_publishers_one_samples_every_five_seconds_and_when_it_is_killed_the_other_does() {
    let world = Setup::new().with(Service::StatsPublisher, 2).with_s3().start().await;
    let mut feed = Feed::open(&world).await;
    send(&world, &[visit(HOST, "/", "a"), visit(HOST, "/", "b")]).await;
    let seen = feed.listen(Duration::from_secs(16)).await;
    let at = intervals(&seen);
    assert!(at.len() >= 3 && at.windows(2).all(|two| two[1] == two[0] + 1), "{at:?}");
    assert!(seen.iter().all(|one| one["visitors"] == 2 && one["host"] == HOST), "{seen:?}");
    for two in seen.windows(2) {
        assert_eq!(two[1]["compared_to"], two[0]["sampled_at"]);
        assert_eq!(two[1]["pages"][0]["before"], json!(2));
    }
    let by_process = samples_by_process(&world).await;
    let leader = by_process.iter().position(|samples| *samples > 0).expect("one samples");
    assert!(by_process.iter().enumerate().all(|(n, samples)| n == leader || *samples == 0));

    send_signal(world.stack.env().pids(Service::StatsPublisher)[leader], Signal::SIGKILL);
    let seen = feed.listen(Duration::from_secs(12)).await;
    let after = intervals(&seen);
    assert!(after.len() >= 2, "{after:?}");
    let all: Vec<_> = at.iter().chain(&after).copied().collect();
    assert!(all.windows(2).all(|two| two[1] == two[0] + 1), "none missing, none twice: {all:?}");
    // All are stored; but for one that the killed process had published, and not stored yet.
    let stored = world.count("SELECT count(*) FROM page_samples").await;
    assert!(stored >= i64::try_from(all.len()).expect("few") - 1, "{stored} of {}", all.len());
}
