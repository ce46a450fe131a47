//! The feed `rising`: the last snapshot of each subscribed host immediately, then every new one.

use std::{collections::BTreeMap, time::Duration};

use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    ApiResponse, Setup, World, eventually,
    live::{Events, LiveSocket, ReceivedFrame, UpgradeRequest, trend_snapshot},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::live::{feed_url, post_text, read_metrics, start_instance};

/// The time until a lost publication is recovered: the key is polled every 5 seconds.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(8);

/// Returns the setup of a stack in which only the test publishes trends.
fn setup() -> Setup {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    setup.scale(Service::PersistWorker, 0).set("MAYFLY_HTTP__WORKERS", "2")
}

/// Returns the stack shared by tests with their own hosts.
async fn shared() -> World {
    static RISING: OnceCell<World> = OnceCell::const_new();
    setup().share(&RISING).await
}

/// Returns a snapshot of one page, whose time and visitors increase with `number`.
fn make_trend(host: &str, number: u64) -> Value {
    trend_snapshot(host, number, &[("/", number + 10, None)])
}

/// Returns the frame of `make_trend`.
fn make_frame(host: &str, number: u64) -> Value {
    let Value::Object(mut frame) = make_trend(host, number) else {
        panic!("the snapshot is an object")
    };
    frame.insert("type".into(), "rising".into());
    frame.insert("window".into(), "5s".into());
    let page = json!({"path": "/", "title": null, "visitors": number + 10,
                      "change": null, "rate": null, "score": null});
    frame.insert("pages".into(), json!([page]));
    frame.into()
}

async fn open(world: &World, host: &str) -> LiveSocket {
    LiveSocket::connect_with_hello(&world.live_url(&format!("feed=rising&host={host}"))).await.0
}

/// Asserts that no other frames have arrived.
async fn expect_silence(live: &mut LiveSocket) {
    assert_eq!(live.exchange(&json!({"type": "ping"})).await, json!({"type": "pong"}));
}

