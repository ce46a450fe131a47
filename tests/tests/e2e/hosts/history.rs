//! How the visitors of a page rose and fell.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::Timestamp;
use serde_json::{Value, json};

use super::{get, quiet, store_samples};

const HOUR_MS: i64 = 3_600_000;

/// Samples of a page every five minutes for 30 hours, but for hours 7 and 20, with visitors that swing.
fn made_up(begin: Timestamp) -> Vec<(Timestamp, u64)> {
    let at = |minute: i64| Timestamp::from_millis(begin.as_millis() + minute * 60_000);
    let visitors = |minute: i64| u64::try_from((minute * 7_919) % 1_013).expect("not negative");
    (0..30 * 12)
        .map(|number| number * 5)
        .filter(|minute| ![7, 20].contains(&(minute / 60)))
        .map(|minute| (at(minute), visitors(minute)))
        .collect()
}

fn average(samples: &[u64]) -> f64 {
    let small = |number: u64| f64::from(u32::try_from(number).expect("it is small"));
    (small(samples.iter().sum()) * 100.0 / small(samples.len() as u64)).round() / 100.0
}

fn measures(samples: &[u64]) -> [Value; 4] {
    let (least, most) = (samples.iter().min(), samples.iter().max());
    [json!(samples.len()), json!(average(samples)), json!(least), json!(most)]
}

fn shown(item: &Value) -> [Value; 4] {
    ["samples", "average", "least", "most"].map(|name| item[name].clone())
}

#[tokio::test]
async fn a_day_is_shown_hour_by_hour_and_by_the_hour_of_the_day() {
    let world = quiet().await;
    let begin: Timestamp = "2026-03-01T22:00:00Z".parse().expect("a time");
    let samples = made_up(begin);
    let stored: Vec<_> =
        samples.iter().map(|(at, n)| (*at, vec![("/a b", *n), ("/other", 1)])).collect();
    store_samples(&world, "history.example.org", &stored).await;
    let mut hours: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (at, visitors) in &samples {
        hours.entry(at.as_millis().div_euclid(HOUR_MS)).or_default().push(*visitors);
    }
    let (from, to) =
        (begin.plus(Duration::from_secs(2 * 3_600)), begin.plus(Duration::from_secs(29 * 3_600)));
    let path = format!("/v1/hosts/history.example.org/history?path=/a%20b&from={from}&to={to}");
    let history = get(&world, &path).await.expect(200);
    assert_eq!(history["path"], "/a b");
    let range = from.as_millis() / HOUR_MS..to.as_millis() / HOUR_MS;
    let wanted: Vec<_> = hours.iter().filter(|(hour, _)| range.contains(hour)).collect();
    assert_eq!(wanted.len(), 25);
    assert_eq!(history["hours"].as_array().map(Vec::len), Some(25));
    let mut of_day: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (item, (hour, samples)) in history["hours"].as_array().expect("hours").iter().zip(wanted) {
        assert_eq!(item["hour"], json!(Timestamp::from_millis(hour * HOUR_MS)));
        assert_eq!(shown(item), measures(samples));
        let before = hours.get(&(hour - 1)).map(|before| average(samples) - average(before));
        match (item["change"].as_f64(), before) {
            (Some(change), Some(before)) => assert!((change - before).abs() < 1e-9, "{item}"),
            (None, None) => {}
            other => panic!("{other:?}: {item}"),
        }
        of_day.entry(hour % 24).or_default().extend(samples);
    }
    let by_hour = history["by_hour_of_day"].as_array().expect("hours");
    assert_eq!(by_hour.len(), of_day.len());
    for (item, (hour, samples)) in by_hour.iter().zip(of_day) {
        assert_eq!(item["hour_of_day"], hour);
        assert_eq!(shown(item), measures(&samples));
    }
}

#[tokio::test]
async fn left_out_it_is_the_last_seven_days_and_a_page_that_nobody_knows_has_none() {
    let world = quiet().await;
    let now = super::now();
    let ago = |hours: u64| now.before(Duration::from_secs(hours * 3_600));
    let samples = [ago(200), ago(150), ago(2)].map(|at| (at, vec![("/", 3)]));
    store_samples(&world, "week.example.org", &samples).await;
    let path = "/v1/hosts/week.example.org/history?path=/";
    let hours = async |query: &str| {
        let history = get(&world, &format!("{path}{query}")).await.expect(200);
        history["hours"].as_array().map(Vec::len)
    };
    assert_eq!(hours("").await, Some(2));
    assert_eq!(hours(&format!("&to={}", ago(100))).await, Some(2));
    assert_eq!(hours(&format!("&from={}", ago(300))).await, Some(3));
    let plain = "&from=2025-11-20T01:00:00%2B01:00&to=2026-12-25T00:00:00Z";
    assert!(hours(plain).await.is_some(), "400 days of any offset");
    let unknown = get(&world, "/v1/hosts/week.example.org/history?path=/x").await.expect(200);
    assert_eq!(unknown, json!({"path": "/x", "hours": [], "by_hour_of_day": []}));
}
