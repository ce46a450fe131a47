//! The feed `stats`: the last snapshot immediately, then every new one.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually,
    live::{Events, LiveSocket, ReceivedFrame, UpgradeRequest},
    short_or_full,
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::live::{feed_url, frame_position, post_text, read_metrics, start_instance};

/// Returns the time until a lost publication is recovered: the key is polled every 5 seconds.
fn recovery_timeout() -> Duration {
    Duration::from_secs(short_or_full(20, 8))
}

/// Returns the setup of a stack in which only the test publishes snapshots.
fn setup() -> Setup {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    setup.scale(Service::PersistWorker, 0).set("MAYFLY_HTTP__WORKERS", "2")
}

/// Returns a snapshot whose time increases with `number`.
fn make_snapshot(number: u64) -> Value {
    json!({
        "result": "success",
        "generated_at": format!("2026-11-20T19:{:02}:{:02}.000Z", number / 60, number % 60),
        "cities": number,
        "users": 2,
        "messages": {"total": 1_234_567, "last_hour": 60, "last_minute": 1},
        "top_cities": [{"city": "New\nYork \u{2028}\"</script>", "state": null, "messages": 3}],
    })
}

fn make_frame(number: u64) -> Value {
    json!({"type": "stats", "url": "/v1/stats", "snapshot": make_snapshot(number)})
}

/// The publisher of these tests.
struct Source {
    redis: MultiplexedConnection,
    key: String,
    channel: String,
}

impl Source {
    async fn connect(world: &World) -> Self {
        let (key, channel) = (world.key("stats"), world.key("feed:stats"));
        Self { redis: world.redis().await, key, channel }
    }

    async fn store(&mut self, text: &str) {
        let stored = self.redis.set::<_, _, ()>(&self.key, text).await;
        stored.expect("Redis is available");
    }

    /// Publishes a text and returns the number of receivers.
    async fn publish_text(&mut self, text: &str) -> usize {
        self.redis.publish(&self.channel, text).await.expect("Redis is available")
    }

    /// Stores a snapshot, publishes it and returns the number of receivers.
    async fn publish(&mut self, number: u64) -> usize {
        let text = make_snapshot(number).to_string();
        self.store(&text).await;
        self.publish_text(&text).await
    }

    /// Counts the connections of this stack to Redis, filtered by type.
    async fn count_clients(&mut self, world: &World, kind: &[&str]) -> usize {
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg(kind);
        let all: String = list.query_async(&mut self.redis).await.expect("Redis is available");
        all.lines().filter(|line| line.contains(&format!(" user={} ", world.prefix))).count()
    }
}

async fn open_events(world: &World, query: &str) -> Events {
    let url = world.url(Service::WsFanout, &format!("/v1/events?{query}"));
    let mut events = Events::open(world.http.get(url)).await.expect("the event stream opens");
    assert_eq!(events.next().await.json()["type"], "hello");
    events
}

