//! Which pages increase, where another service counts the visitors: as list-api tells what became of
//! its calls, which a test says.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_core::{KeyHash, Timestamp};
use mayfly_stack::Service;
use mayfly_tests::{Answer, OwnProcess, World, eventually};
use serde_json::json;
use tokio::time::Instant;

use super::{now, put_key, put_sighting, quiet, redis, sighting};

const SETTINGS: [(&str, &str); 1] = [("MAYFLY_RISING__SOURCE", "chartbeat")];

async fn start(world: &World) -> OwnProcess {
    OwnProcess::start_with(world, Service::ListApi, &SETTINGS).await
}

async fn ask(world: &World, list_api: &OwnProcess, key: &str, host: &str) -> Answer {
    let path = format!("/api/v1.0/increasingconcurrents?apikey={key}&host={host}");
    Answer::of(world.http.get(list_api.url(&path))).await
}

/// Says that a call failed.
async fn put_failure(world: &World, host: &str, at: Timestamp, what: &str) {
    let key = world.key(&format!("rising:source:{host}"));
    let at = at.as_millis().to_string();
    redis(world, &["HSET", &key, "failed_at", &at, "failure", what]).await;
}

async fn is_asked(world: &World, host: &str) -> bool {
    let mut redis = world.redis().await;
    let mut score = redis::cmd("ZSCORE");
    score.arg(world.key("rising:asked")).arg(host);
    let score: Option<f64> = score.query_async(&mut redis).await.expect("Redis answers");
    score.is_some()
}

fn ago(seconds: u64) -> Timestamp {
    now().before(Duration::from_secs(seconds))
}

#[tokio::test]
async fn what_was_seen_within_three_seconds_is_answered_without_asking() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let host = "fresh.up.example.org";
    put_key(&world, "fresh", &[host], false).await;
    put_sighting(&world, &sighting(host, now(), &[("/a", 3, Some(1))])).await;
    let list = ask(&world, &list_api, "fresh", host).await;
    assert_eq!(list.expect(200)[0]["change"], json!(2));
    assert!(!list.headers.contains_key("age"));
    assert!(!is_asked(&world, host).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_later_waits_for_what_is_seen_then_all_together() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let host = "later.up.example.org";
    put_key(&world, "later", &[host], false).await;
    put_sighting(&world, &sighting(host, ago(10), &[("/a", 3, Some(1))])).await;
    let asking = join_all((0..50).map(|_| ask(&world, &list_api, "later", host)));
    let publishing = async {
        eventually(Duration::from_secs(3), "it is asked for", async || {
            if is_asked(&world, host).await { Ok(()) } else { Err("not asked") }
        })
        .await;
        put_sighting(&world, &sighting(host, now(), &[("/a", 9, Some(3))])).await;
    };
    let (answers, ()) = tokio::join!(asking, publishing);
    for answer in answers {
        assert_eq!(answer.expect(200)[0]["change"], json!(6));
    }
}

#[tokio::test]
async fn where_the_source_failed_it_is_the_last_answer_of_a_minute_with_its_age() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let (host, old) = ("last.up.example.org", "old.up.example.org");
    put_key(&world, "last", &[host, old], false).await;
    put_sighting(&world, &sighting(host, ago(30), &[("/a", 3, Some(1))])).await;
    put_failure(&world, host, now(), "failed").await;
    let last = ask(&world, &list_api, "last", host).await;
    assert_eq!(last.expect(200)[0]["change"], json!(2));
    assert_eq!(last.header("mayfly-stale"), "true");
    let age: u64 = last.header("age").parse().expect("a number");
    assert!((30..=32).contains(&age), "{age}");

    put_sighting(&world, &sighting(old, ago(61), &[("/a", 3, Some(1))])).await;
    put_failure(&world, old, now(), "failed").await;
    ask(&world, &list_api, "last", old).await.expect_problem(502, "upstream_failed");
}

#[tokio::test]
async fn where_nobody_calls_the_source_it_is_told_within_five_seconds() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let host = "silent.up.example.org";
    put_key(&world, "silent", &[host], false).await;
    put_sighting(&world, &sighting(host, ago(20), &[("/a", 3, Some(1))])).await;
    let asked = Instant::now();
    let ours = ask(&world, &list_api, "silent", host);
    let (ours, unknown) = tokio::join!(ours, ask(&world, &list_api, "unknown", host));
    assert_eq!(ours.expect(200)[0]["change"], json!(2));
    assert_eq!(ours.header("mayfly-stale"), "true");
    // What was seen is for nobody whose key is not known to be good.
    unknown.expect_problem(502, "upstream_failed");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn where_the_source_refuses_it_is_400_and_a_revoked_key_is_never_tried() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let host = "refuses.up.example.org";
    put_key(&world, "refused", &[host], false).await;
    put_key(&world, "was-revoked", &[host], true).await;
    put_sighting(&world, &sighting(host, ago(20), &[("/a", 3, Some(1))])).await;
    put_failure(&world, host, now(), "refused").await;
    ask(&world, &list_api, "refused", host).await.expect_problem(400, "upstream_refused");
    ask(&world, &list_api, "was-revoked", host).await.expect_problem(401, "unauthorized");
    assert!(!is_asked(&world, host).await);
    let refused = format!("rising:refused:{}:{host}", KeyHash::of("stranger"));
    redis(&world, &["SET", &world.key(&refused), "1"]).await;
    ask(&world, &list_api, "stranger", host).await.expect_problem(400, "upstream_refused");
    ask(&world, &list_api, "", host).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_key_that_the_source_accepts_is_answered() {
    let world = quiet().await;
    let list_api = start(&world).await;
    let host = "accepts.up.example.org";
    let asking = ask(&world, &list_api, "stranger-2", host);
    let accepting = async {
        eventually(Duration::from_secs(3), "it is asked for", async || {
            if is_asked(&world, host).await { Ok(()) } else { Err("not asked") }
        })
        .await;
        put_sighting(&world, &sighting(host, now(), &[("/a", 9, None)])).await;
        let keys = world.key(&format!("rising:keys:{host}"));
        redis(&world, &["ZADD", &keys, "1", KeyHash::of("stranger-2").as_str()]).await;
    };
    let (answer, ()) = tokio::join!(asking, accepting);
    assert_eq!(answer.expect(200), json!([]));
}
