//! Every row of the table of routes, and every subscription, with every kind of caller.
//! [`expectation`] and [`subscription`] state separately from the product what each caller may do.

mod callers;
mod expectation;
mod live;
mod requests;
mod subscription;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mayfly_http::routes;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, World, eventually};
use reqwest::Client;
use serde_json::{Value, json};

use self::{
    callers::{Caller, Rights, create_callers},
    expectation::{Expectation, expect},
    requests::{Endpoint, Names, endpoints},
};
use super::{
    create_operator, get, message, new_client, post, post_message, shared, wait_until_stored,
};

/// The number of concurrent requests.
const CONCURRENT_REQUESTS: usize = 8;
/// The names in the requests.
const CHANNEL: &str = "matrix";
const USERNAME: &str = "matrix-fred";
const VIDEO: &str = "matrix-video";
const HOST: &str = "matrix.example.org";

/// Names of which nothing exists.
const MISSING: Names<'static> = Names {
    channel: "matrix-missing",
    username: "matrix-nobody",
    video: "matrix-unseen",
    host: "missing.matrix.example.org",
    message_id: "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47",
};

/// Sends one request. Returns a description of the difference if the response is not as expected.
async fn check(
    client: &Client,
    world: &World,
    endpoint: &Endpoint,
    caller: &Caller,
    existing: &Names<'_>,
) -> Option<String> {
    let name = &caller.name;
    let request = endpoint.build(client, world, caller, existing);
    let response = request.send().await.expect("the service responds");
    let status = response.status().as_u16();
    let challenge = response.headers().get("www-authenticate");
    let expected = expect(endpoint, caller);
    let is_expected = match expected {
        Expectation::Unauthorized => {
            status == 401 && challenge.is_some_and(|text| text.as_bytes().starts_with(b"Bearer"))
        }
        Expectation::Forbidden => status == 403,
        Expectation::NotFound => status == 404,
        // No stats-publisher is running.
        Expectation::Allowed if endpoint.path == "/v1/pulse" => matches!(status, 200 | 503),
        // A WebSocket requires an upgrade.
        Expectation::Allowed => matches!(status, 200..=204 | 426),
        Expectation::Public => !matches!(status, 401 | 403),
    };
    if !is_expected {
        return Some(format!("{endpoint}: {name}: {status} instead of {expected:?}"));
    }
    if matches!(expected, Expectation::Allowed | Expectation::Public) {
        // An event stream does not end.
        return None;
    }
    // The same requests for what exists and for what does not. The own username of a caller is not
    // replaced, because another one has another meaning.
    let is_own = matches!(&caller.rights, Rights::Token(token) if token.is_subject);
    let missing = Names { username: if is_own { USERNAME } else { MISSING.username }, ..MISSING };
    let send = async |names| {
        describe(&ApiResponse::send(endpoint.build(client, world, caller, names)).await, names)
    };
    let (described, missing) = (send(existing).await, send(&missing).await);
    (described != missing).then(|| {
        format!("{endpoint}: {name}: the response reveals what exists: {described} {missing}")
    })
}

/// Returns everything in a response that does not depend on the request itself: the status, the
/// names of the headers, and the body without the names in the request.
fn describe(response: &ApiResponse, names: &Names<'_>) -> String {
    let mut problem = response.json();
    if problem.is_object() {
        problem["instance"] = Value::Null;
    }
    let Names { channel, username, video, host, message_id } = names;
    let mut text = problem.to_string();
    // The longest names first, because they contain others.
    for (name, kind) in [
        (host, "{host}"),
        (message_id, "{id}"),
        (username, "{username}"),
        (video, "{video_id}"),
        (channel, "{channel}"),
    ] {
        text = text.replace(name, kind);
    }
    // Whether the connection is closed depends on the part of the body that had arrived.
    let headers = response.headers.keys().filter(|name| *name != "connection");
    let headers: BTreeSet<_> = headers.map(ToString::to_string).collect();
    format!("{} {headers:?} {text}", response.status)
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
    let existing =
        Names { channel: CHANNEL, username: USERNAME, video: VIDEO, host: HOST, message_id: &id };
    let checks =
        pairs.map(|(endpoint, caller)| check(&client, &world, endpoint, caller, &existing));
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
