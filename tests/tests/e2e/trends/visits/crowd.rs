//! A simulated crowd arrives, moves and leaves: counts and rising pages match the simulation.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, Setup, World, short_or_full, with_slack};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{send, visit};

const HOST: &str = "crowd.test";
/// How long a visitor is counted after a heartbeat.
const TTL: Duration = Duration::from_secs(30);
/// The interval between two heartbeats of a visitor.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// Pages that many visitors move to in the second half.
const RISING_PAGES: [usize; 3] = [3, 7, 11];

struct Crowd {
    visitors: usize,
    pages: usize,
    seconds: u64,
    /// The time of the last heartbeat by page and visitor.
    last: HashMap<(usize, usize), Instant>,
}

impl Crowd {
    /// Returns the page of a visitor in a second, or `None` after the visitor has left. One in five
    /// visitors leaves in the second quarter; one in eight moves to the rising pages in the second
    /// half.
    fn page_of(&self, visitor: usize, second: u64) -> Option<usize> {
        if visitor.is_multiple_of(5) && second > self.seconds / 4 {
            return None;
        }
        if visitor % 8 == 1 && second > self.seconds / 2 {
            return Some(RISING_PAGES[visitor / 8 % RISING_PAGES.len()]);
        }
        // Some pages have many visitors, most have few.
        Some((visitor * visitor / 7 + visitor) % self.pages % (visitor % self.pages + 1))
    }

    /// Sends the heartbeats due in a second.
    async fn send_heartbeats(&mut self, world: &World, second: u64) {
        let send_heartbeats = HEARTBEAT_INTERVAL.as_secs();
        let due = (0..self.visitors)
            .filter(|visitor| *visitor as u64 % send_heartbeats == second % send_heartbeats);
        let due: Vec<_> =
            due.filter_map(|one| self.page_of(one, second).map(|page| (page, one))).collect();
        let visits: Vec<_> = due
            .iter()
            .map(|(page, one)| visit(HOST, &format!("/{page}"), &format!("v{one}")))
            .collect();
        send(world, &visits).await;
        let now = Instant::now();
        self.last.extend(due.into_iter().map(|key| (key, now)));
    }

    /// Returns the number of visitors of each page and of the host. A visitor counts if the last
    /// heartbeat is within the TTL.
    fn expected(&self) -> (BTreeMap<String, u64>, usize) {
        let (mut pages, mut all) = (BTreeMap::new(), HashSet::new());
        for ((page, visitor), at) in &self.last {
            if at.elapsed() < TTL {
                *pages.entry(format!("/{page}")).or_default() += 1;
                all.insert(*visitor);
            }
        }
        (pages, all.len())
    }
}

async fn get(world: &World, path: &str) -> Value {
    let url = world.list_url(&format!("/v1/hosts/{HOST}/{path}"));
    ApiResponse::send(world.http.get(url)).await.expect_status(200)
}

fn is_near(actual: u64, expected: u64) -> bool {
    // A tolerance of 2%, but at least one.
    actual.abs_diff(expected) <= (expected / 50).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
#[tokio::test(flavor = "multi_thread")]
async fn counts_and_rising_pages_match_a_simulated_crowd() {
    let world = Setup::new().scale(Service::StatsPublisher, 1).with_s3().start().await;
    let mut crowd = Crowd {
        visitors: short_or_full(1_000, 10_000),
        pages: short_or_full(50, 200),
        seconds: short_or_full(16, 120),
        last: HashMap::new(),
    };
    let started = Instant::now();
    let (mut max_error, mut checks) = (0.0_f64, 0);
    for second in 0..crowd.seconds {
        sleep_until(started + Duration::from_secs(second)).await;
        crowd.send_heartbeats(&world, second).await;
        // Counts are at most a second old, so visitors may have arrived or left since.
        if second % 8 == 7 {
            let until = Instant::now() + with_slack(Duration::from_secs(2));
            loop {
                let (expected, all) = crowd.expected();
                let actual = get(&world, "pages").await;
                let pages = actual["pages"].as_array().expect("`pages` is set");
                let is_expected = pages.iter().all(|page| {
                    let path = page["path"].as_str().expect("`path` is set");
                    let visitors = page["visitors"].as_u64().expect("`visitors` is set");
                    is_near(visitors, expected.get(path).copied().unwrap_or(0))
                });
                let visitors = actual["visitors"].as_u64().expect("`visitors` is set");
                if is_expected && is_near(visitors, all as u64) && actual["exact"] == true {
                    let error = visitors.abs_diff(all as u64) as f64 / all as f64;
                    (max_error, checks) = (max_error.max(error), checks + 1);
                    // A page with a single visitor may appear or disappear in the meantime.
                    assert!(pages.len().abs_diff(expected.len().min(100)) <= 2);
                    break;
                }
                assert!(Instant::now() < until, "{actual} is not {all}: {expected:?}");
            }
        }
    }
    println!(
        "{} visitors, {checks} checks, maximum error of the host {max_error:.4}",
        crowd.visitors
    );
    let window = short_or_full("5s", "1m");
    let rising = get(&world, &format!("rising?window={window}")).await;
    let rising_paths: Vec<_> = if window == "1m" {
        let first = &rising["pages"].as_array().expect("`pages` is set")[..RISING_PAGES.len()];
        first.iter().map(|page| page["path"].as_str().expect("`path` is set").to_owned()).collect()
    } else {
        return assert!(rising["compared_to"].is_string(), "{rising}");
    };
    let expected: HashSet<_> = RISING_PAGES.map(|page| format!("/{page}")).into();
    assert_eq!(rising_paths.into_iter().collect::<HashSet<_>>(), expected, "{rising}");
}