/// Returns the next `rising` frame. Only `position` and `hello` frames may precede it.
async fn next_rising(live: &mut LiveSocket) -> Value {
    let found = timeout(RECOVERY_TIMEOUT, async {
        loop {
            let frame = live.next_frame().await;
            if frame["type"] == "rising" {
                return frame;
            }
            assert!(frame["type"] == "position" || frame["resumed"] == false, "{frame}");
        }
    });
    found.await.expect("a `rising` frame arrives in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn new_client_receives_the_last_snapshot_of_its_hosts_and_each_new_one_once() {
    let world = shared().await;
    // The host has no subscribers yet.
    world.publish_trend(&make_trend("one.first", 1)).await;
    world.publish_trend(&make_trend("two.first", 1)).await;
    let mut early = open(&world, "One.FIRST").await;
    assert_eq!(early.next_frame_within(Duration::from_secs(2)).await, make_frame("one.first", 1));
    // These clients can be on any of the worker threads.
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = open(&world, "one.first").await;
        assert_eq!(
            other.next_frame_within(Duration::from_secs(2)).await,
            make_frame("one.first", 1)
        );
        others.push(other);
    }
    let url = world.url(Service::WsFanout, "/v1/events?feed=rising&host=one.first&host=TWO.first");
    let mut events = Events::open(world.http.get(url)).await.expect("the event stream opens");
    assert_eq!(events.next().await.json()["type"], "hello");
    let first = [events.next().await, events.next().await];
    assert!(first.iter().all(|event| event.id.is_empty()), "state has no position");
    let mut first = first.map(|event| event.json());
    first.sort_by_key(|frame| frame["host"].to_string());
    assert_eq!(first, [make_frame("one.first", 1), make_frame("two.first", 1)]);

    // Repeated, outdated and other hosts' snapshots are ignored.
    world.publish_trend_text(&make_trend("one.first", 1).to_string()).await;
    assert_eq!(world.publish_trend(&make_trend("one.first", 2)).await, 1, "one subscription");
    world.publish_trend_text(&make_trend("one.first", 1).to_string()).await;
    world.publish_trend_text(&make_trend("one.first", 2).to_string()).await;
    world.publish_trend(&make_trend("three.first", 5)).await;
    for bad in ["", "{", "[]", "7", r#"{"host":"one.first"}"#, r#"{"host":7}"#] {
        world.publish_trend_text(bad).await;
    }
    world.publish_trend(&make_trend("one.first", 3)).await;
    for number in [2, 3] {
        for live in others.iter_mut().chain([&mut early]) {
            assert_eq!(live.next_frame().await, make_frame("one.first", number));
        }
        assert_eq!(events.next().await.json(), make_frame("one.first", number));
    }
    for live in &mut others {
        expect_silence(live).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_to_a_host_is_followed_by_its_last_snapshot() {
    let world = shared().await;
    for host in ["a.added", "b.added"] {
        world.publish_trend(&make_trend(host, 1)).await;
    }
    let (mut live, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=rising-added&host=a.added")).await;
    let set = |kind: &str, feeds: &[&str], hosts: &[&str]| json!({"type": kind, "channels": ["rising-added"], "feeds": feeds, "videos": [], "hosts": hosts});
    let feed = json!({"type": "subscribe", "feeds": ["rising"]});
    let both = ["messages", "rising"];
    assert_eq!(live.exchange(&feed).await, set("subscribed", &both, &["a.added"]));
    assert_eq!(live.next_frame().await, make_frame("a.added", 1));
    let host = json!({"type": "subscribe", "hosts": ["B.Added"]});
    assert_eq!(live.exchange(&host).await, set("subscribed", &both, &["a.added", "b.added"]));
    assert_eq!(live.next_frame().await, make_frame("b.added", 1));
    // The client has already received the snapshots.
    assert_eq!(live.exchange(&host).await, set("subscribed", &both, &["a.added", "b.added"]));
    expect_silence(&mut live).await;

    let less = json!({"type": "unsubscribe", "hosts": ["A.ADDED"]});
    assert_eq!(live.exchange(&less).await, set("unsubscribed", &both, &["b.added"]));
    let last = json!({"type": "unsubscribe", "hosts": ["b.added"]});
    let refused = live.exchange(&last).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("invalid_field")));
    for host in ["a.added", "b.added"] {
        world.publish_trend(&make_trend(host, 2)).await;
    }
    assert_eq!(live.next_frame().await, make_frame("b.added", 2));
    let none = json!({"type": "unsubscribe", "feeds": ["rising"], "hosts": ["b.added"]});
    assert_eq!(live.exchange(&none).await, set("unsubscribed", &["messages"], &[]));
    world.publish_trend(&make_trend("b.added", 3)).await;
    let more = json!({"type": "subscribe", "feeds": ["rising"], "hosts": ["b.added"]});
    assert_eq!(live.exchange(&more).await, set("subscribed", &both, &["b.added"]));
    assert_eq!(live.next_frame().await, make_frame("b.added", 3));
    expect_silence(&mut live).await;
}

#[tokio::test]
async fn invalid_host_is_rejected_with_the_rule() {
    let world = shared().await;
    for query in ["feed=rising", "feed=rising&host=", "feed=rising&host=a%2Fb", "host=%C3%A4.org"] {
        let (code, reason) = LiveSocket::connect(&world.live_url(query)).await.next_close().await;
        assert_eq!(code, 4500, "{query}");
        assert!(reason.starts_with("hosts must"), "{query}: {reason}");
        let url = world.url(Service::WsFanout, &format!("/v1/events?{query}"));
        let problem = ApiResponse::send(world.http.get(url)).await;
        assert_eq!(problem.expect_problem(400, "invalid_field"), ["host"], "{query}");
    }
    let many: Vec<_> = (0..129).map(|number| format!("host=h{number}")).collect();
    let (code, _) = LiveSocket::connect(&world.live_url(&many.join("&"))).await.next_close().await;
    assert_eq!(code, 4501);
    let mut live = open(&world, "sound.refused").await;
    let refused = live.exchange(&json!({"type": "subscribe", "hosts": ["a b"]})).await;
    assert_eq!(refused["code"], "invalid_field", "{refused}");
    assert!(refused["message"].as_str().is_some_and(|text| text.starts_with("hosts must be 1 to")));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_publication_is_read_from_its_key() {
    let world = setup().redis_acl("&* -publish").start().await;
    let mut live = open(&world, "a.org").await;
    for number in [1, 2] {
        world.store_trend(&make_trend("a.org", number)).await;
        let started_at = Instant::now();
        assert_eq!(live.next_frame_within(RECOVERY_TIMEOUT).await, make_frame("a.org", number));
        println!("an unpublished trend was found after {:?}", started_at.elapsed());
    }
    // A subscriber of a new host does not wait for the next poll.
    world.store_trend(&make_trend("b.org", 1)).await;
    let started_at = Instant::now();
    let mut other = open(&world, "b.org").await;
    assert_eq!(other.next_frame().await, make_frame("b.org", 1));
    assert!(started_at.elapsed() < Duration::from_secs(2), "immediately");
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_continues_after_redis_restarted_or_was_flushed() {
    let world = setup().dedicated_servers().start().await;
    world.publish_trend(&make_trend("a.org", 1)).await;
    let mut live = open(&world, "a.org").await;
    assert_eq!(live.next_frame().await, make_frame("a.org", 1));

    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    // This snapshot is not published. ws-fanout finds it after the resubscription or at the next
    // poll.
    world.store_trend(&make_trend("a.org", 2)).await;
    assert_eq!(
        next_rising(&mut live).await,
        make_frame("a.org", 2),
        "the previous snapshot is not repeated"
    );

    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
    let mut late = open(&world, "a.org").await;
    // The process still has the last snapshot.
    assert_eq!(next_rising(&mut late).await, make_frame("a.org", 2));
    world.publish_trend(&make_trend("a.org", 1)).await;
    world.publish_trend(&make_trend("a.org", 3)).await;
    for live in [&mut live, &mut late] {
        assert_eq!(next_rising(live).await, make_frame("a.org", 3), "no earlier ones");
    }
}

/// Returns when a host was last reported as watched, by the local clock.
async fn read_watched_at(world: &World, host: &str) -> Option<f64> {
    let mut redis = world.redis().await;
    redis.zscore(world.key("rising:watched"), host).await.expect("Redis is available")
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_hosts_are_reported_every_second_until_the_last_unsubscribe() {
    let world = shared().await;
    // Hosts for which the source has accepted no key are not reported.
    let mut redis = world.redis().await;
    for host in ["a.watched", "b.watched", "c.watched", "named.watched"] {
        let keys = world.key(&format!("rising:keys:{host}"));
        let _: () = redis.zadd(keys, "digest", 1).await.expect("Redis is available");
    }
    let wait_until_reported = async |host: &str, before: Option<f64>| {
        eventually(Duration::from_secs(5), "the host is reported as watched", async || {
            let at = read_watched_at(&world, host).await;
            if at > before { Ok(at) } else { Err(at) }
        })
        .await
    };
    let mut one = open(&world, "A.watched").await;
    let mut other = open(&world, "a.watched").await;
    let at = wait_until_reported("a.watched", None).await;
    let at = wait_until_reported("a.watched", at).await;
    // A host without the feed is not watched.
    let (_named, _) = LiveSocket::connect_with_hello(&world.live_url("host=named.watched")).await;
    drop(one.close().await);
    one = open(&world, "b.watched").await;
    let at = wait_until_reported("a.watched", at).await;
    let change = json!({"type": "subscribe", "hosts": ["c.watched"]});
    assert_eq!(other.exchange(&change).await["type"], "subscribed");
    let change = json!({"type": "unsubscribe", "hosts": ["a.watched"]});
    assert_eq!(other.exchange(&change).await["type"], "unsubscribed");
    wait_until_reported("c.watched", None).await;
    assert_eq!(read_watched_at(&world, "named.watched").await, None);
    let wait_until_unwatched = async |host: &str| {
        let look = async || read_watched_at(&world, host).await.map_or(Ok(()), Err);
        eventually(Duration::from_secs(10), "the host is no longer watched", look).await;
    };
    wait_until_unwatched("a.watched").await;
    wait_until_reported("b.watched", at).await;
    one.reset();
    drop(other.close().await);
    wait_until_unwatched("b.watched").await;
    wait_until_unwatched("c.watched").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_snapshot_is_sent_after_each_resubscription() {
    let world = shared().await;
    world.publish_trend(&make_trend("a.again", 1)).await;
    for number in 1..4 {
        let mut live = open(&world, "a.again").await;
        assert_eq!(live.next_frame().await, make_frame("a.again", number));
        drop(live.close().await);
        // No client subscribes to the host.
        world.publish_trend(&make_trend("a.again", number + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_consumer_receives_the_newest_snapshot_of_each_host_without_a_gap() {
    // Another test counts the subscriptions of the shared stack, so this test needs a separate one.
    let world = setup().scale(Service::WsFanout, 0).start().await;
    // Large enough that the kernel's buffers leave the queue more than half full.
    let settings =
        [("MAYFLY_FANOUT__SLOW_CONSUMER", "drop"), ("MAYFLY_FANOUT__QUEUE_BYTES_MAX", "24MiB")];
    let fanout = start_instance(&world, &settings).await;
    let hosts = ["a.slow", "b.slow"];
    for host in hosts {
        world.publish_trend(&make_trend(host, 1)).await;
    }
    let query = "feed=rising&host=a.slow&host=b.slow";
    let url = feed_url(&fanout, &format!("{query}&feed=messages&channel=rising-slow"));
    let mut slow =
        UpgradeRequest::new(&url).receive_buffer(64 * 1024).send().await.expect("the socket opens");
    let (mut fast, _) = LiveSocket::connect_with_hello(&feed_url(&fanout, query)).await;
    assert_eq!(slow.next_frame().await["type"], "hello");
    for live in [&mut slow, &mut fast] {
        let mut first = [next_rising(live).await, next_rising(live).await];
        first.sort_by_key(|frame| frame["host"].to_string());
        assert_eq!(first, hosts.map(|host| make_frame(host, 1)));
    }
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "rising-slow", "text": "x", "data": data}); 60];
    let batches = 10;
    for _ in 0..batches {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    eventually(Duration::from_secs(10), "the queue is full", async || {
        match read_metrics(&world, &fanout).await.sum("frames_dropped_total") {
            0 => Err("nothing is dropped"),
            _ => Ok(()),
        }
    })
    .await;
    for number in 2..6 {
        for host in hosts {
            world.publish_trend(&make_trend(host, number)).await;
            assert_eq!(next_rising(&mut fast).await, make_frame(host, number));
        }
    }
    let (mut messages, mut dropped, mut rising) = (0, 0, Vec::new());
    while messages + dropped < batches * 60 || rising.len() < hosts.len() {
        let text = timeout(Duration::from_secs(10), slow.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{messages}, {dropped}, {rising:?}"));
        let text = text.expect("the socket stays open");
        let received = ReceivedFrame::parse(&text);
        match received.kind.as_str() {
            "message" => messages += 1,
            "gap" => dropped += received.dropped.expect("the gap has a count"),
            "rising" => {
                rising.push(serde_json::from_slice::<Value>(&text).expect("the frame is JSON"));
            }
            other => panic!("a frame of type {other}"),
        }
    }
    println!("{messages} messages, {dropped} dropped");
    assert_eq!(messages + dropped, batches * 60, "gaps count only messages");
    assert!(dropped > 0, "the client was never a slow consumer");
    rising.sort_by_key(|frame| frame["host"].to_string());
    assert_eq!(rising, hosts.map(|host| make_frame(host, 5)), "intermediate snapshots are skipped");
    post_text(&world, "rising-slow", "after it").await;
    assert_eq!(slow.texts_until("after it").await, ["after it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_hosts_do_not_make_a_client_slow() {
    let world = shared().await;
    let hosts: Vec<_> = (10..50).map(|number| format!("h{number}.large")).collect();
    let large = |number: u64| {
        let paths: Vec<_> =
            (0..100).map(|page| format!("{page:03}{}", "🦋".repeat(1_000))).collect();
        let pages: Vec<_> = paths.iter().map(|path| (path.as_str(), number, None)).collect();
        trend_snapshot("any", number, &pages)
    };
    let publish = async |number: u64| {
        let mut seen = large(number);
        for host in &hosts {
            seen["host"] = host.as_str().into();
            world.publish_trend(&seen).await;
        }
    };
    publish(1).await;
    let query: Vec<_> = hosts.iter().map(|host| format!("host={host}")).collect();
    let query = format!("feed=rising,messages&channel=rising-large&{}", query.join("&"));
    let opening = UpgradeRequest::new(&world.live_url(&query)).receive_buffer(64 * 1024);
    let mut live = opening.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
    // The client does not read while more frames than its queue holds and messages arrive.
    publish(2).await;
    for text in ["one", "two"] {
        post_text(&world, "rising-large", text).await;
    }
    publish(3).await;
    let (mut texts, mut newest) = (Vec::new(), BTreeMap::new());
    while texts.len() < 2 || newest.len() < hosts.len() || newest.values().any(|at| *at < 3) {
        let frame = live.next_frame().await;
        match frame["type"].as_str() {
            Some("message") => texts.push(frame["message"]["text"].to_string()),
            Some("rising") => {
                let (host, number) = (frame["host"].to_string(), &frame["pages"][0]["visitors"]);
                let number = number.as_u64().expect("the value is a number");
                assert!(newest.insert(host, number) < Some(number), "each once, no earlier ones");
            }
            _ => panic!("{frame}"),
        }
    }
    assert_eq!(texts, ["\"one\"", "\"two\""]);
}
