//! Samples, and the hours that they are rolled up into, on a real Postgres.

use std::{collections::BTreeMap, time::Duration};

use mayfly_cold::{Cold, HourRow, migrations};
use mayfly_core::{Host, PagePath, PageVisitors, Sample, Sighting, Timestamp};
use mayfly_runtime::settings::Postgres;
use mayfly_stack::SharedServers;

const TIMEOUT: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000;
/// 2026-11-20, midnight.
const MIDNIGHT: i64 = 1_795_132_800_000;

async fn cold(name: &str) -> Cold {
    let servers = SharedServers::get().await.expect("the servers start");
    let url = servers.create_database(name).await.expect("a database can be made").into();
    migrations::run(&url, |_| {}).await.expect("they go up");
    Cold::with_statement_timeout(&Postgres { url, pool_size_max: 8, timeout: TIMEOUT }, TIMEOUT)
}

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}

fn path(name: &str) -> PagePath {
    PagePath::parse(name).expect("a path")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(MIDNIGHT + millis)
}

fn sighting(host_name: &str, millis: i64, pages: &[(&str, u64)]) -> Sighting {
    let pages = pages.iter().map(|(path, visitors)| PageVisitors {
        path: (*path).to_owned(),
        title: Some(format!("{path} at {millis}")),
        visitors: *visitors,
    });
    let sample = Sample {
        host: host(host_name),
        sampled_at: at(millis),
        visitors: 1_000,
        exact: true,
        pages: pages.collect(),
    };
    Sighting::new(sample, None, &std::collections::HashMap::new())
}

/// A sample every five minutes; `/b` is there in every third one only.
fn a_day(host: &str, first_day: i64) -> Vec<Sighting> {
    let samples = (0..288_i64).map(|number| {
        let visitors = 5 + u64::try_from(number * 7 % 41).expect("positive");
        let mut pages = vec![("/a", visitors), ("/c", 2 * visitors)];
        if number % 3 == 0 {
            pages.push(("/b", visitors + 1));
        }
        sighting(host, first_day * 24 * HOUR + number * 300_000, &pages)
    });
    samples.collect()
}