/// Waits until a new ws-fanout has sent this snapshot.
async fn wait_for_snapshot(world: &World, number: u64) {
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    assert_eq!(live.next_frame().await, make_frame(number));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_client_receives_the_last_snapshot_and_each_new_one_once() {
    let world = setup().start().await;
    let mut source = Source::connect(&world).await;
    let (mut early, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    assert_eq!(source.publish(1).await, 1, "one subscription");
    assert_eq!(early.next_frame().await, make_frame(1));

    let mut events = open_events(&world, "feed=stats").await;
    let (mut both, _) =
        LiveSocket::connect_with_hello(&world.live_url("feed=messages,stats&channel=stats-both"))
            .await;
    let (mut none, _) = LiveSocket::connect_with_hello(&world.live_url("channel=stats-none")).await;
    let started_at = Instant::now();
    let event = events.next().await;
    assert_eq!((event.id.as_str(), event.json()), ("", make_frame(1)), "state has no position");
    assert_eq!(both.next_frame().await, make_frame(1));
    assert!(started_at.elapsed() < Duration::from_secs(2), "immediately");

    // Repeated and outdated snapshots are ignored.
    source.publish_text(&make_snapshot(1).to_string()).await;
    source.publish(2).await;
    source.publish_text(&make_snapshot(1).to_string()).await;
    for bad in ["", "{", "[]", "7", r#"{"generated_at":7}"#] {
        source.publish_text(bad).await;
    }
    source.publish(3).await;
    for number in [2, 3] {
        assert_eq!(early.next_frame().await, make_frame(number));
        assert_eq!(both.next_frame().await, make_frame(number));
        assert_eq!(events.next().await.json(), make_frame(number));
    }
    post_text(&world, "stats-both", "heard").await;
    post_text(&world, "stats-none", "heard").await;
    assert_eq!(both.texts_until("heard").await, ["heard"]);
    assert_eq!(none.texts_until("heard").await, ["heard"]);
    source.publish(4).await;
    assert_eq!(early.next_frame().await, make_frame(4), "no message between");
}

#[tokio::test]
async fn multi_line_snapshot_is_one_event() {
    let world = setup().start().await;
    let mut source = Source::connect(&world).await;
    let text = serde_json::to_string_pretty(&make_snapshot(1)).expect("the frame is JSON");
    source.publish_text(&text.replace('\n', "\r\n")).await;
    let mut events = open_events(&world, "feed=stats").await;
    assert_eq!(events.next().await.json(), make_frame(1));
}

#[tokio::test]
async fn subscribe_to_stats_is_followed_by_the_last_snapshot() {
    let world = setup().start().await;
    let mut source = Source::connect(&world).await;
    source.publish(1).await;
    wait_for_snapshot(&world, 1).await;
    let (mut live, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=stats-added")).await;
    let set = |kind: &str, feeds: &[&str]| json!({"type": kind, "channels": ["stats-added"], "feeds": feeds, "videos": [], "hosts": []});
    let add = json!({"type": "subscribe", "feeds": ["stats"]});
    assert_eq!(live.exchange(&add).await, set("subscribed", &["messages", "stats"]));
    assert_eq!(live.next_frame().await, make_frame(1));
    // The client has already received the snapshot.
    assert_eq!(live.exchange(&add).await, set("subscribed", &["messages", "stats"]));
    let less = json!({"type": "unsubscribe", "feeds": ["stats", "messages"]});
    assert_eq!(live.exchange(&less).await, set("unsubscribed", &[]));
    let (mut other, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    assert_eq!(other.next_frame().await, make_frame(1));
    source.publish(2).await;
    assert_eq!(other.next_frame().await, make_frame(2));
    assert_eq!(live.exchange(&json!({"type": "ping"})).await, json!({"type": "pong"}));
    assert_eq!(live.exchange(&add).await, set("subscribed", &["stats"]));
    read_until(&mut live, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_of_only_stats_receives_positions_and_resumes() {
    let world = setup().set("MAYFLY_QUEUE__RESUME_WINDOW", "3s").start().await;
    let mut source = Source::connect(&world).await;
    source.publish(1).await;
    let (mut live, hello) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    assert_eq!(live.next_frame().await, make_frame(1));
    post_text(&world, "stats-only", "unheard").await;
    let received = eventually(DEFAULT_TIMEOUT, "a position frame arrives", async || {
        let received = live.next_frame().await;
        assert_eq!(received["type"], "position", "{received}");
        if frame_position(&received) == frame_position(&hello) {
            Err(received)
        } else {
            Ok(received)
        }
    })
    .await;
    let since = format!("since={}", frame_position(&received));
    let (mut again, resumed) =
        LiveSocket::connect_with_hello(&world.live_url(&format!("feed=stats&{since}"))).await;
    assert_eq!(
        (&resumed["resumed"], frame_position(&resumed)),
        (&json!(true), frame_position(&received))
    );
    assert_eq!(again.next_frame().await, make_frame(1));
    post_text(&world, "stats-only", "heard").await;
    let (mut more, resumed) =
        LiveSocket::connect_with_hello(&world.live_url(&format!("feed=stats,messages&{since}")))
            .await;
    assert_eq!(resumed["resumed"], true);
    assert_eq!(more.next_frame().await, make_frame(1), "before the replayed messages");
    assert_eq!(more.texts_until("heard").await, ["heard"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_publication_is_read_from_its_key() {
    let world = setup().redis_acl("&* -publish").start().await;
    let mut source = Source::connect(&world).await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    for number in [1, 2] {
        source.store(&make_snapshot(number).to_string()).await;
        let started_at = Instant::now();
        assert_eq!(live.next_frame_within(recovery_timeout()).await, make_frame(number));
        println!("an unpublished snapshot was found after {:?}", started_at.elapsed());
    }
    // Invalid values of the key are ignored.
    for bad in ["[1]", "{\"a\":", ""] {
        source.store(bad).await;
        let (mut other, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
        assert_eq!(other.next_frame().await, make_frame(2), "the last valid snapshot");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_continues_after_redis_restarted_or_was_flushed() {
    let world = setup().dedicated_servers().start().await;
    let mut source = Source::connect(&world).await;
    source.publish(1).await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    assert_eq!(live.next_frame().await, make_frame(1));

    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    let mut source = Source::connect(&world).await;
    // This snapshot is not published. ws-fanout finds it after the resubscription or at the next
    // poll.
    source.store(&make_snapshot(2).to_string()).await;
    assert_eq!(next_stats(&mut live).await, make_frame(2), "the previous snapshot is not repeated");

    redis::cmd("FLUSHALL").exec_async(&mut source.redis).await.expect("Redis is flushed");
    let (mut late, _) = LiveSocket::connect_with_hello(&world.live_url("feed=stats")).await;
    // The process still has the last snapshot.
    read_until(&mut late, 2).await;
    source.publish(1).await;
    source.publish(3).await;
    for live in [&mut live, &mut late] {
        assert_eq!(next_stats(live).await, make_frame(3), "no earlier ones");
    }
}

/// Reads up to this snapshot: worker threads receive it at slightly different times.
async fn read_until(live: &mut LiveSocket, number: u64) {
    loop {
        let received = next_stats(live).await;
        if received == make_frame(number) {
            return;
        }
        assert!(received["snapshot"]["cities"].as_u64() < Some(number), "{received}");
    }
}

/// Returns the next frame other than `position` and `hello`.
async fn next_stats(live: &mut LiveSocket) -> Value {
    let found = timeout(recovery_timeout(), async {
        loop {
            let frame = live.next_frame().await;
            if frame["type"] == "stats" {
                return frame;
            }
            assert!(frame["type"] == "position" || frame["resumed"] == false, "{frame}");
        }
    });
    found.await.expect("a `stats` frame arrives in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_receive_each_snapshot_once_over_one_subscription() {
    let world = setup().redis_acl("&*").start().await;
    let mut source = Source::connect(&world).await;
    source.publish(1).await;
    wait_for_snapshot(&world, 1).await;
    let connections_before = source.count_clients(&world, &[]).await;
    let queries = ["feed=stats", "feed=stats,messages&channel=stats-many", "feed=stats,messages"];
    let opened = stream::iter(0..200).map(async |number: usize| {
        let (mut live, _) =
            LiveSocket::connect_with_hello(&world.live_url(queries[number % 3])).await;
        assert_eq!(live.next_frame().await, make_frame(1));
        live
    });
    let mut lives: Vec<LiveSocket> = opened.buffer_unordered(20).collect().await;
    let before = world.fanout_metrics().await.sum("deliveries_total");
    for number in 2..12 {
        assert_eq!(source.publish(number).await, 1, "one subscription");
    }
    let reading = lives.iter_mut().map(async |live| {
        for number in 2..12 {
            assert_eq!(live.next_frame().await, make_frame(number));
        }
    });
    join_all(reading).await;
    assert_eq!(world.fanout_metrics().await.sum("deliveries_total") - before, 2_000);
    assert_eq!(source.count_clients(&world, &["TYPE", "pubsub"]).await, 1);
    assert_eq!(source.count_clients(&world, &[]).await, connections_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_consumer_receives_the_newest_snapshot_without_a_gap() {
    let world = setup().start().await;
    let mut source = Source::connect(&world).await;
    // Large enough that the kernel's buffers leave the queue more than half full.
    let settings =
        [("MAYFLY_FANOUT__SLOW_CONSUMER", "drop"), ("MAYFLY_FANOUT__QUEUE_BYTES_MAX", "24MiB")];
    let fanout = start_instance(&world, &settings).await;
    source.publish(1).await;
    let url = feed_url(&fanout, "feed=messages,stats&channel=stats-slow");
    let mut slow =
        UpgradeRequest::new(&url).receive_buffer(64 * 1024).send().await.expect("the socket opens");
    let (mut fast, _) = LiveSocket::connect_with_hello(&feed_url(&fanout, "feed=stats")).await;
    assert_eq!(slow.next_frame().await["type"], "hello");
    assert_eq!(next_stats(&mut slow).await, make_frame(1));
    assert_eq!(next_stats(&mut fast).await, make_frame(1));
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "stats-slow", "text": "x", "data": data}); 60];
    let batches = 10;
    for _ in 0..batches {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    eventually(DEFAULT_TIMEOUT, "the queue is full", async || {
        match read_metrics(&world, &fanout).await.sum("frames_dropped_total") {
            0 => Err("nothing is dropped"),
            _ => Ok(()),
        }
    })
    .await;
    for number in 2..6 {
        source.publish(number).await;
        assert_eq!(next_stats(&mut fast).await, make_frame(number));
    }
    let (mut messages, mut dropped, mut snapshots) = (0, 0, Vec::new());
    while messages + dropped < batches * 60 || snapshots.last() != Some(&5) {
        let text = timeout(DEFAULT_TIMEOUT, slow.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{messages}, {dropped}, {snapshots:?}"));
        let text = text.expect("the socket stays open");
        let received = ReceivedFrame::parse(&text);
        match received.kind.as_str() {
            "message" => messages += 1,
            "gap" => dropped += received.dropped.expect("the gap has a count"),
            "stats" => {
                let frame: Value = serde_json::from_slice(&text).expect("the frame is JSON");
                snapshots
                    .push(frame["snapshot"]["cities"].as_u64().expect("the value is a number"));
            }
            other => panic!("a frame of type {other}"),
        }
    }
    println!("{messages} messages, {dropped} dropped, snapshots {snapshots:?}");
    assert_eq!(messages + dropped, batches * 60, "gaps count only messages");
    assert!(dropped > 0, "the client was never a slow consumer");
    assert_eq!(snapshots, [5], "intermediate snapshots are skipped");
}
