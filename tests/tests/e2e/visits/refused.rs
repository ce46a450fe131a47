//! What is taken and what is refused, and that nothing of that counts.

use mayfly_tests::{Answer, Setup, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{count_kept, post, send, visit};

#[tokio::test]
async fn what_is_wrong_is_named_and_the_rest_of_its_request_does_not_count() {
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
        let answer = post(&world, &body).await;
        assert_eq!(answer.expect_problem(400, "invalid_field"), fields, "{body}");
    }
    assert_eq!(count_kept(&world, host).await, 0);
    let longest = json!({"host": "H".repeat(253), "path": "p".repeat(1_024), "title": "ü".repeat(256),
        "visitor": "v".repeat(128)});
    assert_eq!(post(&world, &longest).await.expect(202), json!({"accepted": 1}));
    assert_eq!(count_kept(&world, &"h".repeat(253)).await, 1, "in small letters");
}

#[tokio::test]
async fn a_client_may_send_so_many_visits_and_a_batch_beyond_is_refused_whole() {
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
    first.expect(202);
    assert_eq!(first.header("ratelimit-policy"), "\"visits\";q=10;w=3600");
    assert!(first.header("ratelimit").starts_with("\"visits\";r=2;t="));
    let refused = post(&world, &batch(8, 3)).await;
    refused.expect_problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().expect("seconds") > 3_000);
    post(&world, &batch(8, 2)).await.expect(202);
    post(&world, &batch(20, 1)).await.expect_problem(429, "rate_limited");
    assert_eq!(count_kept(&world, host).await, 10);
    // Plays are counted apart.
    world.play(&["visits-limited"]).await;
}

#[tokio::test]
async fn under_one_key_visits_are_taken_once() {
    let world = Setup::new().set("MAYFLY_LIMITS__VISITS", "3/hour").start().await;
    let under = async |key: &str, body: &Value| {
        let request = world.http.post(world.ingest("/v1/visits")).json(body);
        Answer::of(request.header("idempotency-key", key)).await
    };
    let two = json!([visit("once.test", "/", "a"), visit("once.test", "/", "b")]);
    let first = under("k", &two).await;
    assert_eq!(first.expect(202), json!({"accepted": 2}));
    for _ in 0..3 {
        let again = under("k", &two).await;
        assert_eq!(again.expect(202), json!({"accepted": 2}));
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    let other = visit("once.test", "/other", "c");
    under("k", &other).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(count_kept(&world, "once.test").await, 2);
    assert!(under("l", &other).await.header("ratelimit").starts_with("\"visits\";r=0;"));
}

#[tokio::test]
async fn a_host_has_so_many_pages_and_a_request_beyond_is_refused_whole() {
    let world = Setup::new()
        .set("MAYFLY_VISITS__PAGES_MAX", "3")
        .set("MAYFLY_VISITS__TTL", "1s")
        .start()
        .await;
    let host = "pages.test";
    send(&world, &[visit(host, "/1", "a"), visit(host, "/2", "a")]).await;
    let beyond = ["/1", "/3", "/4"].map(|path| visit(host, path, "b"));
    assert_full(&world, &json!(beyond), "pages").await;
    assert_eq!(count_kept(&world, host).await, 2, "nothing of it was taken");
    send(&world, &["/1", "/3", "/3"].map(|path| visit(host, path, "b"))).await;
    assert_full(&world, &visit(host, "/4", "c"), "pages").await;
    send(&world, &[visit(host, "/3", "c"), visit("pages-2.test", "/4", "c")]).await;
    // When visitors have left there is room again, whether anybody counts or not.
    mayfly_tests::eventually(std::time::Duration::from_secs(3), "there is room", async || {
        let answer = post(&world, &visit(host, "/4", "c")).await;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let names: Vec<String> = world
        .redis()
        .await
        .hvals(world.key(&format!("visits:{host}:names")))
        .await
        .expect("Redis answers");
    assert!(names.contains(&"/4".to_owned()) && !names.contains(&"/2".to_owned()), "{names:?}");
}

#[tokio::test]
async fn there_are_so_many_hosts_and_a_request_beyond_is_refused_whole() {
    let world = Setup::new().set("MAYFLY_VISITS__HOSTS_MAX", "2").start().await;
    send(&world, &[visit("hosts-1.test", "/", "a")]).await;
    let beyond = ["hosts-1.test", "hosts-2.test", "hosts-3.test"].map(|host| visit(host, "/", "b"));
    assert_full(&world, &json!(beyond), "hosts").await;
    assert_eq!(count_kept(&world, "hosts-2.test").await, 0, "nothing of it was taken");
    send(&world, &["hosts-1.test", "hosts-2.test"].map(|host| visit(host, "/", "b"))).await;
    assert_full(&world, &visit("hosts-3.test", "/", "b"), "hosts").await;
    assert_eq!(count_kept(&world, "hosts-1.test").await, 2);
}

async fn assert_full(world: &World, visits: &Value, what: &str) {
    let refused = post(world, visits).await;
    refused.expect_problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "30");
    let detail = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(&format!("as many {what} with visitors")), "{detail}");
}
