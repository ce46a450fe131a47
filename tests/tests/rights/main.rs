//! The decisions of access control agree with a reference, for random pairs of credentials and
//! requests. The reference is written separately, from the documentation.
//!
//! The credentials pass through the authenticator, with keys and revocations in a real Redis. The
//! requests are checked by the table of routes and by the functions that the handlers use. The
//! end-to-end tests of access check that the handlers use them.

mod generator;
mod product;
mod reference;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use mayfly_core::{Clock, SystemClock};
use mayfly_http::routes::RouteAccess;
use mayfly_tests::short_or_full;

use self::{
    generator::{Generator, endpoints},
    product::{Product, find_access},
    reference::{Decision, Site, decide},
};

/// The number of installations, and of callers of each. A run compares 100,000 pairs, or, in full,
/// 10 million.
const SITES: (u64, u64) = (10, 200);
const CALLERS: (usize, usize) = (100, 500);
const REQUESTS_PER_CALLER: usize = 100;
/// No generated time is closer to a limit than this. If the authentications take longer, the
/// decisions may also be those for a later time.
const MARGIN: Duration = Duration::from_secs(12);
/// The number of differences after which the test fails.
const DIFFERENCES_MAX: usize = 5;

/// The outcomes of each endpoint: whether a pair was allowed, and how many were not.
type Outcomes = BTreeMap<(&'static str, &'static str), [u64; 2]>;

#[tokio::test]
async fn decisions_agree_with_the_reference() {
    let mut outcomes = Outcomes::new();
    for seed in 0..short_or_full(SITES.0, SITES.1) {
        compare(seed, &mut outcomes).await;
    }
    let pairs: u64 = outcomes.values().flatten().sum();
    assert_eq!(pairs, short_or_full(100_000, 10_000_000));
    // A check of one outcome alone would prove nothing.
    let is_protected =
        |(method, path): &(&str, &str)| find_access(method, path) != RouteAccess::Public;
    for endpoint in endpoints().iter().filter(|endpoint| is_protected(endpoint)) {
        let counts = outcomes.get(endpoint).copied().unwrap_or_default();
        assert!(counts.iter().all(|count| *count >= 20), "{endpoint:?}: {counts:?}");
    }
}

/// Compares all decisions of one installation.
async fn compare(seed: u64, outcomes: &mut Outcomes) {
    let now = SystemClock.now().as_millis() / 1_000;
    let started = Instant::now();
    let mut generator = Generator::new(seed, now);
    let site = generator.site();
    let callers: Vec<_> =
        (0..short_or_full(CALLERS.0, CALLERS.1)).map(|_| generator.credentials(&site)).collect();
    let product = Product::start(&site, &callers).await;
    let mut authenticated = Vec::new();
    for caller in &callers {
        authenticated.push(product.authenticate(caller).await);
    }
    let mut sites = vec![site];
    if started.elapsed() >= MARGIN {
        let later = i64::try_from(started.elapsed().as_secs()).expect("a short time") + 1;
        sites.push(Site { now: now + later, ..sites[0].clone() });
    }
    let mut differences = Vec::new();
    for (caller, authenticated) in callers.iter().zip(&authenticated) {
        if !authenticated.has_limits_of(&caller.caller) {
            differences.push(format!("limits: {:?}", caller.caller));
        }
        for _ in 0..REQUESTS_PER_CALLER {
            let request = generator.request();
            let actual = authenticated.decide(&request);
            let counts = outcomes.entry((request.method, request.path)).or_default();
            counts[usize::from(!matches!(actual, Decision::Allowed(_)))] += 1;
            let expected = sites.iter().map(|site| decide(site, &caller.caller, &request));
            if !expected.clone().any(|expected| expected == actual) {
                let expected: Vec<_> = expected.collect();
                differences.push(format!(
                    "{actual:?} instead of {expected:?}\n  {request:?}\n  {:?}",
                    caller.caller
                ));
            }
            if differences.len() >= DIFFERENCES_MAX {
                break;
            }
        }
    }
    let site = &sites[0];
    assert!(differences.is_empty(), "seed {seed}, {site:?}:\n{}", differences.join("\n"));
}
