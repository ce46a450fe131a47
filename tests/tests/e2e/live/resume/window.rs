//! The resume window.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually,
    live::{LiveSocket, PacedLoad},
    short_or_full,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::live::{feed_url, frame_position, post_text, start_instance};

fn window() -> Duration {
    Duration::from_secs(short_or_full(2, 10))
}

async fn start() -> World {
    let window = format!("{}s", window().as_secs());
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    setup.set("MAYFLY_QUEUE__RESUME_WINDOW", &window).start().await
}

async fn resume(world: &World, channel: &str, since: &str) -> (LiveSocket, Value) {
    LiveSocket::connect_with_hello(&world.live_url(&format!("channel={channel}&since={since}")))
        .await
}

/// Reads `position` frames until a deadline and returns the positions.
async fn positions_until(live: &mut LiveSocket, deadline: Instant) -> Vec<String> {
    let mut positions = Vec::new();
    while let Ok(text) = timeout_at(deadline, live.next_text()).await {
        let text = text.expect("the connection is open");
        let frame: Value = serde_json::from_slice(&text).expect("the frame is JSON");
        assert_eq!(frame["type"], "position", "{frame}");
        positions.push(frame_position(&frame).to_owned());
    }
    positions
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_an_idle_client_stays_within_the_window() {
    let world = start().await;
    let (mut live, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=silent")).await;
    assert_ne!(post_text(&world, "silent", "first").await["id"], Value::Null);
    live.texts_until("first").await;
    let (_, before) = LiveSocket::connect_with_hello(&world.live_url("channel=silent")).await;
    let old = frame_position(&before);
    let busy = PacedLoad {
        channel: "busy",
        count: usize::try_from(300 * (window().as_secs() + 3)).expect("the number is small"),
        every: Duration::from_secs(1) / 300,
        bytes: 100,
    };
    let started_at = Instant::now();
    let posting = tokio::spawn({
        let (busy, world) = (busy.clone(), world.clone());
        async move { busy.post(&world).await }
    });
    // Reads until the last trim, after which the last position must still be known.
    let mut positions = Vec::new();
    while !posting.is_finished() {
        let then = Instant::now() + Duration::from_millis(100);
        positions.extend(positions_until(&mut live, then).await);
    }
    posting.await.expect("all messages are accepted");
    let lasted = started_at.elapsed();
    println!("{} position frames in {lasted:?}", positions.len());
    let thirds = usize::try_from(lasted.as_millis() * 3 / window().as_millis())
        .expect("the number is small");
    assert!((3..=thirds + 1).contains(&positions.len()), "a third of the window: {positions:?}");
    live.reset();
    let left: usize = redis::cmd("XLEN")
        .arg(world.key("messages"))
        .query_async(&mut world.redis().await)
        .await
        .expect("Redis is available");
    assert!(left < busy.count, "nothing was trimmed, so the test proves nothing");

    // A new instance without buffered messages.
    let fresh = start_instance(&world, &[]).await;
    let at_fresh = |since: &str| feed_url(&fresh, &format!("channel=silent&since={since}"));
    let last = positions.last().expect("there are positions");
    let (mut live, resumed) = LiveSocket::connect_with_hello(&at_fresh(last)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(frame_position(&resumed), last);
    assert!(resumed.get("reason").is_none(), "{resumed}");
    post_text(&world, "silent", "second").await;
    assert_eq!(live.texts_until("second").await, ["second"]);

    for (since, reason) in [
        (old, "window"),
        (frame_position(&hello), "window"),
        ("garbage", "unknown_position"),
        ("0-0", "unknown_position"),
        (&"x".repeat(256), "unknown_position"),
    ] {
        let (mut live, refused) = LiveSocket::connect_with_hello(&at_fresh(since)).await;
        assert_eq!(refused["resumed"], false, "{since}: {refused}");
        assert_eq!(refused["reason"], reason, "{since}");
        let now = frame_position(&refused);
        assert_ne!(now, since);
        post_text(&world, "silent", since).await;
        assert_eq!(live.texts_until(since).await, [since], "live delivery continues");
        let (mut again, resumed) = resume(&world, "silent", now).await;
        assert_eq!(resumed["resumed"], true, "the returned position is valid");
        assert_eq!(again.texts_until(since).await, [since]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_position_is_known_even_if_old_or_trimmed() {
    let world = start().await;
    let (mut live, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=newest")).await;
    // The position is also known in a stream that was always empty.
    let (_, resumed) = resume(&world, "newest", frame_position(&hello)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    post_text(&world, "newest", "only").await;
    let only = frame_position(&live.next_of_type("message").await).to_owned();
    let (mut first, resumed) = resume(&world, "newest", frame_position(&hello)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(first.texts_until("only").await, ["only"]);
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let until = Instant::now() + window() + Duration::from_secs(2);
    let positions = positions_until(&mut live, until).await;
    assert!(positions.len() >= 3, "also without traffic: {positions:?}");
    let mut trim = redis::cmd("XTRIM");
    trim.arg(world.key("messages")).arg("MAXLEN").arg(0);
    for entry_exists in [true, false] {
        if !entry_exists {
            trim.exec_async(&mut world.redis().await).await.expect("Redis is available");
        }
        for since in [&only, &positions[0], positions.last().expect("there are positions")] {
            let (_, resumed) = resume(&world, "newest", since).await;
            assert_eq!(resumed["resumed"], true, "{entry_exists}: {resumed}");
        }
    }
    let (mut live, _) = resume(&world, "newest", &only).await;
    post_text(&world, "newest", "next").await;
    assert_eq!(live.texts_until("next").await, ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_newest_position_within_the_window_is_known() {
    let world = start().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=edge")).await;
    // Each message fills a node of the stream, and Redis trims whole nodes.
    let large = |text: &str| json!({"channel": "edge", "text": text, "data": "x".repeat(6_000)});
    world.post_message(&large("older")).await;
    world.post_message(&large("newest")).await;
    live.next_of_type("message").await;
    let newest = frame_position(&live.next_of_type("message").await).to_owned();
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    positions_until(&mut live, Instant::now() + window() + Duration::from_secs(1)).await;
    world.post_message(&large("later")).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let length = async || {
        let (stream, mut redis) = (world.key("messages"), world.redis().await);
        redis::cmd("XLEN").arg(stream).query_async::<usize>(&mut redis).await
    };
    eventually(DEFAULT_TIMEOUT, "older entries are trimmed", async || match length().await {
        Ok(2) => Ok(()),
        other => Err(other),
    })
    .await;

    // A new instance without buffered messages.
    let fresh = start_instance(&world, &[]).await;
    let url = feed_url(&fresh, &format!("channel=edge&since={newest}"));
    let (mut live, resumed) = LiveSocket::connect_with_hello(&url).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(live.texts_until("later").await, ["later"]);
}

#[tokio::test]
async fn position_is_valid_for_other_channels_and_instances() {
    let world = crate::live::shared().await;
    let (_, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=good-a")).await;
    for number in 0..10 {
        post_text(&world, "good-b", &number.to_string()).await;
    }
    for url in world.live_urls(&format!("channel=good-b&since={}", frame_position(&hello))) {
        let (mut live, resumed) = LiveSocket::connect_with_hello(&url).await;
        assert_eq!(
            (&resumed["resumed"], frame_position(&resumed)),
            (&true.into(), frame_position(&hello))
        );
        let texts = live.texts_until("9").await;
        assert_eq!(texts.len(), 10);
    }
}
