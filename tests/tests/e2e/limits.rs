//! What one client may send, over all processes.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, is_full};
use redis::AsyncCommands;
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::{sync::OnceCell, time::sleep};

const LIMIT: usize = 100;

/// Three ingest-api with a limit, behind a proxy that they trust: each test is a client of its own.
async fn behind_a_proxy() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup = Setup::new()
        .with(Service::IngestApi, 3)
        .set("MAYFLY_LIMITS__MESSAGES", "100/minute")
        .set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8");
    setup.share(&WORLD).await
}

/// The n-th request of a client, through one ingest-api after the other.
fn post(world: &World, n: usize, path: &str, client: &str) -> RequestBuilder {
    let urls = world.urls(Service::IngestApi);
    let url = format!("{}{path}", urls[n % urls.len()]);
    world.http.post(url).header("x-forwarded-for", client)
}

async fn send(world: &World, n: usize, client: &str) -> Answer {
    Answer::of(post(world, n, "/v1/messages", client).json(&json!({"text": "x"}))).await
}

async fn send_batch(world: &World, messages: usize, client: &str) -> Answer {
    let channel = format!("of-{client}");
    let batch = vec![json!({"text": "x", "channel": channel}); messages];
    Answer::of(post(world, 0, "/v1/messages/batch", client).json(&batch)).await
}

/// The two numbers of `"messages";r=…;t=…`.
fn left(answer: &Answer) -> (u64, u64) {
    let text = answer.header("ratelimit").strip_prefix("\"messages\";r=").expect("the header");
    let (left, seconds) = text.split_once(";t=").expect("both parameters");
    (left.parse().expect("a number"), seconds.parse().expect("a number"))
}

