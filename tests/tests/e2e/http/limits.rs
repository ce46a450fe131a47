//! Rate limits per client, shared by all processes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, ServiceProcess, Setup, World, eventually};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const LIMIT: usize = 100;

/// Returns a stack with three rate-limited `ingest-api` that trust a proxy. Each test uses its own
/// client.
async fn shared_world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup = Setup::new()
        .scale(Service::IngestApi, 3)
        .set("MAYFLY_LIMITS__MESSAGES", "100/minute")
        .set("MAYFLY_LIMITS__PLAYS", "100/minute")
        .set("MAYFLY_LIMITS__VISITS", "100/minute")
        .set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8");
    setup.share(&WORLD).await
}

/// Builds the n-th request of a client; requests rotate over the `ingest-api` instances.
fn post(world: &World, n: usize, path: &str, client: &str) -> RequestBuilder {
    let urls = world.urls(Service::IngestApi);
    let url = format!("{}{path}", urls[n % urls.len()]);
    world.http.post(url).header("x-forwarded-for", client)
}

async fn send(world: &World, n: usize, client: &str) -> ApiResponse {
    ApiResponse::send(post(world, n, "/v1/messages", client).json(&json!({"text": "x"}))).await
}

async fn send_batch(world: &World, messages: usize, client: &str) -> ApiResponse {
    let channel = format!("of-{client}");
    let batch = vec![json!({"text": "x", "channel": channel}); messages];
    ApiResponse::send(post(world, 0, "/v1/messages/batch", client).json(&batch)).await
}

/// Parses the two numbers of `"messages";r=…;t=…`.
fn remaining(response: &ApiResponse) -> (u64, u64) {
    let text =
        response.header("ratelimit").strip_prefix("\"messages\";r=").expect("the header is set");
    let (remaining, seconds) = text.split_once(";t=").expect("both parameters");
    (remaining.parse().expect("a number"), seconds.parse().expect("a number"))
}

#[tokio::test]
async fn limit_is_exact_across_three_processes() {
    let world = shared_world().await;
    assert_eq!(world.stack.env().urls(Service::IngestApi).len(), 3);
    let client = "198.51.100.1";
    let sent = join_all((0..=LIMIT).map(|n| send(&world, n, client))).await;
    let (accepted, rejected): (Vec<_>, Vec<_>) =
        sent.iter().partition(|response| response.status == 202);
    assert_eq!((accepted.len(), rejected.len()), (LIMIT, 1));
    let all_remaining: BTreeSet<u64> =
        accepted.iter().map(|response| remaining(response).0).collect();
    assert!(all_remaining.into_iter().eq(0..100), "each response has a different remainder");

    let rejected = rejected[0];
    rejected.expect_problem(429, "rate_limited");
    let (rest, resets_in) = remaining(rejected);
    assert_eq!((rest, rejected.header("retry-after")), (0, resets_in.to_string().as_str()));
    assert!((1..=60).contains(&resets_in), "{resets_in}");
    for response in &sent {
        assert_eq!(response.header("ratelimit-policy"), "\"messages\";q=100;w=60");
    }
    assert_eq!(send(&world, 1, "198.51.100.2").await.status, 202, "another client");
}

#[tokio::test]
async fn batch_above_the_remainder_is_rejected_completely() {
    let world = shared_world().await;
    let client = "198.51.100.4";
    let first = send_batch(&world, 50, client).await;
    first.expect_status(202);
    let rejected = send_batch(&world, 60, client).await;
    rejected.expect_problem(429, "rate_limited");
    assert_eq!(remaining(&rejected).0, 50, "a rejected batch does not count");
    assert!(rejected.text().contains("50 of 100 messages are left"), "{}", rejected.text());
    send_batch(&world, 50, client).await.expect_status(202);
    send_batch(&world, 1, client).await.expect_problem(429, "rate_limited");
    let page = format!("/v1/messages?channel=of-{client}&limit=1000");
    eventually(DEFAULT_TIMEOUT, "exactly the accepted messages are stored", async || {
        let (_, page) = world.get(&page).await;
        let stored = page["items"].as_array().map(Vec::len);
        if stored == Some(LIMIT) { Ok(()) } else { Err(stored) }
    })
    .await;

    let oversized = send_batch(&world, 101, "198.51.100.5").await;
    oversized.expect_problem(429, "rate_limited");
    assert_eq!(remaining(&oversized), (100, 60));
    assert!(oversized.text().contains("Send at most 100 instead of 101"), "{}", oversized.text());
}

/// Parsing costs CPU time. A request that exceeds its limit is therefore rejected before it is
/// parsed, so it receives 429 even if it is invalid.
#[tokio::test]
async fn request_above_the_limit_is_rejected_before_it_is_parsed() {
    let world = shared_world().await;
    let client = "198.51.100.11";
    for (path, invalid) in [
        ("/v1/messages/batch", json!({"ttl": 1})),
        ("/v1/plays", json!({})),
        ("/v1/visits", json!({})),
    ] {
        let send = async |items| {
            ApiResponse::send(post(&world, 0, path, client).json(&vec![invalid.clone(); items]))
                .await
        };
        send(LIMIT + 1).await.expect_problem(429, "rate_limited");
        send(LIMIT).await.expect_problem(400, "invalid_field");
    }
    send_batch(&world, LIMIT, client).await.expect_status(202);
    // A process remembers for one second that the limit is used up.
    eventually(DEFAULT_TIMEOUT, "invalid JSON receives 429", async || {
        send(&world, 0, client).await.expect_problem(429, "rate_limited");
        let invalid = post(&world, 0, "/v1/messages", client).body("{");
        let response = ApiResponse::send(invalid.header("content-type", "application/json")).await;
        if response.status == 429 { Ok(()) } else { Err(response.status) }
    })
    .await;
}

