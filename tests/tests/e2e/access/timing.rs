//! The duration of a rejected request does not reveal what exists.

use std::time::{Duration, Instant};

use mayfly_tests::{World, short_or_full};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{
    create_operator,
    credentials::{NewKey, create_keys, create_token},
    message, post, post_message, shared, wait_until_stored,
};

const UNKNOWN_ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";
/// The number of measurements. A difference that the load of the machine causes is not in all of
/// them.
const ROUNDS: usize = 5;
/// A difference that is too short to be measured over a network.
const UNDETECTABLE: Duration = Duration::from_micros(10);

/// Two requests. One names something that exists, the other does not.
struct Pair {
    name: &'static str,
    /// The status of both responses.
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

/// Returns the typical durations of both requests: the medians in a full run, otherwise the first
/// deciles, which the load of other tests affects less. The requests alternate, so that a change of
/// the load affects both.
async fn measure_pair(pair: &Pair) -> [Duration; 2] {
    let tries = short_or_full(200, 1_000);
    let mut durations = [Vec::new(), Vec::new()];
    for number in 0..tries {
        // The order alternates too, because the first request may find idle connections.
        for index in [number % 2, 1 - number % 2] {
            durations[index].push(measure(&pair.requests[index], pair.status).await);
        }
    }
    durations.map(|mut durations| {
        durations.sort_unstable();
        durations[short_or_full(durations.len() / 10, durations.len() / 2)]
    })
}

/// Returns a description of the difference if the durations differ in every round.
async fn find_difference(pair: &Pair) -> Option<String> {
    let percent_max = short_or_full(20, 5);
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let [existing, missing] = measure_pair(pair).await;
        let allowed = (existing.min(missing) * percent_max / 100).max(UNDETECTABLE);
        measured.push((existing, missing));
        if existing.abs_diff(missing) <= allowed {
            println!("{}: {measured:?}", pair.name);
            return None;
        }
    }
    Some(format!("{}: {measured:?}", pair.name))
}

/// Creates the pairs, with everything that they name.
async fn create_pairs(world: &World) -> Vec<Pair> {
    let operator = create_operator(world).await;
    let hot = post_message(world, &message("time-secret", "time-eve", "x"), &operator).await;
    let cold = json!({"channel": "time-secret", "username": "time-eve", "text": "x", "ttl": 0});
    let cold = post_message(world, &cold, &operator).await;
    let data = "x".repeat(60_000);
    let large = |ttl: u32| json!({"channel": "time-secret", "text": "x", "data": data, "ttl": ttl});
    let large_hot = post_message(world, &large(600), &operator).await;
    let large_cold = post_message(world, &large(0), &operator).await;
    for id in [&hot, &cold, &large_hot, &large_cold] {
        wait_until_stored(world, id).await;
    }
    let visit = json!({"host": "time.example.org", "path": "/", "visitor": "v"});
    post(world, "/v1/visits", &visit, &operator).await.expect_status(202);
    let play = json!({"video_id": "time-video"});
    post(world, "/v1/plays", &play, &operator).await.expect_status(202);
    let rights = json!({
        "publish": ["time-open"], "subscribe": ["time-open"], "hosts": ["open.org"], "inbox": true
    });
    let token = create_token("time-fred", rights);
    let operate = NewKey { scopes: &["operate"], ..NewKey::default() };
    let keys = [
        NewKey { is_revoked: true, ..operate },
        NewKey { scopes: &["read"], usernames: Some(&["time-fred"]), ..NewKey::default() },
    ];
    let [revoked, reader] = create_keys(world, &keys).await.try_into().expect("two keys");
    // The ID of a key is not secret.
    let wrong_secret = format!("{}{}", &operator[..operator.len() - 43], "b".repeat(43));
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
    let with_reader = |id: &str| {
        world.http.get(world.list_url(&format!("/v1/messages/{id}"))).bearer_auth(&reader)
    };
    let take = |username: &str| {
        let path = format!("/v1/users/{username}/messages/take");
        world.http.post(world.list_url(&path)).bearer_auth(&token)
    };
    let plays = |video: &str| list(format!("/v1/plays/{video}"));
    let with_key =
        |key: &str| world.http.get(world.list_url("/v1/messages?limit=1")).bearer_auth(key);
    let pair = |name, status, requests| Pair { name, status, requests };
    vec![
        pair("read a live message", 404, [by_id(&hot), by_id(UNKNOWN_ID)]),
        pair("read a stored message", 404, [by_id(&cold), by_id(UNKNOWN_ID)]),
        pair("read a large live message", 404, [by_id(&large_hot), by_id(UNKNOWN_ID)]),
        pair("read a large stored message", 404, [by_id(&large_cold), by_id(UNKNOWN_ID)]),
        pair("delete a message", 404, [delete(&hot), delete(UNKNOWN_ID)]),
        pair("read an inbox", 403, [inbox("time-eve"), inbox("time-nobody")]),
        pair("list a channel", 403, [filtered("time-secret"), filtered("time-missing")]),
        pair("read a host", 403, [pages("time.example.org"), pages("time.missing.org")]),
        pair("publish on a channel", 403, [publish("time-secret"), publish("time-missing")]),
        pair("unknown key", 401, [with_unknown_key(&hot), with_unknown_key(UNKNOWN_ID)]),
        pair("revoked key", 401, [with_key(&revoked), with_key(&unknown)]),
        pair("wrong secret", 401, [with_key(&wrong_secret), with_key(&unknown)]),
        pair("key of another username", 404, [with_reader(&hot), with_reader(UNKNOWN_ID)]),
        pair("take an inbox", 403, [take("time-eve"), take("time-nobody")]),
        pair("play of a video", 403, [plays("time-video"), plays("time-missing")]),
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

/// A measurement that cannot find a difference would prove nothing.
#[tokio::test]
async fn longer_request_is_found() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let full: Value = (0..100).map(|_| message("time-full", "time-full", "x")).collect();
    post(&world, "/v1/messages/batch", &full, &operator).await.expect_status(202);
    let inbox = |username: &str| {
        let path = format!("/v1/users/{username}/messages");
        world.http.get(world.list_url(&path)).bearer_auth(&operator)
    };
    let pair = |usernames: [&str; 2]| {
        let requests = usernames.map(inbox);
        Pair { name: "inboxes", status: 200, requests }
    };
    assert_eq!(find_difference(&pair(["time-empty", "time-none"])).await, None);
    assert!(find_difference(&pair(["time-full", "time-none"])).await.is_some());
}
