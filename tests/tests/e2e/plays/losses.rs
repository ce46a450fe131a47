//! Redis loses its data: counts are those of Postgres, nothing doubles, what is lost is named.

use std::time::Duration;

use mayfly_stack::{Part, Paths, Service};
use mayfly_tests::{Counts, PATIENCE, Published, Setup, World, copy_dir, eventually};
use serde_json::{Value, json};

use super::{plays_of, videos};

async fn start() -> World {
    setup().start().await
}

fn setup() -> Setup {
    Setup::new()
        .own_servers()
        .with(Service::StatsPublisher, 1)
        .with(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", "3s")
}

/// Posts these plays until they are accepted: Redis has just been started. What was refused is not
/// counted, and none of these tests cuts an answer off.
async fn until_accepted(world: &World, plays: &Value) {
    eventually(PATIENCE, "plays are accepted again", async || {
        match world.http.post(world.ingest("/v1/plays")).json(plays).send().await {
            Ok(answer) if answer.status() == 202 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn flush(world: &World) {
    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis forgets");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_flushall_with_an_empty_queue_counts_are_exact_everywhere_and_none_comes_twice() {
    let world = start().await;
    let published = Published::record(&world, "").await;
    let mut counts = videos("small", 40, 5);
    counts.extend(videos("large", 30, 120));
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    published.until_last_are(&counts, PATIENCE).await;
    // Large counts that are counted and not yet published go with Redis, too.
    let more = videos("large", 10, 7);
    world.post_plays(&plays_of(&more)).await;
    for (video, plays) in more {
        *counts.entry(video).or_default() += plays;
    }
    world.until_counts_are(&counts, PATIENCE).await;
    flush(&world).await;
    assert_eq!(world.counts_by_get().await, counts, "at once, from Postgres");
    published.until_last_are(&counts, PATIENCE).await;
    world.play(&["small-0000", "large-0000", "new"]).await;
    for (video, plays) in [("small-0000", 1), ("large-0000", 1), ("new", 1)] {
        *counts.entry(video.to_owned()).or_default() += plays;
    }
    world.until_counts_are(&counts, PATIENCE).await;
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
    let (adds_up, words) = world.audit().await;
    assert!(adds_up, "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_flushall_with_plays_queued_the_lost_ones_are_named_and_nothing_doubles() {
    // What is refused once waits longer than this takes: it is not a dead letter before it is lost.
    let world = setup().set("MAYFLY_PERSIST__RETRY_AFTER", "60s").start().await;
    let published = Published::record(&world, "").await;
    let mut counts = videos("kept", 20, 6);
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    let until_observed = async |accepted: i64| {
        eventually(PATIENCE, "it is written down", async || {
            let seen = "SELECT max(accepted) FROM ledger WHERE kind = 'plays'";
            let seen = world.count(seen).await;
            if seen == accepted { Ok(()) } else { Err(seen) }
        })
        .await;
    };
    until_observed(120).await;
    // What nobody counts: Postgres takes no count of it, and the workers try on.
    let rule = "ALTER TABLE play_counts ADD CHECK (video_id <> 'lost')";
    world.postgres().await.execute(rule, &[]).await.expect("the table takes a rule");
    world.post_plays(&vec![json!({"video_id": "lost"}); 30]).await;
    until_observed(150).await;
    flush(&world).await;
    let after = videos("after", 10, 3);
    world.post_plays(&plays_of(&after)).await;
    world.play(&["kept-0000"]).await;
    counts.extend(after);
    counts.insert("kept-0000".into(), 7);
    world.until_counts_are(&counts, PATIENCE).await;
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
    eventually(PATIENCE, "the lost ones are named", async || {
        let (adds_up, words) = world.audit().await;
        let named = words.contains("plays accepted 150, stored 120, dead-lettered 0, lost: 30");
        if adds_up && named { Ok(()) } else { Err(words) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_back_doubles_nothing() {
    let world = start().await;
    let published = Published::record(&world, "").await;
    let mut counts = Counts::new();
    for round in 0..3_u64 {
        let plays = videos("killed", 20, 10);
        world.post_plays(&plays_of(&plays)).await;
        for (video, plays) in plays {
            *counts.entry(video).or_default() += plays;
        }
        // All that was accepted is on the disk of Redis by then.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let pid = world.stack.env().pids(Part::Redis)[0];
        mayfly_tests::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
        until_accepted(
            &world,
            &json!({"video_id": "between", "play_id": format!("round {round}")}),
        )
        .await;
        *counts.entry("between".to_owned()).or_default() += 1;
    }
    world.until_counts_are(&counts, PATIENCE).await;
    published.until_last_are(&counts, PATIENCE).await;
    published.assert_sound();
}

/// Nothing of what came last is on the disk of Redis: acknowledgements, what was shown, what was
/// published.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_came_back_older_publishes_nothing_older_and_doubles_nothing() {
    let world = start().await;
    let published = Published::record(&world, "").await;
    let counts = videos("old", 30, 4);
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    published.until_last_are(&counts, PATIENCE).await;
    let data = Paths::new(&world.spec.root).home().join("redis");
    let copy = world.spec.root.join("redis-copy");
    world.stack.stop(Part::Redis).await.expect("Redis stops");
    copy_dir(&data, &copy);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    let mut newer = counts;
    let more = videos("old", 20, 9);
    until_accepted(&world, &json!(plays_of(&more))).await;
    for (video, plays) in more {
        *newer.entry(video).or_default() += plays;
    }
    world.until_counts_are(&newer, PATIENCE).await;
    published.until_last_are(&newer, PATIENCE).await;
    eventually(PATIENCE, "what was published is noted", async || {
        let noted = "SELECT sum(count)::bigint FROM published_counts";
        match u64::try_from(world.count(noted).await) {
            Ok(noted) if noted == newer.values().sum::<u64>() => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.stack.stop(Part::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data can be removed");
    copy_dir(&copy, &data);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    let last = videos("old", 10, 1);
    until_accepted(&world, &json!(plays_of(&last))).await;
    for (video, plays) in last {
        *newer.entry(video).or_default() += plays;
    }
    world.until_counts_are(&newer, PATIENCE).await;
    published.until_last_are(&newer, PATIENCE).await;
    published.assert_sound();
}
