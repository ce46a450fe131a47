//! Counts are published: small ones at once, large ones at the tick, each once, by one publisher.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::{Clock, SystemClock};
use mayfly_stack::Service;
use mayfly_tests::{
    Answer, Counts, PATIENCE, Published, Setup, World, eventually, live::Live, send_signal,
    short_or_full,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};

use super::{plays_of, videos};

fn setup(interval: &str) -> Setup {
    Setup::new()
        .with(Service::StatsPublisher, 1)
        .with(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", interval)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_count_is_seen_within_250_ms_of_its_play() {
    let world = setup("30s").start().await;
    let published = Published::record(&world, "").await;
    // 1,000 plays a second, each of the next video, so that each count is new and small.
    let seconds = short_or_full(3, 30);
    let requests = 100 * seconds;
    let mut posted: Vec<(String, Instant)> = Vec::new();
    let mut ticks = interval(Duration::from_millis(10));
    for request in 0..requests {
        ticks.tick().await;
        let names: Vec<_> = (0..10).map(|n| format!("small-{:05}", request * 10 + n)).collect();
        let at = Instant::now();
        world.play(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        posted.extend(names.into_iter().map(|name| (name, at)));
    }
    let counts: Counts = posted.iter().map(|(name, _)| (name.clone(), 1)).collect();
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
    let frames = published.frames();
    let seen = frames.iter().flat_map(|frame| frame.counts.iter().map(|one| (&one.0, frame.at)));
    let seen: std::collections::HashMap<_, _> = seen.collect();
    let mut late: Vec<_> =
        posted.iter().map(|(name, at)| seen[name].duration_since((*at).into_std())).collect();
    late.sort_unstable();
    let (half, p99) = (late[late.len() / 2], late[late.len() * 99 / 100]);
    println!("{} plays: seen after p50 {half:?}, p99 {p99:?}, all {:?}", late.len(), late.last());
    // With other tests beside it, everything takes its turn.
    assert!(p99 < Duration::from_millis(short_or_full(1_000, 250)), "{p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_busy_videos_are_four_frames_a_tick_and_no_count_is_older_than_the_interval() {
    let interval_ms = 2_000;
    let world = setup("2s").start().await;
    let published = Published::record(&world, "").await;
    let counts = videos("busy", 80, 150);
    world.post_plays(&plays_of(&counts)).await;
    published.until_last_are(&counts, PATIENCE).await;
    let before = published.frames().len();
    let ticks = short_or_full(3, 15);
    let until = Instant::now() + Duration::from_millis(interval_ms) * ticks;
    let mut counts = counts;
    let one_each: Vec<_> = counts.keys().map(|video| json!({"video_id": video})).collect();
    let mut pace = interval(Duration::from_millis(50));
    while Instant::now() < until {
        pace.tick().await;
        world.post_plays(&one_each).await;
        for count in counts.values_mut() {
            *count += 1;
        }
    }
    let done = std::time::Instant::now();
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
    let frames = published.frames().split_off(before);
    let old = frames.last().expect("there are frames").at.duration_since(done);
    assert!(old < Duration::from_millis(interval_ms + short_or_full(4_000, 1_000)), "{old:?}");
    // Ticks are where the time divides by the interval.
    let (now, clock) = (std::time::Instant::now(), SystemClock.now());
    let mut by_tick: BTreeMap<u128, Vec<usize>> = BTreeMap::new();
    for frame in &frames {
        let at = u128::try_from(clock.as_millis()).expect("it is after 1970")
            - now.duration_since(frame.at).as_millis();
        by_tick.entry(at / u128::from(interval_ms)).or_default().push(frame.counts.len());
    }
    let bursts: Vec<_> = by_tick.into_values().collect();
    println!("{bursts:?}");
    assert!(bursts.iter().all(|burst| *burst == [20; 4]), "{bursts:?}");
    let ticks = usize::try_from(ticks).expect("few");
    assert!((ticks..=ticks + 2).contains(&bursts.len()), "{bursts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_100_a_count_waits_for_the_tick_and_what_does_not_change_is_not_sent() {
    let world = setup("6s").start().await;
    let published = Published::record(&world, "").await;
    world.play(&["edge"; 99]).await;
    published.until_last_are(&[("edge".to_owned(), 99)].into(), PATIENCE).await;
    // Right after a tick.
    let now = SystemClock.now().as_millis();
    sleep(Duration::from_millis(u64::try_from(6_000 - now % 6_000 + 200).expect("a time"))).await;
    let at = Instant::now();
    world.play(&["edge"]).await;
    world.until_counted("edge", 100).await;
    sleep(Duration::from_millis(1_000)).await;
    assert_eq!(published.last()["edge"], 99, "{:?} after the play", at.elapsed());
    published.until_last_are(&[("edge".to_owned(), 100)].into(), PATIENCE).await;
    let frames = published.frames().len();
    sleep(Duration::from_millis(6_500)).await;
    assert_eq!(published.frames().len(), frames, "nothing changed, nothing is sent");
    published.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_publishers_one_publishes_and_when_it_is_killed_another_does() {
    let world = setup("1s").with(Service::StatsPublisher, 3).start().await;
    let published = Published::record(&world, "").await;
    let mut counts = Counts::new();
    for round in 0..short_or_full(2, 10) {
        let leader = leader_of(&world).await;
        send_signal(leader, Signal::SIGKILL);
        let killed = Instant::now();
        let few = videos(&format!("round-{round}"), 30, 2);
        let mut plays = plays_of(&few);
        plays.extend(vec![json!({"video_id": "large"}); 150]);
        world.post_plays(&plays).await;
        counts.extend(few);
        *counts.entry("large".to_owned()).or_default() += 150;
        published.until_last_include(&counts, PATIENCE).await;
        println!("published {:?} after the leader was killed", killed.elapsed());
    }
    published.assert_sound();
}

/// The process that publishes counts: the others say that they do not.
async fn leader_of(world: &World) -> u32 {
    world.play(&[&format!("who-{}", uuid::Uuid::now_v7())]).await;
    let before = frames_by_process(world).await;
    eventually(PATIENCE, "somebody publishes", async || {
        world.play(&[&format!("who-{}", uuid::Uuid::now_v7())]).await;
        let now = frames_by_process(world).await;
        let leads = now.iter().zip(&before).position(|(now, before)| now > before);
        leads.map(|place| world.stack.env().pids(Service::StatsPublisher)[place]).ok_or(())
    })
    .await
}

async fn frames_by_process(world: &World) -> Vec<u64> {
    let mut all = Vec::new();
    for url in world.stack.env().admin_urls(Service::StatsPublisher) {
        let metrics = Answer::of(world.http.get(format!("{url}/metrics"))).await.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("mayfly_play_frames_total "));
        all.push(line.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_some_videos_gets_these_alone_and_one_of_messages_gets_none() {
    let world = setup("1s").start().await;
    let of_two = Published::record(&world, "&video=pick-0003&video=pick-0017&video=never").await;
    let all = Published::record(&world, "").await;
    let (mut messages, _) = Live::hello(&world.live("channel=plays-none")).await;
    let mut counts = videos("pick", 25, 3);
    counts.insert("pick-0003".into(), 130);
    world.post_plays(&plays_of(&counts)).await;
    all.until_last_are(&counts, PATIENCE).await;
    let two: Counts = [("pick-0003".to_owned(), 130), ("pick-0017".to_owned(), 3)].into();
    of_two.until_last_are(&two, PATIENCE).await;
    of_two.assert_sound();
    let message = json!({"channel": "plays-none", "text": "the first that comes"});
    world.post_message(&message).await;
    assert_eq!(messages.next_frame().await["type"], "message");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_counts_come_as_server_sent_events() {
    let world = setup("1s").start().await;
    let url = world.url(Service::WsFanout, "/v1/events?feed=plays&video=event");
    let mut answer = world.http.get(url).send().await.expect("it is answered");
    let mut heard = String::new();
    world.play(&["event", "other"]).await;
    while !heard.contains("\"plays\"") {
        let chunk = answer.chunk().await.expect("it goes on").expect("it does not end");
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    let line = heard.lines().find_map(|line| line.strip_prefix("data: {\"type\":\"plays\""));
    let frame = format!("{{\"type\":\"plays\"{}", line.expect("a frame is a line"));
    let frame: Value = serde_json::from_str(&frame).expect("it is JSON");
    assert_eq!(frame["counts"], json!([{"video_id": "event", "count": 1}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_off_from_redis_nobody_misses_a_count() {
    let world = Setup::new()
        .own_servers()
        .with(Service::StatsPublisher, 1)
        .with(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", "1s")
        .start()
        .await;
    let published = Published::record(&world, "").await;
    let mut counts = Counts::new();
    let mut redis = world.redis().await;
    for round in 0..short_or_full(10, 100) {
        let few = videos(&format!("cut-{round}"), 5, 3);
        let mut plays = plays_of(&few);
        plays.extend(vec![json!({"video_id": "large"}); 40]);
        for (number, play) in plays.iter_mut().enumerate() {
            play["play_id"] = format!("{round}-{number}").into();
        }
        // Whose way to Redis is cut does not know what became of it, and reports again.
        eventually(PATIENCE, "it is accepted", async || {
            let answer = Answer::of(world.http.post(world.ingest("/v1/plays")).json(&plays)).await;
            if answer.status == 202 { Ok(()) } else { Err(answer.status) }
        })
        .await;
        counts.extend(few);
        *counts.entry("large".to_owned()).or_default() += 40;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(["normal", "pubsub"][round % 2]).arg("SKIPME").arg("yes");
        kill.exec_async(&mut redis).await.expect("Redis answers");
        sleep(Duration::from_millis(100)).await;
    }
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
}
