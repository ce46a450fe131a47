//! The duration of a rejected request does not reveal what exists.

use std::time::{Duration, Instant};

use mayfly_tests::{World, is_full, short_or_full};
use reqwest::RequestBuilder;
use serde_json::json;

use super::{
    create_operator,
    credentials::{NewKey, create_keys, create_token},
    message, post, post_message, shared, wait_until_stored,
};

const UNKNOWN_ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";
/// The number of measurements. A difference that the load of the machine causes is not in all of
/// them.
const ROUNDS: usize = 5;

/// A pair of requests with the same response: one names something that exists, the other does not.
struct Pair {
    name: &'static str,
    status: u16,
    requests: [RequestBuilder; 2],
}

/// Sends a request and returns its duration.
async fn measure(request: &RequestBuilder, status: u16) -> Duration {
    let request = request.try_clone().expect("the body is not a stream");
    let started = Instant::now();
    let response = request.send().await.expect("the service responds");
    let duration = started.elapsed();
    assert_eq!(response.status().as_u16(), status);
    // The connection is used again only after its response was read.
    response.bytes().await.expect("the response is complete");
    duration
}

/// Returns the medians of both durations. The requests alternate, so that a change of the load
/// affects both.
async fn measure_medians(pair: &Pair, tries: usize) -> [Duration; 2] {
    let mut durations = [Vec::new(), Vec::new()];
    for _ in 0..tries {
        for (request, durations) in pair.requests.iter().zip(&mut durations) {
            durations.push(measure(request, pair.status).await);
        }
    }
    durations.map(|mut durations| {
        durations.sort_unstable();
        durations[durations.len() / 2]
    })
}

/// Returns a description of the difference if the medians differ in every round.
async fn find_difference(pair: &Pair) -> Option<String> {
    let tries = short_or_full(200, 1_000);
    // In the short form, the medians of few durations are compared on a busy machine.
    let percent_max = if is_full() { 5 } else { 25 };
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let [existing, missing] = measure_medians(pair, tries).await;
        let difference = existing.abs_diff(missing);
        if difference * 100 <= missing * percent_max {
            return None;
        }
        measured.push((existing, missing));
    }
    Some(format!("{}: {measured:?}", pair.name))
}

/// Creates the pairs, with everything that they name.
async fn create_pairs(world: &World) -> Vec<Pair> {
    let operator = create_operator(world).await;
    let hot = post_message(world, &message("time-secret", "time-eve", "x"), &operator).await;
    let cold = json!({"channel": "time-secret", "username": "time-eve", "text": "x", "ttl": 0});
    let cold = post_message(world, &cold, &operator).await;
    wait_until_stored(world, &hot).await;
    wait_until_stored(world, &cold).await;
    let visit = json!({"host": "time.example.org", "path": "/", "visitor": "v"});
    post(world, "/v1/visits", &visit, &operator).await.expect_status(202);
    let rights = json!({
        "publish": ["time-open"], "subscribe": ["time-open"], "hosts": ["open.org"], "inbox": true
    });
    let token = create_token("time-fred", rights);
    let revoked = NewKey { scopes: &["operate"], is_revoked: true, ..NewKey::default() };
    let revoked = create_keys(world, &[revoked]).await.remove(0);
    let unknown = format!("mf_{}_{}", "a".repeat(12), "b".repeat(43));

    let list = |path: String| world.http.get(world.list_url(&path)).bearer_auth(&token);
    let by_id = |id: &str| list(format!("/v1/messages/{id}"));
    let delete = |id: &str| {
        world.http.delete(world.list_url(&format!("/v1/messages/{id}"))).bearer_auth(&token)
    };
    let inbox = |username: &str| list(format!("/v1/users/{username}/messages"));
    let filtered = |channel: &str| list(format!("/v1/messages?channel={channel}"));
    let pages = |host: &str| list(format!("/v1/hosts/{host}/pages"));
    let publish = |channel: &str| {
        let request = world.http.post(world.ingest_url("/v1/messages"));
        request.json(&message(channel, "", "x")).bearer_auth(&token)
    };
    let with_unknown_key = |id: &str| {
        world.http.get(world.list_url(&format!("/v1/messages/{id}"))).bearer_auth(&unknown)
    };
    let with_key =
        |key: &str| world.http.get(world.list_url("/v1/messages?limit=1")).bearer_auth(key);
    let pair = |name, status, requests| Pair { name, status, requests };
    vec![
        pair("read a live message", 404, [by_id(&hot), by_id(UNKNOWN_ID)]),
        pair("read a stored message", 404, [by_id(&cold), by_id(UNKNOWN_ID)]),
        pair("delete a message", 404, [delete(&hot), delete(UNKNOWN_ID)]),
        pair("read an inbox", 403, [inbox("time-eve"), inbox("time-nobody")]),
        pair("list a channel", 403, [filtered("time-secret"), filtered("time-missing")]),
        pair("read a host", 403, [pages("time.example.org"), pages("time.missing.org")]),
        pair("publish on a channel", 403, [publish("time-secret"), publish("time-missing")]),
        pair("unknown key", 401, [with_unknown_key(&hot), with_unknown_key(UNKNOWN_ID)]),
        pair("revoked key", 401, [with_key(&revoked), with_key(&unknown)]),
    ]
}

#[tokio::test]
async fn rejection_takes_as_long_for_what_exists_as_for_what_does_not() {
    let world = shared().await;
    let mut differences = Vec::new();
    for pair in create_pairs(&world).await {
        differences.extend(find_difference(&pair).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
