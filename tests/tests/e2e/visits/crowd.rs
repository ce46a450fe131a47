//! A crowd comes, moves and leaves: what is told of it is true, and what was made to rise is named.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{Answer, Setup, World, beside_others, short_or_full};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{send, visit};

const HOST: &str = "crowd.test";
/// How long a visitor counts after a heartbeat.
const TTL: Duration = Duration::from_secs(30);
/// How often a visitor sends one.
const BEAT: Duration = Duration::from_secs(10);
/// Pages that many go to half-way through.
const RISING: [usize; 3] = [3, 7, 11];

struct Crowd {
    visitors: usize,
    pages: usize,
    seconds: u64,
    /// When each visitor was last on a page, and where.
    last: HashMap<(usize, usize), Instant>,
}

impl Crowd {
    /// Where a visitor is in a second; nowhere once it has left. One in five leaves in the second
    /// quarter; in the second half one in eight goes to the pages that rise.
    fn page_of(&self, visitor: usize, second: u64) -> Option<usize> {
        if visitor.is_multiple_of(5) && second > self.seconds / 4 {
            return None;
        }
        if visitor % 8 == 1 && second > self.seconds / 2 {
            return Some(RISING[visitor / 8 % RISING.len()]);
        }
        // Some pages have many visitors, most have few.
        Some((visitor * visitor / 7 + visitor) % self.pages % (visitor % self.pages + 1))
    }

    /// Sends the heartbeats of a second.
    async fn beat(&mut self, world: &World, second: u64) {
        let beat = BEAT.as_secs();
        let due = (0..self.visitors).filter(|visitor| *visitor as u64 % beat == second % beat);
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

    /// Visitors of each page, and of the host, with a heartbeat within the time that it counts.
    fn truth(&self) -> (BTreeMap<String, u64>, usize) {
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

async fn get(world: &World, what: &str) -> Value {
    let url = world.list(&format!("/v1/hosts/{HOST}/{what}"));
    Answer::of(world.http.get(url)).await.expect(200)
}

fn is_near(told: u64, truth: u64) -> bool {
    // 2 %, and of small numbers one.
    told.abs_diff(truth) <= (truth / 50).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "few visitors")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_crowd_is_true_and_what_was_made_to_rise_is_named() {
    let world = Setup::new().with(Service::StatsPublisher, 1).with_s3().start().await;
    let mut crowd = Crowd {
        visitors: short_or_full(1_000, 10_000),
        pages: short_or_full(50, 200),
        seconds: short_or_full(24, 120),
        last: HashMap::new(),
    };
    let began = Instant::now();
    let (mut worst, mut looks) = (0.0_f64, 0);
    for second in 0..crowd.seconds {
        sleep_until(began + Duration::from_secs(second)).await;
        crowd.beat(&world, second).await;
        // What is counted is at most a second old: so much may have come or left since.
        if second % 8 == 7 {
            let until = Instant::now() + beside_others(Duration::from_secs(2));
            loop {
                let (truth, all) = crowd.truth();
                let told = get(&world, "pages").await;
                let pages = told["pages"].as_array().expect("there are pages");
                let is_true = pages.iter().all(|page| {
                    let path = page["path"].as_str().expect("it has a path");
                    let visitors = page["visitors"].as_u64().expect("it has a number");
                    is_near(visitors, truth.get(path).copied().unwrap_or(0))
                });
                let visitors = told["visitors"].as_u64().expect("it has a number");
                if is_true && is_near(visitors, all as u64) && told["exact"] == true {
                    let off = visitors.abs_diff(all as u64) as f64 / all as f64;
                    (worst, looks) = (worst.max(off), looks + 1);
                    // One with a single visitor may come or go meanwhile.
                    assert!(pages.len().abs_diff(truth.len().min(100)) <= 2);
                    break;
                }
                assert!(Instant::now() < until, "{told} is not {all}: {truth:?}");
            }
        }
    }
    println!("{} visitors, {looks} looks, the host off by at most {worst:.4}", crowd.visitors);
    let window = short_or_full("5s", "1m");
    let rising = get(&world, &format!("rising?window={window}")).await;
    let named: Vec<_> = if window == "1m" {
        let first = &rising["pages"].as_array().expect("there are pages")[..RISING.len()];
        first.iter().map(|page| page["path"].as_str().expect("it has a path").to_owned()).collect()
    } else {
        return assert!(rising["compared_to"].is_string(), "{rising}");
    };
    let expected: HashSet<_> = RISING.map(|page| format!("/{page}")).into();
    assert_eq!(named.into_iter().collect::<HashSet<_>>(), expected, "{rising}");
}