/// The hours of a page, worked out from samples.
fn hours_of(sightings: &[Sighting], path: &str) -> Vec<HourRow> {
    let mut hours = BTreeMap::<i64, Vec<u64>>::new();
    for sighting in sightings {
        let millis = sighting.sampled_at.as_millis();
        for page in sighting.pages.iter().filter(|page| page.path == path) {
            hours.entry(millis - millis % HOUR).or_default().push(page.visitors);
        }
    }
    let rows = hours.into_iter().map(|(hour, visitors)| HourRow {
        hour: Timestamp::from_millis(hour),
        samples: u32::try_from(visitors.len()).expect("few"),
        visitors_sum: visitors.iter().sum(),
        least: *visitors.iter().min().expect("some"),
        most: *visitors.iter().max().expect("some"),
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_stored_again_and_at_once_count_once() {
    let cold = cold("samples_once").await;
    let days: Vec<_> = [a_day("a.org", 0), a_day("b.org", 0)].concat();
    // The same samples in other batches and other orders, by several callers.
    let callers: Vec<_> = (0..6_usize)
        .map(|caller| {
            let (cold, mut days) = (cold.clone(), days.clone());
            tokio::spawn(async move {
                days.rotate_left(caller * 91);
                if caller % 2 == 1 {
                    days.reverse();
                }
                for batch in days.chunks(17 + caller) {
                    cold.store_samples(batch, TIMEOUT).await.expect("it is stored");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("it does not panic");
    }
    for name in ["a.org", "b.org"] {
        let mine: Vec<_> = days.iter().filter(|one| one.host.as_str() == name).cloned().collect();
        for page in ["/a", "/b", "/c"] {
            let hours = cold.list_hours(&host(name), &path(page), at(0), at(48 * HOUR)).await;
            assert_eq!(hours.expect("a list"), hours_of(&mine, page), "{name} {page}");
        }
    }
    let mut hosts = cold.list_hosts().await.expect("a list");
    hosts.sort();
    assert_eq!(hosts, [host("a.org"), host("b.org")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_listed_from_and_before() {
    let cold = cold("hours_between").await;
    let day = a_day("a.org", 0);
    cold.store_samples(&day, TIMEOUT).await.expect("it is stored");
    let all = hours_of(&day, "/a");
    let some = cold.list_hours(&host("a.org"), &path("/a"), at(3 * HOUR), at(5 * HOUR)).await;
    assert_eq!(some.expect("a list"), all[3..5]);
    let none = cold.list_hours(&host("b.org"), &path("/a"), at(0), at(24 * HOUR)).await;
    assert_eq!(none.expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_found_by_its_moment() {
    let cold = cold("samples_found").await;
    let first = sighting("a.org", 1_000, &[("/a", 3)]);
    let second = sighting("a.org", 2_000, &[("/a", 4)]);
    cold.store_samples(&[second.clone(), first.clone()], TIMEOUT).await.expect("it is stored");
    let find = async |millis| {
        let found = cold.find_sample(&host("a.org"), at(millis)).await;
        found.expect("an answer").map(|sample| sample.sampled_at)
    };
    assert_eq!(find(999).await, None);
    assert_eq!(find(1_000).await, Some(first.sampled_at));
    assert_eq!(find(1_999).await, Some(first.sampled_at));
    assert_eq!(find(9_999).await, Some(second.sampled_at));
    let found = cold.find_sample(&host("a.org"), at(2_000)).await.expect("an answer");
    assert_eq!(found, Some(second.to_sample()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_usual_is_the_average_of_that_hour_of_fourteen_days() {
    let cold = cold("usual").await;
    let days: Vec<_> = (0..16).flat_map(|day| a_day("a.org", day)).collect();
    for batch in days.chunks(100) {
        cold.store_samples(batch, TIMEOUT).await.expect("it is stored");
    }
    // At 17:xx of the last day: the days 1 to 14 before it, and neither that day nor the first one.
    let moment = at(15 * 24 * HOUR + 17 * HOUR + 1_234);
    let usual = cold.find_usual(&host("a.org"), moment).await.expect("an answer");
    assert_eq!(usual.len(), 3);
    for page in ["/a", "/b", "/c"] {
        let hours = hours_of(&days, page).into_iter().filter(|row| {
            let millis = row.hour.as_millis() - MIDNIGHT;
            millis / HOUR % 24 == 17 && (1..=14).contains(&(millis / HOUR / 24))
        });
        let (sum, samples) = hours.fold((0, 0), |(sum, samples), row| {
            (sum + row.visitors_sum, samples + u64::from(row.samples))
        });
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let expected = sum as f64 / samples as f64;
        assert!((usual[page] - expected).abs() < 1e-9, "{page}: {} {expected}", usual[page]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_deleted_piece_by_piece() {
    let cold = cold("old_samples").await;
    let days = [a_day("a.org", 0), a_day("b.org", 0), a_day("a.org", 1)].concat();
    for batch in days.chunks(100) {
        cold.store_samples(batch, TIMEOUT).await.expect("it is stored");
    }
    let (before, hours_before) = (at(24 * HOUR), at(6 * HOUR));
    // Several at once leave out what another one has, and delete nothing twice.
    let delete = async || {
        while cold.delete_old_samples(before, hours_before, 50).await.expect("deleted") > 0 {}
    };
    tokio::join!(delete(), delete());
    delete().await;
    for name in ["a.org", "b.org"] {
        let found = cold.find_sample(&host(name), at(24 * HOUR - 1)).await.expect("an answer");
        assert_eq!(found, None, "{name}");
        let hours = cold.list_hours(&host(name), &path("/a"), at(0), at(24 * HOUR)).await;
        assert_eq!(hours.expect("a list").first().map(|row| row.hour), Some(hours_before));
    }
    let newest = cold.find_sample(&host("a.org"), at(48 * HOUR)).await.expect("an answer");
    assert_eq!(newest, days.last().map(Sighting::to_sample));
    let first = cold.find_sample(&host("a.org"), at(24 * HOUR)).await.expect("an answer");
    assert_eq!(first.map(|sample| sample.sampled_at), Some(at(24 * HOUR)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_and_strangest_pages_are_stored() {
    let cold = cold("strange_pages").await;
    // Nothing that could be compressed to fit into an index.
    let longest: String = (0..1_024_u32)
        .map(|number| char::from_u32(0x20000 + number * 7919 % 40_000).expect("a character"))
        .collect();
    let pages = [(longest.as_str(), u64::MAX), ("a\0b\"\\u0000", 1), ("", 0)];
    let strange = sighting("a.org", 0, &pages);
    cold.store_samples(&[strange.clone(), strange], TIMEOUT).await.expect("it is stored");
    let hours = cold.list_hours(&host("a.org"), &path(&longest), at(0), at(HOUR)).await;
    assert_eq!(hours.expect("a list").len(), 1);
    let found = cold.find_sample(&host("a.org"), at(0)).await.expect("an answer");
    let paths: Vec<_> =
        found.expect("it is there").pages.into_iter().map(|page| page.path).collect();
    assert_eq!(paths, [longest.as_str(), "a\u{fffd}b\"\\u0000", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_not_migrated_says_so() {
    let servers = SharedServers::get().await.expect("the servers start");
    let url = servers.create_database("not_migrated").await.expect("a database").into();
    let cold = Cold::new(&Postgres { url, pool_size_max: 1, timeout: TIMEOUT });
    let words = "the schema is not there yet: run `mayfly migrate`";
    let stored = cold.store_samples(&[sighting("a.org", 0, &[])], TIMEOUT).await;
    assert_eq!(stored.expect_err("nothing is there").to_string(), words);
    let hosts = cold.list_hosts().await;
    assert_eq!(hosts.expect_err("nothing is there").to_string(), words);
}
