//! Every row of the table of routes with every kind of caller. [`expectation`] states separately
//! from the product what each caller may do.

mod callers;
mod expectation;
mod requests;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mayfly_http::routes;
use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually};
use reqwest::Client;
use serde_json::json;

use self::{
    callers::{Caller, create_callers},
    expectation::{Expectation, expect},
    requests::{Endpoint, endpoints},
};
use super::{
    create_operator, get, message, new_client, post, post_message, shared, wait_until_stored,
};

/// The number of concurrent requests.
const CONCURRENT_REQUESTS: usize = 8;
/// The names in the requests.
const CHANNEL: &str = "matrix";
const USERNAME: &str = "matrix-fred";
const VIDEO: &str = "matrix";
const HOST: &str = "matrix.example.org";

/// Sends one request. Returns a description of the difference if the response is not as expected.
async fn check(
    client: &Client,
    world: &World,
    endpoint: &Endpoint,
    caller: &Caller,
    message_id: &str,
) -> Option<String> {
    let request = endpoint.build(client, world, caller, message_id);
    let response = request.send().await.expect("the service responds");
    let status = response.status().as_u16();
    let challenge = response.headers().get("www-authenticate").is_some();
    let expected = expect(endpoint, caller);
    let is_expected = match expected {
        Expectation::Unauthorized => status == 401 && challenge,
        Expectation::Forbidden => status == 403,
        Expectation::NotFound => status == 404,
        // No stats-publisher is running.
        Expectation::Allowed if endpoint.path == "/v1/pulse" => matches!(status, 200 | 503),
        // A WebSocket requires an upgrade.
        Expectation::Allowed => matches!(status, 200..=204 | 426),
        Expectation::Public => !matches!(status, 401 | 403),
    };
    let name = &caller.name;
    (!is_expected).then(|| format!("{endpoint}: {name}: {status} instead of {expected:?}"))
}

#[tokio::test]
async fn exactly_the_allowed_requests_are_executed() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let id = post_message(&world, &message(CHANNEL, USERNAME, "x"), &operator).await;
    wait_until_stored(&world, &id).await;
    let play = json!({"video_id": VIDEO});
    post(&world, "/v1/plays", &play, &operator).await.expect_status(202);
    eventually(DEFAULT_TIMEOUT, "the play is counted", async || {
        match get(&world, &format!("/v1/plays/{VIDEO}"), &operator).await.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    let callers = create_callers(&world).await;
    let endpoints = endpoints();
    let client = new_client();
    let pairs =
        endpoints.iter().flat_map(|endpoint| callers.iter().map(move |one| (endpoint, one)));
    let checks = pairs.map(|(endpoint, caller)| check(&client, &world, endpoint, caller, &id));
    let wrong: Vec<String> = stream::iter(checks)
        .buffer_unordered(CONCURRENT_REQUESTS)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// A matrix that only ever expects one outcome would prove nothing.
#[tokio::test]
async fn every_protected_endpoint_has_callers_with_and_without_access() {
    let callers = create_callers(&shared().await).await;
    for endpoint in endpoints() {
        let expected: BTreeSet<_> =
            callers.iter().map(|caller| expect(&endpoint, caller)).collect();
        if endpoint.access == routes::RouteAccess::Public {
            assert_eq!(expected, BTreeSet::from([Expectation::Public]), "{endpoint}");
        } else {
            assert!(expected.contains(&Expectation::Allowed), "{endpoint}");
            assert!(expected.contains(&Expectation::Unauthorized), "{endpoint}");
        }
    }
    let rows: BTreeSet<_> = endpoints().iter().map(ToString::to_string).collect();
    assert!(rows.len() > 40, "{rows:?}");
}
