//! The limit on failed authentications.

use futures_util::{StreamExt, future::join_all, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, ServiceProcess, World, eventually,
    live::{LiveSocket, UpgradeRequest},
    short_or_full,
};
use tokio::sync::OnceCell;

use super::{
    credentials::{NewKey, create_keys},
    setup,
};

/// The maximum number of failures per client and window.
const LIMIT: usize = 100;
/// The maximum number of concurrent requests.
const REQUESTS_MAX: usize = 50;

/// Returns a stack with three `list-api` and a limit on failures. Each test uses its own addresses.
async fn limited() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    // On a busy machine, the requests of a test can take longer than a minute.
    let window = short_or_full("hour", "minute");
    let setup = setup().scale(Service::ListApi, 3).scale(Service::WsFanout, 1);
    let setup = setup.set("MAYFLY_LIMITS__AUTH_FAILURES", &format!("{LIMIT}/{window}"));
    setup.set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1,::1").share(&WORLD).await
}

/// Sends a request from an address to one of the instances of `list-api`.
async fn send(world: &World, instance: usize, address: &str, key: &str) -> ApiResponse {
    let urls = world.urls(Service::ListApi);
    let url = format!("{}/v1/messages", urls[instance % urls.len()]);
    let request = world.http.get(url).header("X-API-Key", key);
    ApiResponse::send(request.header("X-Forwarded-For", address)).await
}

/// Sends a request with an unknown key.
async fn fail(world: &World, instance: usize, address: &str) -> ApiResponse {
    send(world, instance, address, "mf_unknown").await
}

/// Uses up the limit of an address.
async fn use_up(world: &World, address: &str) {
    for number in 0..LIMIT {
        let response = fail(world, number, address).await;
        response.expect_problem(401, "unauthorized");
        assert!(response.header("WWW-Authenticate").starts_with("Bearer"), "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_above_the_limit_is_refused_by_every_instance() {
    let world = limited().await;
    let address = "192.0.2.1";
    use_up(&world, address).await;
    for instance in 0..3 {
        let response = fail(&world, instance, address).await;
        response.expect_problem(429, "rate_limited");
        assert!(!response.header("Retry-After").is_empty(), "{response:?}");
    }
    assert_eq!(fail(&world, 0, "192.0.2.2").await.status, 401, "another client");
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_is_exact_for_concurrent_failures() {
    let world = limited().await;
    let address = "192.0.2.3";
    let sent = join_all((0..LIMIT + 50).map(|number| fail(&world, number, address))).await;
    let count = |status| sent.iter().filter(|response| response.status == status).count();
    assert_eq!((count(401), count(429)), (LIMIT, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_one_64_prefix_are_one_client() {
    let world = limited().await;
    for number in 0..LIMIT {
        let response = fail(&world, number, &format!("2001:db8::{number:x}")).await;
        response.expect_problem(401, "unauthorized");
    }
    let count = short_or_full(1_000, 10_000);
    let statuses = stream::iter(0..count).map(|number: usize| {
        let world = &world;
        async move { fail(world, number, &format!("2001:db8::{number:x}:1")).await.status }
    });
    let statuses: Vec<_> = statuses.buffer_unordered(REQUESTS_MAX).collect().await;
    assert!(statuses.iter().all(|status| *status == 429), "{statuses:?}");
    for instance in 0..3 {
        assert_eq!(fail(&world, instance, "2001:db8:0:0:1::").await.status, 429);
        assert_eq!(fail(&world, instance, "2001:db8:0:1::").await.status, 401, "the next /64");
    }
}

/// Live connections and requests share the limit.
#[tokio::test]
async fn failures_of_live_connections_count() {
    let world = limited().await;
    let address = "192.0.2.4";
    let open = async |key: &str| -> LiveSocket {
        let url = world.live_url("channel=failures");
        let request = UpgradeRequest::new(&url).header("x-forwarded-for", address);
        request.header("x-api-key", key).send().await.expect("the socket opens")
    };
    for _ in 0..LIMIT {
        assert_eq!(open("mf_unknown").await.next_close().await.0, 4502);
    }
    let (code, reason) = open("mf_unknown").await.next_close().await;
    assert!(code == 4002 && reason.starts_with("retry_after_ms="), "{code} {reason}");
    fail(&world, 0, address).await.expect_problem(429, "rate_limited");
}

/// Failures of another client behind the same address, such as a NAT gateway, do not refuse keys
/// that the process knows.
#[tokio::test]
async fn known_keys_are_accepted_from_an_address_above_its_limit() {
    let world = limited().await;
    let address = "192.0.2.5";
    let reader = NewKey { scopes: &["read"], ..NewKey::default() };
    let key = create_keys(&world, &[reader]).await.remove(0);
    for instance in 0..3 {
        send(&world, instance, address, &key).await.expect_status(200);
    }
    use_up(&world, address).await;
    fail(&world, 0, address).await.expect_problem(429, "rate_limited");
    for round in 0..3 {
        // Every new key makes the process check the known keys again.
        create_keys(&world, &[reader]).await;
        for instance in 0..3 {
            let response = send(&world, instance, address, &key).await;
            assert_eq!(response.status, 200, "round {round}: {}", response.text());
        }
    }
    let revoked = "UPDATE api_keys SET revoked_at = now() \
                   WHERE hash = sha256(convert_to($1, 'UTF8'))";
    world.postgres().await.execute(revoked, &[&key]).await.expect("the key is revoked");
    for instance in 0..3 {
        eventually(DEFAULT_TIMEOUT, "the key is refused", async || {
            match send(&world, instance, address, &key).await.status {
                401 | 429 => Ok(()),
                status => Err(status),
            }
        })
        .await;
    }
}

/// If Redis cannot count failures, each process counts its own.
#[tokio::test(flavor = "multi_thread")]
async fn outage_of_the_limit_neither_refuses_valid_keys_nor_accepts_others() {
    let world = limited().await;
    let reader = NewKey { scopes: &["read"], ..NewKey::default() };
    let key = create_keys(&world, &[reader]).await.remove(0);
    let process = ServiceProcess::start(&world, Service::ListApi).await;
    let send = async |key: &str| {
        let request = world.http.get(process.url("/v1/messages")).header("X-API-Key", key);
        ApiResponse::send(request.header("X-Forwarded-For", "192.0.2.6")).await
    };
    send(&key).await.expect_status(200);
    send("mf_unknown").await.expect_problem(401, "unauthorized");
    // With a value of the wrong type, Redis cannot count.
    let names = world.keys().await;
    let counter = names.iter().find(|name| name.contains("192.0.2.6"));
    let counter = world.key(counter.expect("the failure has been counted"));
    let mut redis = world.redis().await;
    let mut replace = redis::pipe();
    replace.del(&counter).lpush(&counter, "x").expire(&counter, 600);
    replace.exec_async(&mut redis).await.expect("the value is replaced");
    for number in 0..LIMIT + 20 {
        let status = send("mf_unknown").await.status;
        assert_eq!(status, if number < LIMIT { 401 } else { 429 }, "{number}");
        send(&key).await.expect_status(200);
    }
}