#[tokio::test]
async fn every_write_route_counts_and_rejected_requests_do_not() {
    let world = shared_world().await;
    let client = "198.51.100.6";
    for n in 0..10 {
        let wrong = post(&world, n, "/v1/messages", client).json(&json!({"ttl": 1}));
        ApiResponse::send(wrong).await.expect_problem(400, "invalid_field");
    }
    let form = "username=a&city=b&state=c&message=d";
    let routes = [
        post(&world, 0, "/v1/messages", client).json(&json!({"text": "x"})),
        post(&world, 1, "/chat", client).json(&json!({"username": "a", "text": "x"})),
        post(&world, 2, "/dummy", client).json(&json!({"any": 1})),
        post(&world, 0, &format!("/message/write/?{form}"), client),
        world
            .http
            .get(world.ingest_url(&format!("/message/write/?{form}")))
            .header("x-forwarded-for", client),
        post(&world, 1, "/v1/messages/batch", client)
            .json(&[json!({"text": "x"}), json!({"text": "y"})]),
    ];
    let mut last = 100;
    for route in routes {
        let response = ApiResponse::send(route).await;
        assert!(matches!(response.status, 201 | 202), "{}", response.text());
        let (now, _) = remaining(&response);
        last -= if last == 95 { 2 } else { 1 };
        assert_eq!(now, last);
    }
    assert_eq!(last, 93);
}

#[tokio::test]
async fn forwarded_for_is_used_only_from_trusted_proxies() {
    let world = Setup::new().set("MAYFLY_LIMITS__MESSAGES", "100/minute").start().await;
    send_batch(&world, LIMIT, "198.51.100.7").await.expect_status(202);
    for forged in ["198.51.100.8", "127.0.0.1", "::1", "garbage"] {
        send(&world, 0, forged).await.expect_problem(429, "rate_limited");
    }
    let plain = world.http.post(world.ingest_url("/v1/messages")).json(&json!({"text": "x"}));
    ApiResponse::send(plain).await.expect_problem(429, "rate_limited");

    let world = shared_world().await;
    // Addresses that the client prepended itself are ignored.
    for n in 0..LIMIT {
        let forged = format!("192.0.2.{n}, 198.51.100.9, 10.0.0.{n}");
        assert_eq!(send(&world, n, &forged).await.status, 202);
    }
    send(&world, 0, "198.51.100.9").await.expect_problem(429, "rate_limited");
    assert_eq!(send(&world, 0, "192.0.2.1").await.status, 202);
}

#[tokio::test]
async fn ipv6_addresses_of_one_64_prefix_are_one_client() {
    let world = shared_world().await;
    let address = |n: usize| format!("2001:db8:0:5:{:x}:{:x}::{n:x}", n * 7, n * 13);
    let responses = join_all((0..1_000).map(async |n| send(&world, n, &address(n)).await)).await;
    let accepted = responses.iter().filter(|response| response.status == 202).count();
    assert_eq!(accepted, LIMIT);
    assert!(responses.iter().all(|response| matches!(response.status, 202 | 429)));
    assert_eq!(send(&world, 0, "2001:db8:0:6::1").await.status, 202, "the next /64");
}

#[tokio::test]
async fn reads_and_takes_are_not_limited() {
    let world = shared_world().await;
    let client = "198.51.100.10";
    send_batch(&world, LIMIT, client).await.expect_status(202);
    send(&world, 0, client).await.expect_problem(429, "rate_limited");
    for _ in 0..=LIMIT {
        let read = world.http.get(world.list_url("/v1/messages?limit=1"));
        ApiResponse::send(read.header("x-forwarded-for", client)).await.expect_status(200);
        let take = world.http.post(world.list_url("/v1/users/nobody/messages/take"));
        ApiResponse::send(take.header("x-forwarded-for", client)).await.expect_status(200);
    }
}

/// The limit is the default of `MAYFLY_LIMITS__VISITS`, which a test of the settings checks.
#[tokio::test]
async fn hundred_visitors_behind_one_address_stay_within_the_visit_limit() {
    let world = World::shared().await;
    let settings = [("MAYFLY_LIMITS__VISITS", "600/minute")];
    let service = ServiceProcess::start_with(&world, Service::IngestApi, &settings).await;
    let host = "office.test";
    let visit = |visitor: usize, page: usize| {
        let path = format!("/{page}");
        json!({"host": host, "path": path, "visitor": visitor.to_string()})
    };
    let send = async |visits: Value| {
        ApiResponse::send(world.http.post(service.url("/v1/visits")).json(&visits)).await
    };
    // These are the heartbeats of each visitor every 10 seconds for almost a minute.
    for page in 0..5 {
        let responses = join_all((0..100).map(|visitor| send(visit(visitor, page)))).await;
        assert!(responses.iter().all(|one| one.status == 202), "{:?}", responses.last());
    }
    let (_, pages) = world.get(&format!("/v1/hosts/{host}/pages")).await;
    assert_eq!(pages["visitors"], 100);
    // A visitor counts once per second, so a visitor who sends more does not exclude the others.
    for _ in 0..5 {
        let responses = join_all((0..100).map(|_| send(visit(0, 0)))).await;
        assert!(responses.iter().all(|one| one.status == 202), "{:?}", responses.last());
    }
    send(visit(100, 0)).await.expect_status(202);
    let others: Vec<_> = (101..201).map(|visitor| visit(visitor, 0)).collect();
    send(others.into()).await.expect_problem(429, "rate_limited");
}
