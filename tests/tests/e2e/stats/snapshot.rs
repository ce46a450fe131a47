//! The content of snapshots.

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, eventually};
use serde_json::json;

use super::{
    follow_link, get_link, read_announced, setup, start_process, wait_for_first, wait_for_link,
};

#[tokio::test(flavor = "multi_thread")]
async fn next_snapshot_counts_new_messages() {
    let world = setup(1, "2s").start().await;
    wait_for_first(&world).await;
    for (username, city, state) in [
        ("fred", "New York", Some("NY")),
        ("fred", "New York", Some("NY")),
        ("Fred", "Springfield", Some("IL")),
        ("barney", "Springfield", None),
        ("barney ", "New York", Some("NY")),
    ] {
        let message = json!({"text": "x", "username": username, "city": city, "state": state});
        world.post_message(&message).await;
    }
    world.post_message(&json!({"text": "from nowhere, by nobody", "ttl": 0})).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;

    let (snapshot, response) =
        eventually(DEFAULT_TIMEOUT, "the snapshot counts six messages", async || {
            let response = follow_link(&world).await;
            let snapshot = response.expect_status(200);
            if snapshot["messages"]["total"] == 6 {
                Ok((snapshot, response))
            } else {
                Err(snapshot)
            }
        })
        .await;
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.header("cache-control"), "max-age=2");
    assert_eq!(snapshot["result"], "success");
    assert_eq!((&snapshot["cities"], &snapshot["users"]), (&json!(2), &json!(4)), "{snapshot}");
    assert_eq!(snapshot["messages"], json!({"total": 6, "last_hour": 6, "last_minute": 6}));
    let cities = json!([
        {"city": "New York", "state": "NY", "messages": 3},
        {"city": "Springfield", "state": "IL", "messages": 1},
        {"city": "Springfield", "state": null, "messages": 1},
    ]);
    let mut top_cities = snapshot["top_cities"].as_array().expect("an array").clone();
    top_cities[1..].sort_by_key(|city| city["state"].is_null());
    assert_eq!(json!(top_cities), cities, "{snapshot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_snapshot_equals_the_object_in_s3() {
    let world = setup(1, "1h").start().await;
    let object = wait_for_first(&world).await;
    let announced = eventually(DEFAULT_TIMEOUT, "the snapshot is announced", async || {
        let announced = read_announced(&world).await;
        if announced.is_null() { Err(()) } else { Ok(announced) }
    })
    .await;
    assert_eq!(object.to_string(), announced.to_string());
    let names = [
        "mayfly_snapshots_total{result=\"published\"} 1",
        "mayfly_snapshot_duration_seconds_count 1",
        "mayfly_snapshot_age_seconds ",
    ];
    eventually(DEFAULT_TIMEOUT, "the metrics are updated", async || {
        let (_, metrics) = world.admin(Service::StatsPublisher, "/metrics").await;
        let is_present = |name: &&str| metrics.lines().any(|line| line.starts_with(name));
        if names.iter().all(is_present) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_has_the_most_played_videos() {
    let world = setup(1, "1s").start().await;
    let empty = wait_for_link(&world).await;
    assert_eq!(empty["plays"], json!({"total": 0, "videos": 0, "top": []}));
    // Twelve videos with increasing counts, and one with the same count as the last.
    let mut plays = vec![json!({"video_id": "twin"}); 12];
    for number in 1..=12 {
        plays.extend(vec![json!({"video_id": format!("video-{number:02}")}); number]);
    }
    world.post_plays(&plays).await;
    let snapshot = eventually(DEFAULT_TIMEOUT, "the snapshot counts all plays", async || {
        let snapshot = follow_link(&world).await.expect_status(200);
        if snapshot["plays"]["total"] == 90 { Ok(snapshot) } else { Err(snapshot) }
    })
    .await;
    let mut top = vec![json!({"video_id": "twin", "count": 12})];
    top.extend((4..=12).rev().map(|n| json!({"video_id": format!("video-{n:02}"), "count": n})));
    assert_eq!(snapshot["plays"], json!({"total": 90, "videos": 13, "top": top}));
}

/// The last snapshot is in the earlier bucket, and the next one is not due during the test.
#[tokio::test(flavor = "multi_thread")]
async fn object_in_a_new_bucket_or_under_a_new_key_exists_immediately() {
    let world = setup(1, "24h").start().await;
    let snapshot = wait_for_link(&world).await;
    let check = async |setting: (&'static str, &'static str)| {
        let list = start_process(&world, Service::ListApi, &[setting]).await;
        let link = list.url("/stat/get/");
        // A link to a missing object is not returned for long.
        eventually(DEFAULT_TIMEOUT, "the missing object is detected", async || {
            let response = get_link(&link).await;
            if response.status == 503 { Ok(response) } else { Err(response) }
        })
        .await
        .expect_problem(503, "unavailable");
        let _publisher = start_process(&world, Service::StatsPublisher, &[setting]).await;
        let followed = eventually(DEFAULT_TIMEOUT, "the link leads to a snapshot", async || {
            let response = ApiResponse::send(world.http.get(&link)).await;
            if response.status == 200 { Ok(response.json()) } else { Err(response.text()) }
        })
        .await;
        assert_eq!(followed, snapshot, "{setting:?}: nothing new was announced");
    };
    tokio::join!(check(("MESSY_BUCKET", "other-bucket")), check(("MESSY_KEY", "other-key")));
    assert_eq!(read_announced(&world).await, snapshot);
}
