//! The history of a page's visitors.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::Timestamp;
use serde_json::{Value, json};

use super::{get, shared_world, store_samples};

const HOUR_MS: i64 = 3_600_000;

/// Returns samples of a page every five minutes for 30 hours, except in the hours 7 and 20, with
/// varying numbers of visitors.
fn generate_samples(start: Timestamp) -> Vec<(Timestamp, u64)> {
    let at = |minute: i64| Timestamp::from_millis(start.as_millis() + minute * 60_000);
    let visitors = |minute: i64| u64::try_from((minute * 7_919) % 1_013).expect("not negative");
    (0..30 * 12)
        .map(|number| number * 5)
        .filter(|minute| ![7, 20].contains(&(minute / 60)))
        .map(|minute| (at(minute), visitors(minute)))
        .collect()
}

fn average(samples: &[u64]) -> f64 {
    let small = |number: u64| f64::from(u32::try_from(number).expect("fits in the integer type"));
    (small(samples.iter().sum()) * 100.0 / small(samples.len() as u64)).round() / 100.0
}

fn statistics(samples: &[u64]) -> [Value; 4] {
    let (min, max) = (samples.iter().min(), samples.iter().max());
    [json!(samples.len()), json!(average(samples)), json!(min), json!(max)]
}

fn statistics_of(item: &Value) -> [Value; 4] {
    ["samples", "average", "least", "most"].map(|name| item[name].clone())
}

#[tokio::test]
async fn history_has_statistics_by_hour_and_by_hour_of_day() {
    let world = shared_world().await;
    let start: Timestamp = "2026-03-01T22:00:00Z".parse().expect("a time");
    let samples = generate_samples(start);
    let stored: Vec<_> =
        samples.iter().map(|(at, n)| (*at, vec![("/a b", *n), ("/other", 1)])).collect();
    store_samples(&world, "history.example.org", &stored).await;
    let mut hours: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (at, visitors) in &samples {
        hours.entry(at.as_millis().div_euclid(HOUR_MS)).or_default().push(*visitors);
    }
    let (from, to) =
        (start.plus(Duration::from_secs(2 * 3_600)), start.plus(Duration::from_secs(29 * 3_600)));
    let path = format!("/v1/hosts/history.example.org/history?path=/a%20b&from={from}&to={to}");
    let history = get(&world, &path).await.expect_status(200);
    assert_eq!(history["path"], "/a b");
    let range = from.as_millis() / HOUR_MS..to.as_millis() / HOUR_MS;
    let expected: Vec<_> = hours.iter().filter(|(hour, _)| range.contains(hour)).collect();
    assert_eq!(expected.len(), 25);
    assert_eq!(history["hours"].as_array().map(Vec::len), Some(25));
    let mut by_hour_of_day: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (item, (hour, samples)) in history["hours"].as_array().expect("hours").iter().zip(expected)
    {
        assert_eq!(item["hour"], json!(Timestamp::from_millis(hour * HOUR_MS)));
        assert_eq!(statistics_of(item), statistics(samples));
        let before = hours.get(&(hour - 1)).map(|before| average(samples) - average(before));
        match (item["change"].as_f64(), before) {
            (Some(change), Some(before)) => assert!((change - before).abs() < 1e-9, "{item}"),
            (None, None) => {}
            other => panic!("{other:?}: {item}"),
        }
        by_hour_of_day.entry(hour % 24).or_default().extend(samples);
    }
    let by_hour = history["by_hour_of_day"].as_array().expect("hours");
    assert_eq!(by_hour.len(), by_hour_of_day.len());
    for (item, (hour, samples)) in by_hour.iter().zip(by_hour_of_day) {
        assert_eq!(item["hour_of_day"], hour);
        assert_eq!(statistics_of(item), statistics(&samples));
    }
}

#[tokio::test]
async fn default_range_is_seven_days_and_unknown_page_has_no_history() {
    let world = shared_world().await;
    let now = super::now();
    let ago = |hours: u64| now.minus(Duration::from_secs(hours * 3_600));
    let samples = [ago(200), ago(150), ago(2)].map(|at| (at, vec![("/", 3)]));
    store_samples(&world, "week.example.org", &samples).await;
    let path = "/v1/hosts/week.example.org/history?path=/";
    let hours = async |query: &str| {
        let history = get(&world, &format!("{path}{query}")).await.expect_status(200);
        history["hours"].as_array().map(Vec::len)
    };
    assert_eq!(hours("").await, Some(2));
    assert_eq!(hours(&format!("&to={}", ago(100))).await, Some(2));
    assert_eq!(hours(&format!("&from={}", ago(300))).await, Some(3));
    let plain = "&from=2025-11-20T01:00:00%2B01:00&to=2026-12-25T00:00:00Z";
    assert!(hours(plain).await.is_some(), "400 days across offsets");
    let unknown =
        get(&world, "/v1/hosts/week.example.org/history?path=/x").await.expect_status(200);
    assert_eq!(unknown, json!({"path": "/x", "hours": [], "by_hour_of_day": []}));
}
