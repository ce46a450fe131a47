//! What is counted when messages are stored is what a count of all of them would give.

mod cost;
mod counts;
mod fill;
mod kills;

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_tests::{PATIENCE, Setup, World};
use serde_json::{Value, json};

use counts::Counts;

const SETTLE: Duration = PATIENCE;

/// So many messages of so many cities and users, named by a prefix.
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
    let answer = world.post("/v1/messages/batch", &json!(messages)).await;
    assert_eq!(answer.status(), 202);
}

fn later(now: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() + millis)
}

#[tokio::test]
async fn new_cities_and_users_add_to_what_is_there_and_nothing_that_is_deleted_is_taken_away() {
    let world = Setup::new().start().await;
    let counts = Counts::of(&world);
    post_batch(&world, &messages("old", 40, 3, 5)).await;
    world.settle(SETTLE).await;
    let before = counts.assert_true().await;
    assert_eq!((before.messages.total, before.cities, before.users), (40, 3, 5));

    let mut thirty = messages("new", 30, 7, 11);
    // A user that is known already, and messages that name neither.
    thirty.push(json!({"text": "again", "city": "old city 0", "username": "old user 1"}));
    thirty.push(json!({"text": "from nobody"}));
    thirty.push(json!({"text": "from somewhere", "state": "NY"}));
    post_batch(&world, &thirty).await;
    world.settle(SETTLE).await;
    let after = counts.assert_true().await;
    assert_eq!((after.messages.total, after.cities, after.users), (73, 3 + 7, 5 + 11));

    let deleted = world.postgres().await;
    deleted.batch_execute("DELETE FROM messages").await.expect("the rows can be deleted");
    let kept = counts.read().await.expect("they are counted");
    assert_eq!((kept.messages.total, kept.cities, kept.users), (73, 10, 16));
    assert_eq!(kept.top_cities, after.top_cities);
}

#[tokio::test]
async fn a_city_is_told_by_every_letter_and_blank_and_not_by_its_state() {
    let world = Setup::new().start().await;
    let places = [
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
    for (city, state, count) in places {
        for name in ["fred", "Fred", "fred ", "fre\u{301}d"].iter().cycle().take(count) {
            let mut message = json!({"text": "x", "city": city, "username": name});
            if let Some(state) = state {
                message["state"] = state.into();
            }
            batch.push(message);
        }
    }
    post_batch(&world, &batch).await;
    world.settle(SETTLE).await;
    let seen = Counts::of(&world).assert_true().await;
    assert_eq!((seen.messages.total, seen.cities, seen.users), (20, 7, 4));
    let top = seen.top_cities.iter();
    let top: Vec<_> =
        top.map(|top| (top.city.as_str(), top.state.as_deref(), top.messages)).collect();
    // Those with as many in the order of their bytes, no state last.
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
async fn the_ten_cities_with_most_messages_are_named_also_when_others_overtake_them() {
    let world = Setup::new().start().await;
    let counts = Counts::of(&world);
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
        world.settle(SETTLE).await;
        let seen = counts.assert_true().await;
        let mut best: Vec<_> = expected.iter().collect();
        best.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let seen: Vec<_> = seen.top_cities.iter().map(|top| (&top.city, top.messages)).collect();
        let best: Vec<_> = best[..10].iter().map(|(city, count)| (*city, **count as u64)).collect();
        assert_eq!(seen, best);
    }
}

#[tokio::test]
async fn the_last_minute_and_hour_are_true_to_a_second_at_any_instant() {
    let world = Setup::new().start().await;
    let counts = Counts::of(&world);
    let first = SystemClock.now();
    post_batch(&world, &messages("now", 12, 2, 2)).await;
    let last = SystemClock.now();
    world.settle(SETTLE).await;
    for (at, minute, hour) in [
        (last, 12, 12),
        (later(first, 58_999), 12, 12),
        (later(last, 60_000), 0, 12),
        (later(first, 3_598_999), 0, 12),
        (later(last, 3_600_000), 0, 0),
        (later(first, -1_001), 0, 0),
    ] {
        let seen = counts.read_at(at).await.expect("they are counted").messages;
        assert_eq!((seen.last_minute, seen.last_hour, seen.total), (minute, hour, 12), "{at}");
    }
}
