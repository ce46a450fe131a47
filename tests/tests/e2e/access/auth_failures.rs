//! The limit on failed authentications.

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, World, eventually, short_or_full};

use super::setup;

/// The maximum number of failures per client and minute.
const LIMIT: usize = 100;
/// The maximum number of concurrent requests.
const REQUESTS_MAX: usize = 50;

/// Sends a request with an unknown key from an address to one of the instances of `list-api`.
async fn fail(world: &World, instance: usize, address: &str) -> ApiResponse {
    let urls = world.urls(Service::ListApi);
    let url = format!("{}/v1/messages", urls[instance % urls.len()]);
    let request = world.http.get(url).header("X-API-Key", "mf_unknown");
    ApiResponse::send(request.header("X-Forwarded-For", address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_a_network_are_limited_across_all_instances() {
    let setup = setup().scale(Service::ListApi, 3);
    let setup = setup.set("MAYFLY_LIMITS__AUTH_FAILURES", &format!("{LIMIT}/minute"));
    let world = setup.set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1,::1").start().await;
    for instance in 0..3 {
        eventually(DEFAULT_TIMEOUT, "the keys are loaded", async || {
            match fail(&world, instance, "192.0.2.1").await.status {
                401 => Ok(()),
                status => Err(status),
            }
        })
        .await;
    }
    for number in 0..LIMIT {
        let response = fail(&world, number, &format!("2001:db8::{number:x}")).await;
        response.expect_problem(401, "unauthorized");
        assert!(response.header("WWW-Authenticate").starts_with("Bearer"), "{response:?}");
    }
    for instance in 0..3 {
        let response = fail(&world, instance, "2001:db8:0:0:1::").await;
        response.expect_problem(429, "rate_limited");
        assert!(!response.header("Retry-After").is_empty(), "{response:?}");
    }
    let count = short_or_full(1_000, 10_000);
    let world = &world;
    let statuses = stream::iter(0..count).map(|number: usize| async move {
        fail(world, number, &format!("2001:db8::{number:x}:1")).await.status
    });
    let statuses: Vec<_> = statuses.buffer_unordered(REQUESTS_MAX).collect().await;
    assert!(statuses.iter().all(|status| *status == 429), "{statuses:?}");
    for address in ["2001:db8:0:1::", "192.0.2.1"] {
        assert_eq!(fail(world, 0, address).await.status, 401, "{address} is another client");
    }
}
