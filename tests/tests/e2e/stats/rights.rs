//! Keys that are known and may not do what is needed.

use std::time::{Duration, Instant};

use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{Answer, OwnProcess, PATIENCE, World, eventually};
use serde_json::Value;

use super::{
    Announcements, intervals_of,
    put_gate::{PutGate, Puts},
    setup, start_own, time_of, wait_for_first, wait_for_newer, wait_for_readyz,
};

const INTERVAL: Duration = Duration::from_secs(2);

async fn start_behind(world: &World, gate: &PutGate) -> OwnProcess {
    let endpoint = gate.endpoint();
    start_own(world, Service::StatsPublisher, &[("AWS_ENDPOINT_URL", &endpoint)]).await
}

/// The parts of a process.
async fn parts_of(world: &World, process: &OwnProcess) -> Value {
    let url = format!("http://{}/readyz", process.admin);
    Answer::of(world.http.get(url)).await.json()["parts"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_may_not_put_stays_unready_beside_a_good_one_until_it_may() {
    let world = setup(0, "2s").start().await;
    let gate = PutGate::open(&world, Puts::Refuse).await;
    let refused = start_behind(&world, &gate).await;
    wait_for_readyz(&world, &refused, 503, &["\"s3_credentials\"", "a right is missing"]).await;
    assert_eq!(parts_of(&world, &refused).await["s3"]["status"], "up", "it answers");

    let good = start_own(&world, Service::StatsPublisher, &[]).await;
    let first = wait_for_first(&world).await;
    let announcements = Announcements::listen(&world).await;
    let mut last = first;
    let (began, before) = (Instant::now(), gate.seen());
    for _ in 0..3 {
        last = wait_for_newer(&world, &last, INTERVAL * 2).await;
        let url = format!("http://{}/readyz", refused.admin);
        let answer = Answer::of(world.http.get(url)).await;
        assert_eq!(answer.status, 503, "that another may put is no right: {}", answer.text());
    }
    let tried = eventually(PATIENCE, "it tries again", async || match gate.seen() - before {
        0 => Err(()),
        tried => Ok(tried),
    })
    .await;
    let lasted = began.elapsed();
    assert!(
        lasted * 15 >= INTERVAL * 3 * u32::try_from(tried).expect("few"),
        "it tried {tried} times in {lasted:?}"
    );
    let announced = announcements.stop().await;
    let intervals = intervals_of(&announced, INTERVAL);
    let expected: Vec<i64> = (intervals[0]..).take(intervals.len()).collect();
    assert_eq!(intervals, expected, "not one snapshot in each interval");

    gate.set(Puts::Pass);
    wait_for_readyz(&world, &refused, 200, &["\"status\":\"ready\""]).await;
    drop(good);
    // And leads, where it has to.
    let last: Option<Timestamp> = time_of(&last);
    eventually(PATIENCE, "it publishes", async || {
        let url = format!("http://{}/metrics", refused.admin);
        let metrics = Answer::of(world.http.get(url)).await.text();
        if metrics.contains("result=\"published\"} ") { Ok(()) } else { Err(last) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn list_api_that_signs_with_keys_that_are_refused_says_so_until_they_are_mended() {
    let world = setup(1, "1h").start().await;
    wait_for_first(&world).await;
    let file = world.spec.root.join("keys");
    let path = file.to_str().expect("it is text");
    super::credentials::write_keys(&world, path, "wrong");
    let settings = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SHARED_CREDENTIALS_FILE", path),
    ];
    let process = start_own(&world, Service::ListApi, &settings).await;
    let words = ["\"status\":\"degraded\"", "\"s3\"", "AWS_SECRET_ACCESS_KEY is wrong"];
    wait_for_readyz(&world, &process, 200, &words).await;
    let right = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
    super::credentials::write_keys(&world, path, &right);
    wait_for_readyz(&world, &process, 200, &["\"status\":\"ready\""]).await;
    let answer = Answer::of(world.http.get(process.url("/v1/stats"))).await;
    assert_eq!(answer.expect(200)["result"], "success");
}
