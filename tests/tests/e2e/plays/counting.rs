//! Counting plays.

use std::time::Duration;

use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{ApiResponse, Counts, DEFAULT_TIMEOUT, Setup, World, eventually};
use serde_json::{Value, json};

use super::{ledger, plays_of, videos};

#[tokio::test]
async fn single_plays_and_batches_are_counted_per_video() {
    let world = Setup::new().start().await;
    let names = ["plain", "with/slash", "with blank", "ü\"\\🦋", &"🦋".repeat(128), "a\tb"];
    for name in names {
        let response = world.post("/v1/plays", &json!({"video_id": name})).await;
        assert_eq!(response.status(), 202);
        assert_eq!(response.json::<Value>().await.expect("valid JSON"), json!({"accepted": 1}));
    }
    world.play(&[names[0], names[1], names[0]]).await;
    world.wait_for_count(names[0], 3).await;
    for (name, count) in names.into_iter().zip([3, 2, 1, 1, 1, 1]) {
        world.wait_for_count(name, count).await;
    }
    let counts = names.map(str::to_owned).into_iter().zip([3, 2, 1, 1, 1, 1]).collect();
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    let (_, read) = world.get("/v1/plays/plain").await;
    let fields: Vec<_> = read.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["count", "updated_at", "video_id"]);
    assert_eq!(world.get("/v1/plays/never").await.0, 404);
    assert_eq!(ledger(&world).await, [9, 9, 0, 0]);
}

#[tokio::test]
async fn play_with_id_counts_once_per_video_and_without_id_every_time() {
    let world = Setup::new().start().await;
    let with_id: Vec<_> = (0..50)
        .map(|n| json!({"video_id": format!("v{}", n % 5), "play_id": format!("p{n}")}))
        .collect();
    let without_id = vec![json!({"video_id": "v0"}); 10];
    for _ in 0..2 {
        world.post_plays(&with_id).await;
        world.post_plays(&without_id).await;
    }
    // The ID is scoped to the video; a duplicate in one request counts once.
    let other = json!({"video_id": "other", "play_id": "p0"});
    world.post_plays(&[other.clone(), other.clone(), json!({"video_id": "other"})]).await;
    world.post_plays(&[other]).await;
    let mut counts: Counts = videos("x", 0, 0);
    counts.extend((0..5).map(|n| (format!("v{n}"), if n == 0 { 30 } else { 10 })));
    counts.insert("other".into(), 2);
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    assert_eq!(ledger(&world).await, [124, 124, 0, 0], "duplicates are processed");
}

#[tokio::test]
async fn play_id_is_stored_for_24_hours_and_then_pruned() {
    let world = Setup::new().start().await;
    let play = [json!({"video_id": "day", "play_id": "p"})];
    world.post_plays(&play).await;
    world.wait_for_count("day", 1).await;
    let postgres = world.postgres().await;
    let age = async |age: &str| {
        let sql = format!("UPDATE known_plays SET enqueued_at = now() - interval '{age}'");
        assert_eq!(postgres.execute(&sql, &[]).await.expect("the query works"), 1);
    };
    age("23 hours 59 minutes").await;
    world.post_plays(&play).await;
    world.play(&["day"]).await;
    world.wait_for_count("day", 2).await;
    age("24 hours 1 second").await;
    world.post_plays(&play).await;
    world.wait_for_count("day", 3).await;
    // Moves the IDs to tomorrow's partition, which contains the IDs of three days ago.
    let move_to_tomorrow = "WITH moved AS (DELETE FROM known_plays RETURNING play, enqueued_at) \
         INSERT INTO known_plays SELECT (extract(epoch FROM now())::bigint / 86400 + 1) % 4, play, enqueued_at FROM moved";
    postgres.execute(move_to_tomorrow, &[]).await.expect("the query works");
    eventually(DEFAULT_TIMEOUT, "the IDs are pruned", async || {
        match world.query_count("SELECT count(*) FROM known_plays").await {
            0 => Ok(()),
            remaining => Err(remaining),
        }
    })
    .await;
}

