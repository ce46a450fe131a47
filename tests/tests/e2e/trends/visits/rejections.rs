//! Rejected visits, which do not count.

use mayfly_tests::{ApiResponse, Setup, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{count_stored, post, send, visit};

#[tokio::test]
async fn invalid_visit_is_reported_and_rejects_its_request() {
    let world = Setup::new().start().await;
    let host = "refused.test";
    let with = |name: &str, value: Value| {
        let mut one = visit(host, "/", "v");
        one[name] = value;
        one
    };
    for (body, fields) in [
        (json!({}), &["host", "path", "visitor"][..]),
        (
            json!([visit(host, "/", "v"), visit("a b", "", "")]),
            &["[1].host", "[1].path", "[1].visitor"],
        ),
        (with("host", json!("h".repeat(254))), &["host"]),
        (with("path", json!("/a\u{7}")), &["path"]),
        (with("path", json!("p".repeat(1_025))), &["path"]),
        (with("title", json!("t".repeat(257))), &["title"]),
        (with("title", json!("")), &["title"]),
        (with("visitor", json!("v".repeat(129))), &["visitor"]),
        (with("visitor", json!("\u{0}")), &["visitor"]),
        (with("ttl", json!(5)), &["ttl"]),
        (json!(vec![visit(host, "/", "v"); 1_001]), &[""]),
        (json!([]), &[""]),
    ] {
        let response = post(&world, &body).await;
        assert_eq!(response.expect_problem(400, "invalid_field"), fields, "{body}");
    }
    assert_eq!(count_stored(&world, host).await, 0);
    let longest = json!({"host": "H".repeat(253), "path": "p".repeat(1_024), "title": "ü".repeat(256),
        "visitor": "v".repeat(128)});
    assert_eq!(post(&world, &longest).await.expect_status(202), json!({"accepted": 1}));
    assert_eq!(count_stored(&world, &"h".repeat(253)).await, 1, "the host is stored in lower case");
}

#[tokio::test]
async fn batch_above_the_rate_limit_is_rejected_completely() {
    let world = Setup::new()
        .set("MAYFLY_LIMITS__VISITS", "10/hour")
        .set("MAYFLY_LIMITS__PLAYS", "1/hour")
        .start()
        .await;
    let host = "limited.test";
    let batch = |from: u32, count: u32| {
        json!((from..from + count).map(|n| visit(host, "/", &format!("v{n}"))).collect::<Vec<_>>())
    };
    let first = post(&world, &batch(0, 8)).await;
    first.expect_status(202);
    assert_eq!(first.header("ratelimit-policy"), "\"visits\";q=10;w=3600");
    assert!(first.header("ratelimit").starts_with("\"visits\";r=2;t="));
    let rejected = post(&world, &batch(8, 3)).await;
    rejected.expect_problem(429, "rate_limited");
    assert!(rejected.header("retry-after").parse::<u64>().expect("seconds") > 3_000);
    post(&world, &batch(8, 2)).await.expect_status(202);
    post(&world, &batch(20, 1)).await.expect_problem(429, "rate_limited");
    assert_eq!(count_stored(&world, host).await, 10);
    // Plays have a separate limit.
    world.play(&["visits-limited"]).await;
}

#[tokio::test]
async fn visits_with_one_idempotency_key_are_accepted_once() {
    let world = Setup::new().set("MAYFLY_LIMITS__VISITS", "3/hour").start().await;
    let send_with_key = async |key: &str, body: &Value| {
        let request = world.http.post(world.ingest_url("/v1/visits")).json(body);
        ApiResponse::send(request.header("idempotency-key", key)).await
    };
    let two = json!([visit("once.test", "/", "a"), visit("once.test", "/", "b")]);
    let first = send_with_key("k", &two).await;
    assert_eq!(first.expect_status(202), json!({"accepted": 2}));
    for _ in 0..3 {
        let again = send_with_key("k", &two).await;
        assert_eq!(again.expect_status(202), json!({"accepted": 2}));
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    let other = visit("once.test", "/other", "c");
    send_with_key("k", &other).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(count_stored(&world, "once.test").await, 2);
    assert!(send_with_key("l", &other).await.header("ratelimit").starts_with("\"visits\";r=0;"));
}

#[tokio::test]
async fn request_above_the_page_limit_of_a_host_is_rejected_completely() {
    let world = Setup::new()
        .set("MAYFLY_VISITS__PAGES_MAX", "3")
        .set("MAYFLY_VISITS__TTL", "1s")
        .start()
        .await;
    let host = "pages.test";
    send(&world, &[visit(host, "/1", "a"), visit(host, "/2", "a")]).await;
    let beyond = ["/1", "/3", "/4"].map(|path| visit(host, path, "b"));
    assert_full(&world, &json!(beyond), "pages").await;
    assert_eq!(count_stored(&world, host).await, 2, "a rejected request stores nothing");
    send(&world, &["/1", "/3", "/3"].map(|path| visit(host, path, "b"))).await;
    assert_full(&world, &visit(host, "/4", "c"), "pages").await;
    send(&world, &[visit(host, "/3", "c"), visit("pages-2.test", "/4", "c")]).await;
    // Expired visitors free pages even without a publisher.
    mayfly_tests::eventually(
        std::time::Duration::from_secs(3),
        "the host has room again",
        async || {
            let response = post(&world, &visit(host, "/4", "c")).await;
            if response.status == 202 { Ok(()) } else { Err(response.text()) }
        },
    )
    .await;
    let names: Vec<String> = world
        .redis()
        .await
        .hvals(world.key(&format!("visits:{host}:names")))
        .await
        .expect("Redis responds");
    assert!(names.contains(&"/4".to_owned()) && !names.contains(&"/2".to_owned()), "{names:?}");
}

#[tokio::test]
async fn request_above_the_host_limit_is_rejected_completely() {
    let world = Setup::new().set("MAYFLY_VISITS__HOSTS_MAX", "2").start().await;
    send(&world, &[visit("hosts-1.test", "/", "a")]).await;
    let beyond = ["hosts-1.test", "hosts-2.test", "hosts-3.test"].map(|host| visit(host, "/", "b"));
    assert_full(&world, &json!(beyond), "hosts").await;
    assert_eq!(count_stored(&world, "hosts-2.test").await, 0, "a rejected request stores nothing");
    send(&world, &["hosts-1.test", "hosts-2.test"].map(|host| visit(host, "/", "b"))).await;
    assert_full(&world, &visit("hosts-3.test", "/", "b"), "hosts").await;
    assert_eq!(count_stored(&world, "hosts-1.test").await, 2);
}

async fn assert_full(world: &World, visits: &Value, limit: &str) {
    let rejected = post(world, visits).await;
    rejected.expect_problem(503, "overloaded");
    assert_eq!(rejected.header("retry-after"), "30");
    let detail = rejected.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(&format!("maximum number of {limit} with visitors")), "{detail}");
}
