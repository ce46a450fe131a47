//! What a snapshot says.

use mayfly_stack::Service;
use mayfly_tests::{PATIENCE, eventually};
use serde_json::json;

use super::{follow, read_announced, setup, wait_for_first};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_snapshot_after_messages_has_their_numbers_and_is_found_by_the_redirect() {
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
    world.settle(PATIENCE).await;

    let (snapshot, answer) = eventually(PATIENCE, "it counts six", async || {
        let answer = follow(&world).await;
        let snapshot = answer.expect(200);
        if snapshot["messages"]["total"] == 6 { Ok((snapshot, answer)) } else { Err(snapshot) }
    })
    .await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "max-age=2");
    assert_eq!(snapshot["result"], "success");
    assert_eq!((&snapshot["cities"], &snapshot["users"]), (&json!(2), &json!(4)), "{snapshot}");
    assert_eq!(snapshot["messages"], json!({"total": 6, "last_hour": 6, "last_minute": 6}));
    let cities = json!([
        {"city": "New York", "state": "NY", "messages": 3},
        {"city": "Springfield", "state": "IL", "messages": 1},
        {"city": "Springfield", "state": null, "messages": 1},
    ]);
    let mut seen = snapshot["top_cities"].as_array().expect("there are cities").clone();
    seen[1..].sort_by_key(|city| city["state"].is_null());
    assert_eq!(json!(seen), cities, "{snapshot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_lies_in_s3_byte_by_byte_and_is_counted() {
    let world = setup(1, "1h").start().await;
    let object = wait_for_first(&world).await;
    let announced = eventually(PATIENCE, "it is announced", async || {
        let announced = read_announced(&world).await;
        if announced.is_null() { Err(()) } else { Ok(announced) }
    })
    .await;
    assert_eq!(object.to_string(), announced.to_string());
    let names = [
        "mayfly_snapshots_total{result=\"published\"} 1",
        "mayfly_snapshot_seconds_count 1",
        "mayfly_snapshot_age_seconds ",
    ];
    eventually(PATIENCE, "it is counted", async || {
        let (_, metrics) = world.admin(Service::StatsPublisher, "/metrics").await;
        let is_told = |name: &&str| metrics.lines().any(|line| line.starts_with(name));
        if names.iter().all(is_told) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_says_what_was_played_most() {
    let world = setup(1, "1s").start().await;
    let none = wait_for_first(&world).await;
    assert_eq!(none["plays"], json!({"total": 0, "videos": 0, "top": []}));
    // Twelve videos, the last one played most; the two most played ones as often as each other.
    let mut plays = vec![json!({"video_id": "twin"}); 12];
    for number in 1..=12 {
        plays.extend(vec![json!({"video_id": format!("video-{number:02}")}); number]);
    }
    world.post_plays(&plays).await;
    let snapshot = eventually(PATIENCE, "it counts them all", async || {
        let snapshot = follow(&world).await.expect(200);
        if snapshot["plays"]["total"] == 90 { Ok(snapshot) } else { Err(snapshot) }
    })
    .await;
    let mut top = vec![json!({"video_id": "twin", "count": 12})];
    top.extend((4..=12).rev().map(|n| json!({"video_id": format!("video-{n:02}"), "count": n})));
    assert_eq!(snapshot["plays"], json!({"total": 90, "videos": 13, "top": top}));
}
