//! The feed `rising`: of each host that is asked for, the newest at once, and all that follows.

use std::{collections::BTreeMap, time::Duration};

use mayfly_stack::{Part, Service};
use mayfly_tests::{
    Answer, Setup, World, eventually,
    live::{Events, Live, Opening, Told, sighting},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use super::{metrics_of, say, start_own, url_of};

/// By when what was published and lost is made up for: it is looked every 5 seconds.
const REPAIRED: Duration = Duration::from_secs(8);

/// A Mayfly whose hosts nobody samples.
fn setup() -> Setup {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    setup.with(Service::PersistWorker, 0).set("MAYFLY_HTTP__WORKERS", "2")
}

/// One for all tests that have hosts of their own.
async fn shared() -> World {
    static RISING: OnceCell<World> = OnceCell::const_new();
    setup().share(&RISING).await
}

/// A sighting of one page; its time and its visitors rise with its number.
fn seen(host: &str, number: u64) -> Value {
    sighting(host, number, &[("/", number + 10, None)])
}

/// The frame of it.
fn frame(host: &str, number: u64) -> Value {
    let Value::Object(mut frame) = seen(host, number) else { panic!("an object") };
    frame.insert("type".into(), "rising".into());
    frame.insert("window".into(), "5s".into());
    let page = json!({"path": "/", "title": null, "visitors": number + 10,
                      "change": null, "rate": null, "score": null});
    frame.insert("pages".into(), json!([page]));
    frame.into()
}

async fn open(world: &World, host: &str) -> Live {
    Live::hello(&world.live(&format!("feed=rising&host={host}"))).await.0
}

/// Makes sure that nothing else has come.
async fn is_silent(live: &mut Live) {
    assert_eq!(live.ask(&json!({"type": "ping"})).await, json!({"type": "pong"}));
}

/// The next frame of what rises; only what tells where a client stands, or that Redis lost data, may
/// come before it.
async fn next_rising(live: &mut Live) -> Value {
    loop {
        let frame = live.next_frame_within(REPAIRED).await;
        if frame["type"] == "rising" {
            return frame;
        }
        assert!(frame["type"] == "position" || frame["resumed"] == false, "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_gets_the_last_of_its_hosts_at_once_and_what_follows_once() {
    let world = shared().await;
    // Nobody watches it yet.
    world.publish_sighting(&seen("one.first", 1)).await;
    world.publish_sighting(&seen("two.first", 1)).await;
    let mut early = open(&world, "One.FIRST").await;
    assert_eq!(early.next_frame_within(Duration::from_secs(2)).await, frame("one.first", 1));
    // Whichever of the threads has these.
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = open(&world, "one.first").await;
        assert_eq!(other.next_frame_within(Duration::from_secs(2)).await, frame("one.first", 1));
        others.push(other);
    }
    let url = world.url(Service::WsFanout, "/v1/events?feed=rising&host=one.first&host=TWO.first");
    let mut events = Events::open(world.http.get(url)).await.expect("a stream of events");
    assert_eq!(events.next().await.json()["type"], "hello");
    let first = [events.next().await, events.next().await];
    assert!(first.iter().all(|event| event.id.is_empty()), "a state has no position");
    let mut first = first.map(|event| event.json());
    first.sort_by_key(|frame| frame["host"].to_string());
    assert_eq!(first, [frame("one.first", 1), frame("two.first", 1)]);

    // What is published again, or late, or of another host, is no news.
    world.tell_sighting(&seen("one.first", 1).to_string()).await;
    assert_eq!(world.publish_sighting(&seen("one.first", 2)).await, 1, "one subscription");
    world.tell_sighting(&seen("one.first", 1).to_string()).await;
    world.tell_sighting(&seen("one.first", 2).to_string()).await;
    world.publish_sighting(&seen("three.first", 5)).await;
    for bad in ["", "{", "[]", "7", r#"{"host":"one.first"}"#, r#"{"host":7}"#] {
        world.tell_sighting(bad).await;
    }
    world.publish_sighting(&seen("one.first", 3)).await;
    for number in [2, 3] {
        for live in others.iter_mut().chain([&mut early]) {
            assert_eq!(live.next_frame().await, frame("one.first", number));
        }
        assert_eq!(events.next().await.json(), frame("one.first", number));
    }
    for live in &mut others {
        is_silent(live).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscribe_that_adds_a_host_is_followed_by_its_last_frame() {
    let world = shared().await;
    for host in ["a.added", "b.added"] {
        world.publish_sighting(&seen(host, 1)).await;
    }
    let (mut live, _) = Live::hello(&world.live("channel=rising-added&host=a.added")).await;
    let set = |kind: &str, feeds: &[&str], hosts: &[&str]| json!({"type": kind, "channels": ["rising-added"], "feeds": feeds, "videos": [], "hosts": hosts});
    let feed = json!({"type": "subscribe", "feeds": ["rising"]});
    let both = ["messages", "rising"];
    assert_eq!(live.ask(&feed).await, set("subscribed", &both, &["a.added"]));
    assert_eq!(live.next_frame().await, frame("a.added", 1));
    let host = json!({"type": "subscribe", "hosts": ["B.Added"]});
    assert_eq!(live.ask(&host).await, set("subscribed", &both, &["a.added", "b.added"]));
    assert_eq!(live.next_frame().await, frame("b.added", 1));
    // It has them already.
    assert_eq!(live.ask(&host).await, set("subscribed", &both, &["a.added", "b.added"]));
    is_silent(&mut live).await;

    let less = json!({"type": "unsubscribe", "hosts": ["A.ADDED"]});
    assert_eq!(live.ask(&less).await, set("unsubscribed", &both, &["b.added"]));
    let last = json!({"type": "unsubscribe", "hosts": ["b.added"]});
    let refused = live.ask(&last).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("invalid_field")));
    for host in ["a.added", "b.added"] {
        world.publish_sighting(&seen(host, 2)).await;
    }
    assert_eq!(live.next_frame().await, frame("b.added", 2));
    let none = json!({"type": "unsubscribe", "feeds": ["rising"], "hosts": ["b.added"]});
    assert_eq!(live.ask(&none).await, set("unsubscribed", &["messages"], &[]));
    world.publish_sighting(&seen("b.added", 3)).await;
    let more = json!({"type": "subscribe", "feeds": ["rising"], "hosts": ["b.added"]});
    assert_eq!(live.ask(&more).await, set("subscribed", &both, &["b.added"]));
    assert_eq!(live.next_frame().await, frame("b.added", 3));
    is_silent(&mut live).await;
}

#[tokio::test]
async fn a_host_that_is_none_is_refused_with_the_rule() {
    let world = shared().await;
    for query in ["feed=rising", "feed=rising&host=", "feed=rising&host=a%2Fb", "host=%C3%A4.org"] {
        let (code, reason) = Live::connect(&world.live(query)).await.next_close().await;
        assert_eq!(code, 4500, "{query}");
        assert!(reason.starts_with("hosts must"), "{query}: {reason}");
        let url = world.url(Service::WsFanout, &format!("/v1/events?{query}"));
        let problem = Answer::of(world.http.get(url)).await;
        assert_eq!(problem.expect_problem(400, "invalid_field"), ["host"], "{query}");
    }
    let many: Vec<_> = (0..129).map(|number| format!("host=h{number}")).collect();
    let (code, _) = Live::connect(&world.live(&many.join("&"))).await.next_close().await;
    assert_eq!(code, 4501);
    let mut live = open(&world, "sound.refused").await;
    let refused = live.ask(&json!({"type": "subscribe", "hosts": ["a b"]})).await;
    assert_eq!(refused["code"], "invalid_field", "{refused}");
    assert!(refused["message"].as_str().is_some_and(|text| text.starts_with("hosts must be 1 to")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_is_found_under_its_key() {
    let world = setup().redis_rules("&* -publish").start().await;
    let mut live = open(&world, "a.org").await;
    for number in [1, 2] {
        world.store_sighting(&seen("a.org", number)).await;
        let began = Instant::now();
        assert_eq!(live.next_frame_within(REPAIRED).await, frame("a.org", number));
        println!("an unpublished sighting was found after {:?}", began.elapsed());
    }
    // Who comes to a host that is new here does not wait for the next look.
    world.store_sighting(&seen("b.org", 1)).await;
    let began = Instant::now();
    let mut other = open(&world, "b.org").await;
    assert_eq!(other.next_frame().await, frame("b.org", 1));
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rises_goes_on_when_redis_was_stopped_or_emptied() {
    let world = setup().own_servers().start().await;
    world.publish_sighting(&seen("a.org", 1)).await;
    let mut live = open(&world, "a.org").await;
    assert_eq!(live.next_frame().await, frame("a.org", 1));

    world.stack.stop(Part::Redis).await.expect("Redis stops");
    world.stack.start(Part::Redis).await.expect("Redis starts");
    // Not published: found when it is subscribed again, or by the next look.
    world.store_sighting(&seen("a.org", 2)).await;
    assert_eq!(next_rising(&mut live).await, frame("a.org", 2), "the one before is not told again");

    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis forgets");
    let mut late = open(&world, "a.org").await;
    // This process has not forgotten.
    assert_eq!(next_rising(&mut late).await, frame("a.org", 2));
    world.publish_sighting(&seen("a.org", 1)).await;
    world.publish_sighting(&seen("a.org", 3)).await;
    for live in [&mut live, &mut late] {
        assert_eq!(next_rising(live).await, frame("a.org", 3), "and none of earlier");
    }
}

/// When it was last said that a host is watched, by the clock of this machine.
async fn watched_at(world: &World, host: &str) -> Option<f64> {
    let mut redis = world.redis().await;
    redis.zscore(world.key("rising:watched"), host).await.expect("Redis answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_every_second_which_hosts_are_watched_until_nobody_does() {
    let world = shared().await;
    let said = async |host: &str, before: Option<f64>| {
        eventually(Duration::from_secs(5), "it is said that it is watched", async || {
            let at = watched_at(&world, host).await;
            if at > before { Ok(at) } else { Err(at) }
        })
        .await
    };
    let mut one = open(&world, "A.watched").await;
    let mut other = open(&world, "a.watched").await;
    let at = said("a.watched", None).await;
    let at = said("a.watched", at).await;
    // A host that is named without the feed is not watched.
    let (_named, _) = Live::hello(&world.live("host=named.watched")).await;
    drop(one.close().await);
    one = open(&world, "b.watched").await;
    let at = said("a.watched", at).await;
    let change = json!({"type": "subscribe", "hosts": ["c.watched"]});
    assert_eq!(other.ask(&change).await["type"], "subscribed");
    let change = json!({"type": "unsubscribe", "hosts": ["a.watched"]});
    assert_eq!(other.ask(&change).await["type"], "unsubscribed");
    said("c.watched", None).await;
    assert_eq!(watched_at(&world, "named.watched").await, None);
    let gone = async |host: &str| {
        let look = async || watched_at(&world, host).await.map_or(Ok(()), Err);
        eventually(Duration::from_secs(10), "it is watched no longer", look).await;
    };
    gone("a.watched").await;
    said("b.watched", at).await;
    one.reset();
    drop(other.close().await);
    gone("b.watched").await;
    gone("c.watched").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_left_and_is_watched_again_is_shown_anew() {
    let world = shared().await;
    world.publish_sighting(&seen("a.again", 1)).await;
    for number in 1..4 {
        let mut live = open(&world, "a.again").await;
        assert_eq!(live.next_frame().await, frame("a.again", number));
        drop(live.close().await);
        // Nobody here hears it.
        world.publish_sighting(&seen("a.again", number + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_sees_the_newest_of_each_host_and_no_gap_for_those_before() {
    let world = shared().await;
    // So much that what the kernel takes besides leaves it more than half full.
    let settings =
        [("MAYFLY_FANOUT__SLOW_CONSUMER", "drop"), ("MAYFLY_FANOUT__QUEUE_BYTES_MAX", "24MiB")];
    let fanout = start_own(&world, &settings).await;
    let hosts = ["a.slow", "b.slow"];
    for host in hosts {
        world.publish_sighting(&seen(host, 1)).await;
    }
    let query = "feed=rising&host=a.slow&host=b.slow";
    let url = url_of(&fanout, &format!("{query}&feed=messages&channel=rising-slow"));
    let mut slow = Opening::to(&url).receive_buffer(64 * 1024).send().await.expect("it is opened");
    let (mut fast, _) = Live::hello(&url_of(&fanout, query)).await;
    assert_eq!(slow.next_frame().await["type"], "hello");
    for live in [&mut slow, &mut fast] {
        let mut first = [next_rising(live).await, next_rising(live).await];
        first.sort_by_key(|frame| frame["host"].to_string());
        assert_eq!(first, hosts.map(|host| frame(host, 1)));
    }
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "rising-slow", "text": "x", "data": data}); 60];
    let batches = 10;
    for _ in 0..batches {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    eventually(Duration::from_secs(10), "its queue is full", async || {
        match metrics_of(&world, &fanout).await.sum("dropped_total") {
            0 => Err("nothing is dropped"),
            _ => Ok(()),
        }
    })
    .await;
    for number in 2..6 {
        for host in hosts {
            world.publish_sighting(&seen(host, number)).await;
            assert_eq!(next_rising(&mut fast).await, frame(host, number));
        }
    }
    let (mut messages, mut dropped, mut rising) = (0, 0, Vec::new());
    while messages + dropped < batches * 60 || rising.len() < hosts.len() {
        let text = timeout(Duration::from_secs(10), slow.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{messages}, {dropped}, {rising:?}"));
        let text = text.expect("the socket stays");
        let told = Told::read(&text);
        match told.kind.as_str() {
            "message" => messages += 1,
            "gap" => dropped += told.dropped.expect("it says how many"),
            "rising" => rising.push(serde_json::from_slice::<Value>(&text).expect("it is JSON")),
            other => panic!("a frame of type {other}"),
        }
    }
    println!("{messages} messages, {dropped} dropped");
    assert_eq!(messages + dropped, batches * 60, "a gap counts messages");
    assert!(dropped > 0, "it was never slow");
    rising.sort_by_key(|frame| frame["host"].to_string());
    assert_eq!(rising, hosts.map(|host| frame(host, 5)), "those between were of yesterday");
    say(&world, "rising-slow", "after it").await;
    assert_eq!(slow.texts_until("after it").await, ["after it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_hosts_make_nobody_slow() {
    let world = shared().await;
    let hosts: Vec<_> = (10..50).map(|number| format!("h{number}.large")).collect();
    let large = |number: u64| {
        let paths: Vec<_> =
            (0..100).map(|page| format!("{page:03}{}", "🦋".repeat(1_000))).collect();
        let pages: Vec<_> = paths.iter().map(|path| (path.as_str(), number, None)).collect();
        sighting("any", number, &pages)
    };
    let publish = async |number: u64| {
        let mut seen = large(number);
        for host in &hosts {
            seen["host"] = host.as_str().into();
            world.publish_sighting(&seen).await;
        }
    };
    publish(1).await;
    let query: Vec<_> = hosts.iter().map(|host| format!("host={host}")).collect();
    let query = format!("feed=rising,messages&channel=rising-large&{}", query.join("&"));
    let opening = Opening::to(&world.live(&query)).receive_buffer(64 * 1024);
    let mut live = opening.send().await.expect("it is opened");
    assert_eq!(live.next_frame().await["type"], "hello");
    // It does not read while there is more than a queue holds, and messages come.
    publish(2).await;
    for text in ["one", "two"] {
        say(&world, "rising-large", text).await;
    }
    publish(3).await;
    let (mut texts, mut newest) = (Vec::new(), BTreeMap::new());
    while texts.len() < 2 || newest.len() < hosts.len() || newest.values().any(|at| *at < 3) {
        let frame = live.next_frame().await;
        match frame["type"].as_str() {
            Some("message") => texts.push(frame["message"]["text"].to_string()),
            Some("rising") => {
                let (host, number) = (frame["host"].to_string(), &frame["pages"][0]["visitors"]);
                let number = number.as_u64().expect("a number");
                assert!(newest.insert(host, number) < Some(number), "each once, none of earlier");
            }
            _ => panic!("{frame}"),
        }
    }
    assert_eq!(texts, ["\"one\"", "\"two\""]);
}
