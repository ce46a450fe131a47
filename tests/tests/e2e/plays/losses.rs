//! Redis loses its data: counts come from Postgres, no play counts twice, and losses are reported.

use std::time::Duration;

use mayfly_stack::{Paths, ProcessKind, Service};
use mayfly_tests::{Counts, DEFAULT_TIMEOUT, PlaysRecorder, Setup, World, copy_dir, eventually};
use serde_json::{Value, json};

use super::{plays_of, videos};

async fn start() -> World {
    setup().start().await
}

fn setup() -> Setup {
    Setup::new()
        .dedicated_servers()
        .scale(Service::StatsPublisher, 1)
        .scale(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", "3s")
}

/// Posts plays until a freshly started Redis accepts them. Rejected requests do not count, and no
/// response is lost here.
async fn post_until_accepted(world: &World, plays: &Value) {
    eventually(DEFAULT_TIMEOUT, "plays are accepted again", async || {
        match world.http.post(world.ingest_url("/v1/plays")).json(plays).send().await {
            Ok(response) if response.status() == 202 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn flush(world: &World) {
    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushall_with_an_empty_queue_keeps_counts_exact() {
    let world = start().await;
    let published = PlaysRecorder::record(&world, "").await;
    let mut counts = videos("small", 40, 5);
    counts.extend(videos("large", 30, 120));
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    // Large counts that are not yet published are lost in Redis, too.
    let more = videos("large", 10, 7);
    world.post_plays(&plays_of(&more)).await;
    for (video, plays) in more {
        *counts.entry(video).or_default() += plays;
    }
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    flush(&world).await;
    assert_eq!(world.list_counts().await, counts, "immediately, from Postgres");
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    world.play(&["small-0000", "large-0000", "new"]).await;
    for (video, plays) in [("small-0000", 1), ("large-0000", 1), ("new", 1)] {
        *counts.entry(video.to_owned()).or_default() += plays;
    }
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    published.assert_valid();
    let (passed, output) = world.audit().await;
    assert!(passed, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushall_with_queued_plays_reports_the_loss_and_counts_nothing_twice() {
    // A long retry delay, so that the rejected entry is lost before it is dead-lettered.
    let world = setup().set("MAYFLY_PERSIST__RETRY_AFTER", "60s").start().await;
    let published = PlaysRecorder::record(&world, "").await;
    let mut counts = videos("kept", 20, 6);
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    let wait_until_observed = async |accepted: i64| {
        eventually(DEFAULT_TIMEOUT, "the ledger has the accepted plays", async || {
            let observed = "SELECT max(accepted) FROM ledger WHERE kind = 'plays'";
            let observed = world.query_count(observed).await;
            if observed == accepted { Ok(()) } else { Err(observed) }
        })
        .await;
    };
    wait_until_observed(120).await;
    // Plays that Postgres rejects and the workers keep retrying.
    let constraint = "ALTER TABLE play_counts ADD CHECK (video_id <> 'lost')";
    world.postgres().await.execute(constraint, &[]).await.expect("the constraint is added");
    world.post_plays(&vec![json!({"video_id": "lost"}); 30]).await;
    wait_until_observed(150).await;
    flush(&world).await;
    let after = videos("after", 10, 3);
    world.post_plays(&plays_of(&after)).await;
    world.play(&["kept-0000"]).await;
    counts.extend(after);
    counts.insert("kept-0000".into(), 7);
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    published.assert_valid();
    eventually(DEFAULT_TIMEOUT, "the audit reports the loss", async || {
        let (passed, output) = world.audit().await;
        let reported = output.contains("plays accepted 150, stored 120, dead-lettered 0, lost: 30");
        if passed && reported { Ok(()) } else { Err(output) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_kill_and_restart_counts_nothing_twice() {
    let world = start().await;
    let published = PlaysRecorder::record(&world, "").await;
    let mut counts = Counts::new();
    for round in 0..3_u64 {
        let plays = videos("killed", 20, 10);
        world.post_plays(&plays_of(&plays)).await;
        for (video, plays) in plays {
            *counts.entry(video).or_default() += plays;
        }
        // Redis has synced everything accepted by then.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let pid = world.stack.env().pids(ProcessKind::Redis)[0];
        mayfly_tests::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
        post_until_accepted(
            &world,
            &json!({"video_id": "between", "play_id": format!("round {round}")}),
        )
        .await;
        *counts.entry("between".to_owned()).or_default() += 1;
    }
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    published.assert_valid();
}

/// Redis restarts from a copy without the latest acknowledgments, counts and publications.
#[tokio::test(flavor = "multi_thread")]
async fn redis_restored_from_a_copy_publishes_no_older_count_and_counts_nothing_twice() {
    let world = start().await;
    let published = PlaysRecorder::record(&world, "").await;
    let counts = videos("old", 30, 4);
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&counts, DEFAULT_TIMEOUT).await;
    let data = Paths::new(&world.spec.root).data_dir().join("redis");
    let copy = world.spec.root.join("redis-copy");
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    copy_dir(&data, &copy);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    let mut newer = counts;
    let more = videos("old", 20, 9);
    post_until_accepted(&world, &json!(plays_of(&more))).await;
    for (video, plays) in more {
        *newer.entry(video).or_default() += plays;
    }
    world.wait_for_counts(&newer, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&newer, DEFAULT_TIMEOUT).await;
    eventually(DEFAULT_TIMEOUT, "the published counts are stored", async || {
        let published_sum = "SELECT sum(count)::bigint FROM published_counts";
        match u64::try_from(world.query_count(published_sum).await) {
            Ok(published_sum) if published_sum == newer.values().sum::<u64>() => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data is removed");
    copy_dir(&copy, &data);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    let last = videos("old", 10, 1);
    post_until_accepted(&world, &json!(plays_of(&last))).await;
    for (video, plays) in last {
        *newer.entry(video).or_default() += plays;
    }
    world.wait_for_counts(&newer, DEFAULT_TIMEOUT).await;
    published.wait_for_last(&newer, DEFAULT_TIMEOUT).await;
    published.assert_valid();
}
