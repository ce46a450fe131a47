//! How far back a client may come.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, Setup, World, eventually,
    live::{Live, Talk},
    short_or_full,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{position_of, say, start_own, url_of};

fn window() -> Duration {
    Duration::from_secs(short_or_full(2, 10))
}

async fn start() -> World {
    let window = format!("{}s", window().as_secs());
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    setup.set("MAYFLY_QUEUE__RESUME_WINDOW", &window).start().await
}

async fn resume(world: &World, channel: &str, since: &str) -> (Live, Value) {
    Live::hello(&world.live(&format!("channel={channel}&since={since}"))).await
}

/// Reads nothing but frames of positions until then; gives them all.
async fn positions_until(live: &mut Live, then: Instant) -> Vec<String> {
    let mut positions = Vec::new();
    while let Ok(text) = timeout_at(then, live.next_text()).await {
        let text = text.expect("the connection stands");
        let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
        assert_eq!(frame["type"], "position", "{frame}");
        positions.push(position_of(&frame).to_owned());
    }
    positions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_on_a_silent_channel_holds_a_position_that_the_window_keeps() {
    let world = start().await;
    let (mut live, hello) = Live::hello(&world.live("channel=silent")).await;
    assert_ne!(say(&world, "silent", "first").await["id"], Value::Null);
    live.texts_until("first").await;
    let (_, before) = Live::hello(&world.live("channel=silent")).await;
    let old = position_of(&before);
    let busy = Talk {
        channel: "busy",
        count: usize::try_from(300 * (window().as_secs() + 3)).expect("few"),
        every: Duration::from_secs(1) / 300,
        bytes: 100,
    };
    let began = Instant::now();
    let talking = tokio::spawn({
        let (busy, world) = (busy.clone(), world.clone());
        async move { busy.post(&world).await }
    });
    // Until nothing is trimmed any more: the last position must still be good.
    let mut positions = Vec::new();
    while !talking.is_finished() {
        let then = Instant::now() + Duration::from_millis(100);
        positions.extend(positions_until(&mut live, then).await);
    }
    talking.await.expect("all is accepted");
    let lasted = began.elapsed();
    println!("{} frames of positions in {lasted:?}", positions.len());
    let thirds = usize::try_from(lasted.as_millis() * 3 / window().as_millis()).expect("few");
    assert!((3..=thirds + 1).contains(&positions.len()), "a third of the window: {positions:?}");
    live.reset();
    let left: usize = redis::cmd("XLEN")
        .arg(world.key("messages"))
        .query_async(&mut world.redis().await)
        .await
        .expect("Redis answers");
    assert!(left < busy.count, "nothing was trimmed, so nothing is shown");

    // An instance that just came, which has nothing left of its own.
    let fresh = start_own(&world, &[]).await;
    let at_fresh = |since: &str| url_of(&fresh, &format!("channel=silent&since={since}"));
    let last = positions.last().expect("there are some");
    let (mut live, resumed) = Live::hello(&at_fresh(last)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(position_of(&resumed), last);
    assert!(resumed.get("reason").is_none(), "{resumed}");
    say(&world, "silent", "second").await;
    assert_eq!(live.texts_until("second").await, ["second"]);

    for (since, reason) in [
        (old, "window"),
        (position_of(&hello), "window"),
        ("garbage", "unknown_position"),
        ("0-0", "unknown_position"),
        (&"x".repeat(256), "unknown_position"),
    ] {
        let (mut live, refused) = Live::hello(&at_fresh(since)).await;
        assert_eq!(refused["resumed"], false, "{since}: {refused}");
        assert_eq!(refused["reason"], reason, "{since}");
        let now = position_of(&refused);
        assert_ne!(now, since);
        say(&world, "silent", since).await;
        assert_eq!(live.texts_until(since).await, [since], "live goes on");
        let (mut again, resumed) = resume(&world, "silent", now).await;
        assert_eq!(resumed["resumed"], true, "what it got instead is good");
        assert_eq!(again.texts_until(since).await, [since]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_point_is_known_however_old_and_also_when_its_entry_is_gone() {
    let world = start().await;
    let (mut live, hello) = Live::hello(&world.live("channel=newest")).await;
    // In a stream in which nothing ever was, too.
    let (_, resumed) = resume(&world, "newest", position_of(&hello)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    say(&world, "newest", "only").await;
    let only = position_of(&live.next_of("message").await).to_owned();
    let (mut first, resumed) = resume(&world, "newest", position_of(&hello)).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(first.texts_until("only").await, ["only"]);
    world.settle(PATIENCE).await;
    let until = Instant::now() + window() + Duration::from_secs(2);
    let positions = positions_until(&mut live, until).await;
    assert!(positions.len() >= 3, "also in a silent system: {positions:?}");
    let mut trim = redis::cmd("XTRIM");
    trim.arg(world.key("messages")).arg("MAXLEN").arg(0);
    for entry_is_there in [true, false] {
        if !entry_is_there {
            trim.exec_async(&mut world.redis().await).await.expect("Redis answers");
        }
        for since in [&only, &positions[0], positions.last().expect("there are some")] {
            let (_, resumed) = resume(&world, "newest", since).await;
            assert_eq!(resumed["resumed"], true, "{entry_is_there}: {resumed}");
        }
    }
    let (mut live, _) = resume(&world, "newest", &only).await;
    say(&world, "newest", "next").await;
    assert_eq!(live.texts_until("next").await, ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_the_newest_point_within_the_window_is_known_when_more_has_come() {
    let world = start().await;
    let (mut live, _) = Live::hello(&world.live("channel=edge")).await;
    // Each fills a node of the stream, which is trimmed as a whole.
    let large = |text: &str| json!({"channel": "edge", "text": text, "data": "x".repeat(6_000)});
    world.post_message(&large("older")).await;
    world.post_message(&large("newest")).await;
    live.next_of("message").await;
    let newest = position_of(&live.next_of("message").await).to_owned();
    world.settle(PATIENCE).await;
    positions_until(&mut live, Instant::now() + window() + Duration::from_secs(1)).await;
    world.post_message(&large("later")).await;
    world.settle(PATIENCE).await;
    let length = async || {
        let (stream, mut redis) = (world.key("messages"), world.redis().await);
        redis::cmd("XLEN").arg(stream).query_async::<usize>(&mut redis).await
    };
    eventually(PATIENCE, "what is older is trimmed", async || match length().await {
        Ok(2) => Ok(()),
        other => Err(other),
    })
    .await;

    // An instance that just came, which has nothing left of its own.
    let fresh = start_own(&world, &[]).await;
    let url = url_of(&fresh, &format!("channel=edge&since={newest}"));
    let (mut live, resumed) = Live::hello(&url).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(live.texts_until("later").await, ["later"]);
}

#[tokio::test]
async fn a_position_is_good_for_other_channels_and_at_every_instance() {
    let world = super::shared().await;
    let (_, hello) = Live::hello(&world.live("channel=good-a")).await;
    for number in 0..10 {
        say(&world, "good-b", &number.to_string()).await;
    }
    for url in world.lives(&format!("channel=good-b&since={}", position_of(&hello))) {
        let (mut live, resumed) = Live::hello(&url).await;
        assert_eq!(
            (&resumed["resumed"], position_of(&resumed)),
            (&true.into(), position_of(&hello))
        );
        let texts = live.texts_until("9").await;
        assert_eq!(texts.len(), 10);
    }
}
