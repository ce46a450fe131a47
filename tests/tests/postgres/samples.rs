//! Samples and their hourly rollups.

use std::{collections::BTreeMap, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_core::{
    Clock, Host, HourTotals, PagePath, PageVisitors, Sample, SystemClock, Timestamp, TrendSnapshot,
};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::ExposeSecret;
use tokio_postgres::Client;

use crate::{create_database, create_migrated_database, health::connect};

const TIMEOUT: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000;
/// 2026-11-20T00:00:00Z.
const MIDNIGHT: i64 = 1_795_132_800_000;

async fn cold(name: &str) -> ColdStore {
    let url = create_migrated_database(name).await;
    ColdStore::with_statement_timeout(
        &PostgresSettings { url, pool_size_max: 8, timeout: TIMEOUT },
        TIMEOUT,
    )
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

fn snapshot(host_name: &str, millis: i64, pages: &[(&str, u64)]) -> TrendSnapshot {
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
    TrendSnapshot::new(sample, None, &std::collections::HashMap::new())
}

/// Returns the samples of one day at intervals of five minutes. Every third sample contains `/b`.
fn sample_day(host: &str, first_day: i64) -> Vec<TrendSnapshot> {
    let samples = (0..288_i64).map(|number| {
        let visitors = 5 + u64::try_from(number * 7 % 41).expect("positive");
        let mut pages = vec![("/a", visitors), ("/c", 2 * visitors)];
        if number % 3 == 0 {
            pages.push(("/b", visitors + 1));
        }
        snapshot(host, first_day * 24 * HOUR + number * 300_000, &pages)
    });
    samples.collect()
}

/// Computes the hours of a page from its samples.
fn compute_hours(snapshots: &[TrendSnapshot], path: &str) -> Vec<HourTotals> {
    let mut hours = BTreeMap::<i64, Vec<u64>>::new();
    for snapshot in snapshots {
        let millis = snapshot.sampled_at.as_millis();
        for page in snapshot.pages.iter().filter(|page| page.path == path) {
            hours.entry(millis - millis % HOUR).or_default().push(page.visitors);
        }
    }
    let rows = hours.into_iter().map(|(hour, visitors)| HourTotals {
        hour: Timestamp::from_millis(hour),
        samples: visitors.len() as u64,
        visitors_sum: visitors.iter().sum(),
        least: *visitors.iter().min().expect("some"),
        most: *visitors.iter().max().expect("some"),
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrently_repeated_samples_count_once() {
    let cold = cold("samples_once").await;
    let days: Vec<_> = [sample_day("a.org", 0), sample_day("b.org", 0)].concat();
    // Several callers store the same samples in different batches and orders.
    let callers: Vec<_> = (0..6_usize)
        .map(|caller| {
            let (cold, mut days) = (cold.clone(), days.clone());
            tokio::spawn(async move {
                days.rotate_left(caller * 91);
                if caller % 2 == 1 {
                    days.reverse();
                }
                for batch in days.chunks(17 + caller) {
                    cold.samples().store(batch, TIMEOUT).await.expect("it is stored");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("it does not panic");
    }
    for name in ["a.org", "b.org"] {
        let expected: Vec<_> =
            days.iter().filter(|one| one.host.as_str() == name).cloned().collect();
        for page in ["/a", "/b", "/c"] {
            let hours =
                cold.samples().list_hours(&host(name), &path(page), at(0), at(48 * HOUR)).await;
            assert_eq!(
                hours.expect("the query succeeds"),
                compute_hours(&expected, page),
                "{name} {page}"
            );
        }
    }
    let mut hosts = cold.hosts().list().await.expect("the query succeeds");
    hosts.sort();
    assert_eq!(hosts, [host("a.org"), host("b.org")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_listed_from_inclusive_to_exclusive() {
    let cold = cold("hours_between").await;
    let day = sample_day("a.org", 0);
    cold.samples().store(&day, TIMEOUT).await.expect("it is stored");
    let all = compute_hours(&day, "/a");
    let some =
        cold.samples().list_hours(&host("a.org"), &path("/a"), at(3 * HOUR), at(5 * HOUR)).await;
    assert_eq!(some.expect("the query succeeds"), all[3..5]);
    let none = cold.samples().list_hours(&host("b.org"), &path("/a"), at(0), at(24 * HOUR)).await;
    assert_eq!(none.expect("the query succeeds"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_sample_at_or_before_an_instant_is_found() {
    let cold = cold("samples_found").await;
    let first = snapshot("a.org", 1_000, &[("/a", 3)]);
    let second = snapshot("a.org", 2_000, &[("/a", 4)]);
    cold.samples().store(&[second.clone(), first.clone()], TIMEOUT).await.expect("it is stored");
    let find = async |millis| {
        let found = cold.samples().find(&host("a.org"), at(millis)).await;
        found.expect("the query succeeds").map(|sample| sample.sampled_at)
    };
    assert_eq!(find(999).await, None);
    assert_eq!(find(1_000).await, Some(first.sampled_at));
    assert_eq!(find(1_999).await, Some(first.sampled_at));
    assert_eq!(find(9_999).await, Some(second.sampled_at));
    let found = cold.samples().find(&host("a.org"), at(2_000)).await.expect("the query succeeds");
    assert_eq!(found, Some(second.to_sample()));
}

#[tokio::test(flavor = "multi_thread")]
async fn baseline_averages_the_same_hour_of_fourteen_days() {
    let cold = cold("baseline").await;
    let days: Vec<_> = (0..16).flat_map(|day| sample_day("a.org", day)).collect();
    for batch in days.chunks(100) {
        cold.samples().store(batch, TIMEOUT).await.expect("it is stored");
    }
    // At 17:xx of day 15, the baseline covers days 1 to 14.
    let at_17 = at(15 * 24 * HOUR + 17 * HOUR + 1_234);
    let baseline =
        cold.samples().find_baseline(&host("a.org"), at_17).await.expect("the query succeeds");
    assert_eq!(baseline.len(), 3);
    for page in ["/a", "/b", "/c"] {
        let hours = compute_hours(&days, page).into_iter().filter(|row| {
            let millis = row.hour.as_millis() - MIDNIGHT;
            millis / HOUR % 24 == 17 && (1..=14).contains(&(millis / HOUR / 24))
        });
        let (sum, samples) = hours
            .fold((0, 0), |(sum, samples), row| (sum + row.visitors_sum, samples + row.samples));
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let expected = sum as f64 / samples as f64;
        assert!((baseline[page] - expected).abs() < 1e-9, "{page}: {} {expected}", baseline[page]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_samples_are_deleted_in_chunks() {
    let cold = cold("old_samples").await;
    let days = [sample_day("a.org", 0), sample_day("b.org", 0), sample_day("a.org", 1)].concat();
    for batch in days.chunks(100) {
        cold.samples().store(batch, TIMEOUT).await.expect("it is stored");
    }
    let hours_before = at(6 * HOUR);
    // Adds a margin of one minute for the duration of the test. The next older samples are five
    // minutes older.
    let retention = |before: Timestamp| SystemClock.now().since(before) + Duration::from_secs(60);
    let (samples, hours) = (retention(at(24 * HOUR)), retention(hours_before));
    // Concurrent callers skip each other's rows.
    let delete = async || {
        while cold.samples().delete_old(samples, hours, 50).await.expect("the deletion succeeds")
            > 0
        {}
    };
    tokio::join!(delete(), delete());
    delete().await;
    for name in ["a.org", "b.org"] {
        let found =
            cold.samples().find(&host(name), at(24 * HOUR - 1)).await.expect("the query succeeds");
        assert_eq!(found, None, "{name}");
        let hours = cold.samples().list_hours(&host(name), &path("/a"), at(0), at(24 * HOUR)).await;
        assert_eq!(
            hours.expect("the query succeeds").first().map(|row| row.hour),
            Some(hours_before)
        );
    }
    let newest =
        cold.samples().find(&host("a.org"), at(48 * HOUR)).await.expect("the query succeeds");
    assert_eq!(newest, days.last().map(TrendSnapshot::to_sample));
    let first =
        cold.samples().find(&host("a.org"), at(24 * HOUR)).await.expect("the query succeeds");
    assert_eq!(first.map(|sample| sample.sampled_at), Some(at(24 * HOUR)));
}

/// Lets deletions of samples fail with the given SQLSTATE.
async fn refuse_deletions(client: &Client, sqlstate: &str) {
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = 'not this table'; \
         END $$; \
         CREATE TRIGGER refuse BEFORE DELETE ON page_samples \
             FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    client.batch_execute(&refuse).await.expect("the trigger is created");
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_deleted_although_samples_cannot_be_deleted() {
    let url = create_migrated_database("undeletable_samples").await;
    let client = connect(url.expose_secret()).await;
    let cold = ColdStore::new(&PostgresSettings { url, pool_size_max: 8, timeout: TIMEOUT });
    let day = sample_day("a.org", 0);
    cold.samples().store(&day[..100], TIMEOUT).await.expect("it is stored");
    refuse_deletions(&client, "P0001").await;
    let deleted = cold.samples().delete_old(Duration::ZERO, Duration::ZERO, 1_000).await;
    let error = deleted.expect_err("samples cannot be deleted").to_string();
    assert!(error.contains("not this table"), "{error}");
    let hours = cold.samples().list_hours(&host("a.org"), &path("/a"), at(0), at(24 * HOUR)).await;
    assert!(hours.expect("the query succeeds").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_deletion_is_returned_although_the_next_hosts_cannot_be_found() {
    let url = create_migrated_database("unfindable_hosts").await;
    let client = connect(url.expose_secret()).await;
    let cold = ColdStore::new(&PostgresSettings { url, pool_size_max: 8, timeout: TIMEOUT });
    cold.samples().store(&sample_day("a.org", 0)[..100], TIMEOUT).await.expect("it is stored");
    // After an error with this SQLSTATE, the store discards its session. It cannot open another.
    refuse_deletions(&client, "57P03").await;
    let refuse_sessions = "UPDATE pg_database SET datallowconn = false \
                           WHERE datname = current_database()";
    client.batch_execute(refuse_sessions).await.expect("a superuser can do this");
    let deleted = cold.samples().delete_old(Duration::ZERO, Duration::ZERO, 1_000).await;
    let error = deleted.expect_err("samples cannot be deleted").to_string();
    assert!(error.contains("not this table"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_extreme_values_are_stored() {
    let cold = cold("extreme_pages").await;
    // An incompressible path, which would not fit into an index entry.
    let longest: String = (0..1_024_u32)
        .map(|number| char::from_u32(0x20000 + number * 7919 % 40_000).expect("a character"))
        .collect();
    let pages = [(longest.as_str(), u64::MAX), ("a\0b\"\\u0000", 1), ("", 0)];
    let extreme = snapshot("a.org", 0, &pages);
    cold.samples().store(&[extreme.clone(), extreme], TIMEOUT).await.expect("it is stored");
    let hours = cold.samples().list_hours(&host("a.org"), &path(&longest), at(0), at(HOUR)).await;
    assert_eq!(hours.expect("the query succeeds").len(), 1);
    let found = cold.samples().find(&host("a.org"), at(0)).await.expect("the query succeeds");
    let paths: Vec<_> =
        found.expect("the sample exists").pages.into_iter().map(|page| page.path).collect();
    assert_eq!(paths, [longest.as_str(), "a\u{fffd}b\"\\u0000", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_schema_is_reported() {
    let url = create_database("not_migrated").await;
    let cold = ColdStore::new(&PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT });
    let message = "the database schema is missing or outdated: run `mayfly migrate`";
    let stored = cold.samples().store(&[snapshot("a.org", 0, &[])], TIMEOUT).await;
    assert_eq!(stored.expect_err("the schema is missing").to_string(), message);
    let hosts = cold.hosts().list().await;
    assert_eq!(hosts.expect_err("the schema is missing").to_string(), message);
}
