//! Rollups equal a count over all stored messages.

mod cost;
mod counts;
mod fill;
mod kills;

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_tests::{DEFAULT_TIMEOUT, Setup, World};
use serde_json::{Value, json};

use counts::Counts;

const PROCESS_TIMEOUT: Duration = DEFAULT_TIMEOUT;

/// Returns messages of different cities and users whose names have this prefix.
fn messages(prefix: &str, count: usize, cities: usize, users: usize) -> Vec<Value> {
    let message = |number: usize| {
        json!({
            "text": format!("{prefix} {number}"),
            "city": format!("{prefix} city {}", number % cities),
            "state": if number.is_multiple_of(2) { "NY" } else { "CA" },
            "username": format!("{prefix} user {}", number % users),
        })
    };
    (0..count).map(message).collect()
}

async fn post_batch(world: &World, messages: &[Value]) {
    let response = world.post("/v1/messages/batch", &json!(messages)).await;
    assert_eq!(response.status(), 202);
}

fn later(now: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() + millis)
}

#[tokio::test]
async fn rollups_add_new_cities_and_users_and_ignore_deletions() {
    let world = Setup::new().start().await;
    let counts = Counts::new(&world);
    post_batch(&world, &messages("old", 40, 3, 5)).await;
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    let before = counts.assert_consistent().await;
    assert_eq!((before.messages.total, before.cities, before.users), (40, 3, 5));

    let mut batch = messages("new", 30, 7, 11);
    // A known user and city, and messages without city or user.
    batch.push(json!({"text": "again", "city": "old city 0", "username": "old user 1"}));
    batch.push(json!({"text": "from nobody"}));
    batch.push(json!({"text": "from somewhere", "state": "NY"}));
    post_batch(&world, &batch).await;
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    let after = counts.assert_consistent().await;
    assert_eq!((after.messages.total, after.cities, after.users), (73, 3 + 7, 5 + 11));

    let postgres = world.postgres().await;
    postgres.batch_execute("DELETE FROM messages").await.expect("the rows are deleted");
    let after_deletion = counts.read().await.expect("the rollups exist");
    assert_eq!(
        (after_deletion.messages.total, after_deletion.cities, after_deletion.users),
        (73, 10, 16)
    );
    assert_eq!(after_deletion.top_cities, after.top_cities);
}

#[tokio::test]
async fn cities_are_distinguished_by_exact_name_and_not_by_state() {
    let world = Setup::new().start().await;
    let cities = [
        ("Springfield", Some("IL"), 4),
        ("Springfield", Some("MA"), 3),
        ("Springfield", None, 2),
        ("springfield", Some("IL"), 2),
        (" Springfield", Some("IL"), 1),
        ("Springfield ", Some("IL"), 1),
        ("Spring field", Some("il"), 1),
        ("Zürich", None, 5),
        ("Zu\u{308}rich", None, 1),
    ];
    let mut batch = Vec::new();
    for (city, state, count) in cities {
        for name in ["fred", "Fred", "fred ", "fre\u{301}d"].iter().cycle().take(count) {
            let mut message = json!({"text": "x", "city": city, "username": name});
            if let Some(state) = state {
                message["state"] = state.into();
            }
            batch.push(message);
        }
    }
    post_batch(&world, &batch).await;
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    let snapshot = Counts::new(&world).assert_consistent().await;
    assert_eq!((snapshot.messages.total, snapshot.cities, snapshot.users), (20, 7, 4));
    let top = snapshot.top_cities.iter();
    let top: Vec<_> =
        top.map(|top| (top.city.as_str(), top.state.as_deref(), top.messages)).collect();
    // Ties are ordered by bytes. A city without a state follows the same city with a state.
    let expected = [
        ("Zürich", None, 5),
        ("Springfield", Some("IL"), 4),
        ("Springfield", Some("MA"), 3),
        ("Springfield", None, 2),
        ("springfield", Some("IL"), 2),
        (" Springfield", Some("IL"), 1),
        ("Spring field", Some("il"), 1),
        ("Springfield ", Some("IL"), 1),
        ("Zu\u{308}rich", None, 1),
    ];
    assert_eq!(top, expected);
}

#[tokio::test]
async fn top_ten_cities_change_with_the_counts() {
    let world = Setup::new().start().await;
    let counts = Counts::new(&world);
    let mut expected = BTreeMap::new();
    for round in 1_usize..=6 {
        let mut batch = Vec::new();
        for city in 0..25 {
            let count = (city * 7 + round * 5) % 13 * round;
            *expected.entry(format!("city {city:02}")).or_insert(0) += count;
            batch.extend(
                (0..count).map(|_| json!({"text": "x", "city": format!("city {city:02}")})),
            );
        }
        post_batch(&world, &batch).await;
        world.wait_until_processed(PROCESS_TIMEOUT).await;
        let snapshot = counts.assert_consistent().await;
        let mut top: Vec<_> = expected.iter().collect();
        top.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let snapshot: Vec<_> =
            snapshot.top_cities.iter().map(|top| (&top.city, top.messages)).collect();
        let top: Vec<_> = top[..10].iter().map(|(city, count)| (*city, **count as u64)).collect();
        assert_eq!(snapshot, top);
    }
}

#[tokio::test]
async fn last_minute_and_hour_are_exact_to_a_second() {
    let world = Setup::new().start().await;
    let counts = Counts::new(&world);
    let first = SystemClock.now();
    post_batch(&world, &messages("now", 12, 2, 2)).await;
    let last = SystemClock.now();
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    for (at, minute, hour) in [
        (last, 12, 12),
        (later(first, 58_999), 12, 12),
        (later(last, 60_000), 0, 12),
        (later(first, 3_598_999), 0, 12),
        (later(last, 3_600_000), 0, 0),
        (later(first, -1_001), 0, 0),
    ] {
        let snapshot = counts.read_at(at).await.expect("the rollups exist").messages;
        assert_eq!(
            (snapshot.last_minute, snapshot.last_hour, snapshot.total),
            (minute, hour, 12),
            "{at}"
        );
    }
}