#[tokio::test]
async fn concurrent_requests_with_one_idempotency_key_count_once() {
    let world = Setup::new().scale(Service::IngestApi, 2).start().await;
    let urls = world.urls(Service::IngestApi);
    let send = |n: usize, plays: Value| {
        let url = format!("{}/v1/plays", urls[n % urls.len()]);
        ApiResponse::send(world.http.post(url).header("idempotency-key", "once").json(&plays))
    };
    let plays = json!([{"video_id": "once"}, {"video_id": "once"}]);
    let all = futures_util::future::join_all((0..64).map(|n| send(n, plays.clone()))).await;
    let mut replayed = 0;
    for response in &all {
        assert_eq!(response.expect_status(202), json!({"accepted": 2}));
        replayed += usize::from(response.headers.contains_key("idempotent-replayed"));
    }
    assert_eq!(replayed, 63);
    let other = send(0, json!({"video_id": "once"})).await;
    other.expect_problem(422, "idempotency_key_reused");
    world.play(&["after"]).await;
    world.wait_for_count("after", 1).await;
    world.wait_for_count("once", 2).await;
}

#[tokio::test]
async fn counts_are_readable_and_plays_accepted_while_postgres_is_stopped() {
    let world = Setup::new().dedicated_servers().start().await;
    world.play(&["a", "a", "b"]).await;
    world.wait_for_count("a", 2).await;
    world.wait_for_count("b", 1).await;
    world.stack.stop(ProcessKind::Postgres).await.expect("Postgres stops");
    let counts: Counts = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
    assert_eq!(world.list_counts().await, counts);
    assert_eq!(world.get("/v1/plays/never").await.0, 404);
    world.play(&["a"]).await;
    world.stack.start(ProcessKind::Postgres).await.expect("Postgres starts");
    world.wait_for_count("a", 3).await;
}

#[tokio::test]
async fn totals_and_top_videos_match_the_counts() {
    let world = Setup::new().start().await;
    let mut counts = videos("few", 15, 2);
    counts.extend((0..12).map(|n| (format!("many-{n:02}"), 10 + n)));
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    let postgres = world.postgres().await;
    let sums = postgres.query_one("SELECT plays, videos FROM play_totals", &[]).await;
    let sums = sums.expect("the query works");
    let (plays, videos): (i64, i64) = (sums.get(0), sums.get(1));
    assert_eq!(u64::try_from(plays).ok(), Some(counts.values().sum()));
    assert_eq!(usize::try_from(videos).ok(), Some(counts.len()));
    let top: String = postgres
        .query_one("SELECT list::text FROM top_videos", &[])
        .await
        .expect("the query works")
        .get(0);
    let top: Vec<Value> = serde_json::from_str(&top).expect("valid JSON");
    let best: Vec<_> = top.iter().map(|one| one["count"].as_u64().expect("a count")).collect();
    assert_eq!(best, (12..22).rev().collect::<Vec<_>>());
    assert_eq!(top[0], json!({"video_id": "many-11", "count": 21}));
    let (_, page) = world.get("/v1/plays?limit=1").await;
    assert_eq!(page["items"][0]["video_id"], "many-11");
}

#[tokio::test]
async fn stream_entry_has_plays_id_and_enqueue_time() {
    let world = World::shared().await;
    let before = SystemClock.now();
    world.play(&["entry/of a queue"]).await;
    let mut redis = world.redis().await;
    let mut all = redis::cmd("XRANGE");
    all.arg(world.key("plays")).arg("-").arg("+");
    let entries: Vec<(String, Vec<(String, String)>)> =
        all.query_async(&mut redis).await.expect("Redis responds");
    let entry = entries
        .iter()
        .flat_map(|(_, fields)| fields)
        .find(|(name, body)| name == "plays.v1" && body.contains("entry/of a queue"));
    let entry: Value =
        serde_json::from_str(&entry.expect("the play is queued").1).expect("valid JSON");
    assert_eq!(entry["plays"], json!([{"video_id": "entry/of a queue"}]));
    assert!(uuid::Uuid::try_parse(entry["id"].as_str().expect("an id")).is_ok());
    let at: Timestamp = serde_json::from_str(&entry["enqueued_at"].to_string()).expect("a time");
    assert!(before <= at && at <= before.plus(Duration::from_secs(5)), "{entry}");
}