#[tokio::test]
async fn exactly_the_101st_message_is_refused_over_three_processes_and_all_say_what_is_left() {
    let world = behind_a_proxy().await;
    assert_eq!(world.stack.env().urls(Service::IngestApi).len(), 3);
    let client = "198.51.100.1";
    let sent = join_all((0..=LIMIT).map(|n| send(&world, n, client))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        sent.iter().partition(|answer| answer.status == 202);
    assert_eq!((accepted.len(), refused.len()), (LIMIT, 1));
    let all_left: BTreeSet<u64> = accepted.iter().map(|answer| left(answer).0).collect();
    assert!(all_left.into_iter().eq(0..100), "each says another number");

    let refused = refused[0];
    refused.expect_problem(429, "rate_limited");
    let (remaining, resets_in) = left(refused);
    assert_eq!((remaining, refused.header("retry-after")), (0, resets_in.to_string().as_str()));
    assert!((1..=60).contains(&resets_in), "{resets_in}");
    for answer in &sent {
        assert_eq!(answer.header("ratelimit-policy"), "\"messages\";q=100;w=60");
    }
    assert_eq!(send(&world, 1, "198.51.100.2").await.status, 202, "another client");
}

#[tokio::test]
async fn after_the_window_which_opens_with_the_first_message_all_may_be_sent_again() {
    let world = behind_a_proxy().await;
    let client = "198.51.100.3";
    assert_eq!(send(&world, 0, client).await.status, 202);
    let key = world.key(&format!("rate:messages:60:{client}"));
    let mut redis = world.redis().await;
    if is_full() {
        sleep(Duration::from_secs(2)).await;
    } else {
        let _: () = redis.pexpire(&key, 40_000).await.expect("Redis answers");
    }
    send_batch(&world, LIMIT - 1, client).await.expect(202);
    let refused = send(&world, 0, client).await;
    refused.expect_problem(429, "rate_limited");
    let (_, mut resets_in) = left(&refused);
    let most = if is_full() { 58 } else { 40 };
    assert!((1..=most).contains(&resets_in), "{resets_in}: prolonged by what came later");
    if !is_full() {
        // Most of what is left is taken away.
        let _: () = redis.pexpire(&key, 500).await.expect("Redis answers");
        resets_in = 1;
    }
    sleep(Duration::from_secs(resets_in)).await;
    let answer = send_batch(&world, LIMIT, client).await;
    answer.expect(202);
    assert_eq!(left(&answer), (0, 60), "a new window");
    let lasts: i64 = redis.pttl(&key).await.expect("Redis answers");
    assert!((1..=60_000).contains(&lasts), "{lasts}: or the client would be shut out for ever");
}

#[tokio::test]
async fn a_batch_that_is_more_than_what_is_left_is_refused_whole() {
    let world = behind_a_proxy().await;
    let client = "198.51.100.4";
    let first = send_batch(&world, 50, client).await;
    first.expect(202);
    let refused = send_batch(&world, 60, client).await;
    refused.expect_problem(429, "rate_limited");
    assert_eq!(left(&refused).0, 50, "nothing of it counted");
    assert!(refused.text().contains("50 of 100 messages are left"), "{}", refused.text());
    send_batch(&world, 50, client).await.expect(202);
    send_batch(&world, 1, client).await.expect_problem(429, "rate_limited");
    let page = format!("/v1/messages?channel=of-{client}&limit=1000");
    eventually(PATIENCE, "what was accepted is stored, and no more", async || {
        let (_, page) = world.get(&page).await;
        let stored = page["items"].as_array().map(Vec::len);
        if stored == Some(LIMIT) { Ok(()) } else { Err(stored) }
    })
    .await;

    let never = send_batch(&world, 101, "198.51.100.5").await;
    never.expect_problem(429, "rate_limited");
    assert_eq!(left(&never), (100, 60));
    assert!(never.text().contains("101 at once never fit"), "{}", never.text());
}

#[tokio::test]
async fn what_is_refused_counts_for_nothing_and_every_write_route_counts() {
    let world = behind_a_proxy().await;
    let client = "198.51.100.6";
    for n in 0..10 {
        let wrong = post(&world, n, "/v1/messages", client).json(&json!({"ttl": 1}));
        Answer::of(wrong).await.expect_problem(400, "invalid_field");
    }
    let form = "username=a&city=b&state=c&message=d";
    let routes = [
        post(&world, 0, "/v1/messages", client).json(&json!({"text": "x"})),
        post(&world, 1, "/chat", client).json(&json!({"username": "a", "text": "x"})),
        post(&world, 2, "/dummy", client).json(&json!({"any": 1})),
        post(&world, 0, &format!("/message/write/?{form}"), client),
        world
            .http
            .get(world.ingest(&format!("/message/write/?{form}")))
            .header("x-forwarded-for", client),
        post(&world, 1, "/v1/messages/batch", client)
            .json(&[json!({"text": "x"}), json!({"text": "y"})]),
    ];
    let mut last = 100;
    for route in routes {
        let answer = Answer::of(route).await;
        assert!(matches!(answer.status, 201 | 202), "{}", answer.text());
        let (now, _) = left(&answer);
        last -= if last == 95 { 2 } else { 1 };
        assert_eq!(now, last);
    }
    assert_eq!(last, 93);
}

#[tokio::test]
async fn a_forged_forwarded_for_buys_nothing_and_behind_a_trusted_proxy_it_counts() {
    let world = Setup::new().set("MAYFLY_LIMITS__MESSAGES", "100/minute").start().await;
    send_batch(&world, LIMIT, "198.51.100.7").await.expect(202);
    for forged in ["198.51.100.8", "127.0.0.1", "::1", "garbage"] {
        send(&world, 0, forged).await.expect_problem(429, "rate_limited");
    }
    let plain = world.http.post(world.ingest("/v1/messages")).json(&json!({"text": "x"}));
    Answer::of(plain).await.expect_problem(429, "rate_limited");

    let world = behind_a_proxy().await;
    // What the client itself put before its own address is not believed.
    for n in 0..LIMIT {
        let forged = format!("192.0.2.{n}, 198.51.100.9, 10.0.0.{n}");
        assert_eq!(send(&world, n, &forged).await.status, 202);
    }
    send(&world, 0, "198.51.100.9").await.expect_problem(429, "rate_limited");
    assert_eq!(send(&world, 0, "192.0.2.1").await.status, 202);
}

#[tokio::test]
async fn a_thousand_addresses_of_one_64_are_one_client() {
    let world = behind_a_proxy().await;
    let address = |n: usize| format!("2001:db8:0:5:{:x}:{:x}::{n:x}", n * 7, n * 13);
    let answers = join_all((0..1_000).map(async |n| send(&world, n, &address(n)).await)).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, LIMIT);
    assert!(answers.iter().all(|answer| matches!(answer.status, 202 | 429)));
    assert_eq!(send(&world, 0, "2001:db8:0:6::1").await.status, 202, "the next /64");
}

#[tokio::test]
async fn reads_and_takes_have_no_limit() {
    let world = behind_a_proxy().await;
    let client = "198.51.100.10";
    send_batch(&world, LIMIT, client).await.expect(202);
    send(&world, 0, client).await.expect_problem(429, "rate_limited");
    for _ in 0..=LIMIT {
        let read = world.http.get(world.list("/v1/messages?limit=1"));
        Answer::of(read.header("x-forwarded-for", client)).await.expect(200);
        let take = world.http.post(world.list("/v1/users/nobody/messages/take"));
        Answer::of(take.header("x-forwarded-for", client)).await.expect(200);
    }
}

#[tokio::test]
async fn requests_of_one_client_in_one_trip_count_one_by_one() {
    let world = Setup::new()
        .set("MAYFLY_LIMITS__MESSAGES", "100/minute")
        .set("MAYFLY_HTTP__WORKERS", "1")
        .start()
        .await;
    // One thread, one way into Redis: what comes at once shares its trips.
    let sent = join_all((0..300).map(|n| send_keyed(&world, n))).await;
    let accepted = sent.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, LIMIT);
    let all_left: BTreeSet<u64> =
        sent.iter().filter(|answer| answer.status == 202).map(|answer| left(answer).0).collect();
    assert!(all_left.into_iter().eq(0..100));
}

async fn send_keyed(world: &World, n: usize) -> Answer {
    let key = format!("trip-{n}");
    let sent = world.http.post(world.ingest("/v1/messages")).header("idempotency-key", key);
    Answer::of(sent.json(&json!({"text": "x"}))).await
}
