//! The feed `stats`: the last snapshot at once, and every one that follows.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use mayfly_stack::{Part, Service};
use mayfly_tests::{
    PATIENCE, Setup, World, eventually,
    live::{Events, Live, Opening, Told},
    short_or_full,
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{metrics_of, position_of, say, start_own, url_of};

/// By when what was published and lost is made up for: it is looked every 5 seconds.
fn repaired() -> Duration {
    Duration::from_secs(short_or_full(20, 8))
}

/// A Mayfly without who would publish snapshots.
fn setup() -> Setup {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    setup.with(Service::PersistWorker, 0).set("MAYFLY_HTTP__WORKERS", "2")
}

/// A snapshot as the publisher makes it; its time rises with its number.
fn snapshot(number: u64) -> Value {
    json!({
        "result": "success",
        "generated_at": format!("2026-11-20T19:{:02}:{:02}.000Z", number / 60, number % 60),
        "cities": number,
        "users": 2,
        "messages": {"total": 1_234_567, "last_hour": 60, "last_minute": 1},
        "top_cities": [{"city": "New\nYork \u{2028}\"</script>", "state": null, "messages": 3}],
    })
}

fn frame(number: u64) -> Value {
    json!({"type": "stats", "url": "/v1/stats", "snapshot": snapshot(number)})
}

/// Who publishes in these tests.
struct Source {
    redis: MultiplexedConnection,
    key: String,
    channel: String,
}

impl Source {
    async fn of(world: &World) -> Self {
        let (key, channel) = (world.key("stats"), world.key("feed:stats"));
        Self { redis: world.redis().await, key, channel }
    }

    async fn store(&mut self, text: &str) {
        let stored = self.redis.set::<_, _, ()>(&self.key, text).await;
        stored.expect("Redis answers");
    }

    /// Publishes a text; gives how many heard it.
    async fn tell(&mut self, text: &str) -> usize {
        self.redis.publish(&self.channel, text).await.expect("Redis answers")
    }

    /// Stores a snapshot and publishes it; gives how many heard it.
    async fn publish(&mut self, number: u64) -> usize {
        let text = snapshot(number).to_string();
        self.store(&text).await;
        self.tell(&text).await
    }

    /// The connections of this Mayfly to Redis: of all kinds, or of one.
    async fn clients(&mut self, world: &World, kind: &[&str]) -> usize {
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg(kind);
        let all: String = list.query_async(&mut self.redis).await.expect("Redis answers");
        all.lines().filter(|line| line.contains(&format!(" user={} ", world.prefix))).count()
    }
}

async fn open_events(world: &World, query: &str) -> Events {
    let url = world.url(Service::WsFanout, &format!("/v1/events?{query}"));
    let mut events = Events::open(world.http.get(url)).await.expect("a stream of events");
    assert_eq!(events.next().await.json()["type"], "hello");
    events
}

/// Waits until a ws-fanout that was just started has told of this snapshot.
async fn wait_for(world: &World, number: u64) {
    let (mut live, _) = Live::hello(&world.live("feed=stats")).await;
    assert_eq!(live.next_frame().await, frame(number));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_gets_the_last_snapshot_at_once_and_every_one_that_follows_once() {
    let world = setup().start().await;
    let mut source = Source::of(&world).await;
    let (mut early, _) = Live::hello(&world.live("feed=stats")).await;
    assert_eq!(source.publish(1).await, 1, "one subscription");
    assert_eq!(early.next_frame().await, frame(1));

    let mut events = open_events(&world, "feed=stats").await;
    let (mut both, _) = Live::hello(&world.live("feed=messages,stats&channel=stats-both")).await;
    let (mut none, _) = Live::hello(&world.live("channel=stats-none")).await;
    let began = Instant::now();
    let event = events.next().await;
    assert_eq!((event.id.as_str(), event.json()), ("", frame(1)), "a state has no position");
    assert_eq!(both.next_frame().await, frame(1));
    assert!(began.elapsed() < Duration::from_secs(2), "at once");

    // What is published again, or late, is no news.
    source.tell(&snapshot(1).to_string()).await;
    source.publish(2).await;
    source.tell(&snapshot(1).to_string()).await;
    for bad in ["", "{", "[]", "7", r#"{"generated_at":7}"#] {
        source.tell(bad).await;
    }
    source.publish(3).await;
    for number in [2, 3] {
        assert_eq!(early.next_frame().await, frame(number));
        assert_eq!(both.next_frame().await, frame(number));
        assert_eq!(events.next().await.json(), frame(number));
    }
    say(&world, "stats-both", "heard").await;
    say(&world, "stats-none", "heard").await;
    assert_eq!(both.texts_until("heard").await, ["heard"]);
    assert_eq!(none.texts_until("heard").await, ["heard"]);
    source.publish(4).await;
    assert_eq!(early.next_frame().await, frame(4), "no message between");
}

#[tokio::test]
async fn a_snapshot_that_is_written_over_several_lines_is_one_event() {
    let world = setup().start().await;
    let mut source = Source::of(&world).await;
    let text = serde_json::to_string_pretty(&snapshot(1)).expect("it is JSON");
    source.tell(&text.replace('\n', "\r\n")).await;
    let mut events = open_events(&world, "feed=stats").await;
    assert_eq!(events.next().await.json(), frame(1));
}

#[tokio::test]
async fn a_subscribe_that_adds_stats_is_followed_by_the_last_snapshot() {
    let world = setup().start().await;
    let mut source = Source::of(&world).await;
    source.publish(1).await;
    wait_for(&world, 1).await;
    let (mut live, _) = Live::hello(&world.live("channel=stats-added")).await;
    let set = |kind: &str, feeds: &[&str]| json!({"type": kind, "channels": ["stats-added"], "feeds": feeds, "videos": [], "hosts": []});
    let add = json!({"type": "subscribe", "feeds": ["stats"]});
    assert_eq!(live.ask(&add).await, set("subscribed", &["messages", "stats"]));
    assert_eq!(live.next_frame().await, frame(1));
    // It has it already.
    assert_eq!(live.ask(&add).await, set("subscribed", &["messages", "stats"]));
    let less = json!({"type": "unsubscribe", "feeds": ["stats", "messages"]});
    assert_eq!(live.ask(&less).await, set("unsubscribed", &[]));
    let (mut other, _) = Live::hello(&world.live("feed=stats")).await;
    assert_eq!(other.next_frame().await, frame(1));
    source.publish(2).await;
    assert_eq!(other.next_frame().await, frame(2));
    assert_eq!(live.ask(&json!({"type": "ping"})).await, json!({"type": "pong"}));
    assert_eq!(live.ask(&add).await, set("subscribed", &["stats"]));
    reach(&mut live, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_nothing_but_stats_is_told_positions_and_resumes() {
    let world = setup().set("MAYFLY_QUEUE__RESUME_WINDOW", "3s").start().await;
    let mut source = Source::of(&world).await;
    source.publish(1).await;
    let (mut live, hello) = Live::hello(&world.live("feed=stats")).await;
    assert_eq!(live.next_frame().await, frame(1));
    say(&world, "stats-only", "unheard").await;
    let told = eventually(PATIENCE, "it is told where it stands", async || {
        let told = live.next_frame().await;
        assert_eq!(told["type"], "position", "{told}");
        if position_of(&told) == position_of(&hello) { Err(told) } else { Ok(told) }
    })
    .await;
    let since = format!("since={}", position_of(&told));
    let (mut again, resumed) = Live::hello(&world.live(&format!("feed=stats&{since}"))).await;
    assert_eq!((&resumed["resumed"], position_of(&resumed)), (&json!(true), position_of(&told)));
    assert_eq!(again.next_frame().await, frame(1));
    say(&world, "stats-only", "heard").await;
    let (mut more, resumed) =
        Live::hello(&world.live(&format!("feed=stats,messages&{since}"))).await;
    assert_eq!(resumed["resumed"], true);
    assert_eq!(more.next_frame().await, frame(1), "before what is replayed");
    assert_eq!(more.texts_until("heard").await, ["heard"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_is_found_under_its_key() {
    let world = setup().redis_rules("&* -publish").start().await;
    let mut source = Source::of(&world).await;
    let (mut live, _) = Live::hello(&world.live("feed=stats")).await;
    for number in [1, 2] {
        source.store(&snapshot(number).to_string()).await;
        let began = Instant::now();
        assert_eq!(live.next_frame_within(repaired()).await, frame(number));
        println!("an unpublished snapshot was found after {:?}", began.elapsed());
    }
    // What lies there and is none is left out, whatever it is.
    for bad in ["[1]", "{\"a\":", ""] {
        source.store(bad).await;
        let (mut other, _) = Live::hello(&world.live("feed=stats")).await;
        assert_eq!(other.next_frame().await, frame(2), "the last one that was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_on_when_redis_was_stopped_or_emptied() {
    let world = setup().own_servers().start().await;
    let mut source = Source::of(&world).await;
    source.publish(1).await;
    let (mut live, _) = Live::hello(&world.live("feed=stats")).await;
    assert_eq!(live.next_frame().await, frame(1));

    world.stack.stop(Part::Redis).await.expect("Redis stops");
    world.stack.start(Part::Redis).await.expect("Redis starts");
    let mut source = Source::of(&world).await;
    // Not published: found when it is subscribed again, or by the next look.
    source.store(&snapshot(2).to_string()).await;
    assert_eq!(next_stats(&mut live).await, frame(2), "the one before is not told again");

    redis::cmd("FLUSHALL").exec_async(&mut source.redis).await.expect("Redis forgets");
    let (mut late, _) = Live::hello(&world.live("feed=stats")).await;
    // This process has not forgotten.
    reach(&mut late, 2).await;
    source.publish(1).await;
    source.publish(3).await;
    for live in [&mut live, &mut late] {
        assert_eq!(next_stats(live).await, frame(3), "and none of earlier");
    }
}

/// Reads up to this snapshot: a thread may hear of it a moment later than another one.
async fn reach(live: &mut Live, number: u64) {
    loop {
        let told = next_stats(live).await;
        if told == frame(number) {
            return;
        }
        assert!(told["snapshot"]["cities"].as_u64() < Some(number), "{told}");
    }
}

/// The next frame that tells neither where a client stands nor that Redis lost data.
async fn next_stats(live: &mut Live) -> Value {
    loop {
        let frame = live.next_frame_within(repaired()).await;
        if frame["type"] == "stats" {
            return frame;
        }
        assert!(frame["type"] == "position" || frame["resumed"] == false, "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_on_two_threads_get_each_snapshot_once_over_one_subscription() {
    let world = setup().redis_rules("&*").start().await;
    let mut source = Source::of(&world).await;
    source.publish(1).await;
    wait_for(&world, 1).await;
    let asked = source.clients(&world, &[]).await;
    let queries = ["feed=stats", "feed=stats,messages&channel=stats-many", "feed=stats,messages"];
    let opened = stream::iter(0..200).map(async |number: usize| {
        let (mut live, _) = Live::hello(&world.live(queries[number % 3])).await;
        assert_eq!(live.next_frame().await, frame(1));
        live
    });
    let mut lives: Vec<Live> = opened.buffer_unordered(20).collect().await;
    let before = world.fanout_metrics().await.sum("deliveries_total");
    for number in 2..12 {
        assert_eq!(source.publish(number).await, 1, "one subscription");
    }
    let reading = lives.iter_mut().map(async |live| {
        for number in 2..12 {
            assert_eq!(live.next_frame().await, frame(number));
        }
    });
    join_all(reading).await;
    assert_eq!(world.fanout_metrics().await.sum("deliveries_total") - before, 2_000);
    assert_eq!(source.clients(&world, &["TYPE", "pubsub"]).await, 1);
    assert_eq!(source.clients(&world, &[]).await, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_sees_the_newest_snapshot_and_no_gap_for_those_before() {
    let world = setup().start().await;
    let mut source = Source::of(&world).await;
    // So much that what the kernel takes besides leaves it more than half full.
    let settings =
        [("MAYFLY_FANOUT__SLOW_CONSUMER", "drop"), ("MAYFLY_FANOUT__QUEUE_BYTES_MAX", "24MiB")];
    let fanout = start_own(&world, &settings).await;
    source.publish(1).await;
    let url = url_of(&fanout, "feed=messages,stats&channel=stats-slow");
    let mut slow = Opening::to(&url).receive_buffer(64 * 1024).send().await.expect("it is opened");
    let (mut fast, _) = Live::hello(&url_of(&fanout, "feed=stats")).await;
    assert_eq!(slow.next_frame().await["type"], "hello");
    assert_eq!(next_stats(&mut slow).await, frame(1));
    assert_eq!(next_stats(&mut fast).await, frame(1));
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "stats-slow", "text": "x", "data": data}); 60];
    let batches = 10;
    for _ in 0..batches {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    eventually(PATIENCE, "its queue is full", async || {
        match metrics_of(&world, &fanout).await.sum("dropped_total") {
            0 => Err("nothing is dropped"),
            _ => Ok(()),
        }
    })
    .await;
    for number in 2..6 {
        source.publish(number).await;
        assert_eq!(next_stats(&mut fast).await, frame(number));
    }
    let (mut messages, mut dropped, mut snapshots) = (0, 0, Vec::new());
    while messages + dropped < batches * 60 || snapshots.last() != Some(&5) {
        let text = timeout(PATIENCE, slow.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{messages}, {dropped}, {snapshots:?}"));
        let text = text.expect("the socket stays");
        let told = Told::read(&text);
        match told.kind.as_str() {
            "message" => messages += 1,
            "gap" => dropped += told.dropped.expect("it says how many"),
            "stats" => {
                let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
                snapshots.push(frame["snapshot"]["cities"].as_u64().expect("a number"));
            }
            other => panic!("a frame of type {other}"),
        }
    }
    println!("{messages} messages, {dropped} dropped, snapshots {snapshots:?}");
    assert_eq!(messages + dropped, batches * 60, "a gap counts messages");
    assert!(dropped > 0, "it was never slow");
    assert_eq!(snapshots, [5], "those between were of yesterday");
}
