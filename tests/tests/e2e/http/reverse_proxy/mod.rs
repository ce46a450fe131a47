//! nginx with `deploy/nginx.conf` in front of all services.

// The tests use several loopback addresses, which macOS does not have.
#[cfg(target_os = "linux")]
mod names;
mod restart;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually,
    live::{Events, LiveSocket},
    message_id,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::timeout};

/// Adds the reverse proxy and clears the public URLs, because all services share the origin of the
/// proxy.
fn behind(setup: Setup) -> Setup {
    let names = ["INGEST", "LIST", "LIVE"].map(|name| format!("MAYFLY_PUBLIC__{name}_URL"));
    names.iter().fold(setup.behind_reverse_proxy(), |setup, name| setup.set(name, ""))
}

/// Returns a stack with one instance of each service behind the reverse proxy.
async fn world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let all = Setup::new().scale(Service::WsFanout, 1).scale(Service::StatsPublisher, 1).with_s3();
    behind(all).share(&WORLD).await
}

/// Returns the number of requests that a service has counted in its metrics.
async fn count_requests(world: &World, service: Service) -> u64 {
    let (_, metrics) = world.admin(service, "/metrics").await;
    let lines = metrics.lines().filter(|line| line.starts_with("mayfly_http_requests_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Sends a request and returns the services that received it.
async fn find_receivers(world: &World, method: &Method, path: &str) -> Vec<Service> {
    const PUBLIC: [Service; 3] = [Service::IngestApi, Service::ListApi, Service::WsFanout];
    let mut before = Vec::new();
    for service in PUBLIC {
        before.push(count_requests(world, service).await);
    }
    let url = world.url(Service::ListApi, path);
    let response =
        world.http.request(method.clone(), url).send().await.expect("the proxy responds");
    drop(response);
    let mut found = Vec::new();
    for (service, before) in PUBLIC.into_iter().zip(before) {
        if count_requests(world, service).await > before {
            found.push(service);
        }
    }
    found
}

#[tokio::test]
async fn each_path_is_routed_to_its_service() {
    // This test counts requests, so it needs a separate stack.
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::PersistWorker, 0);
    let world = behind(setup).start().await;
    let (get, post) = (Method::GET, Method::POST);
    let mut rows = Vec::new();
    for path in ["/v1/messages", "/v1/messages/batch", "/v1/plays", "/v1/visits", "/dummy", "/chat"]
    {
        rows.push((&post, path, Service::IngestApi));
        rows.push((&get, path, Service::ListApi));
        rows.push((&Method::DELETE, path, Service::ListApi));
    }
    for path in ["/message/write", "/message/write/"] {
        rows.push((&get, path, Service::IngestApi));
        rows.push((&post, path, Service::IngestApi));
    }
    for path in [
        "/",
        "/ws",
        "/echo",
        "/v1/live",
        "/mayfly.js",
        "/mayfly.mjs",
        "/mayfly.d.ts",
        "/mayfly.d.mts",
        "/config.json",
        "/page",
        "/page/page.js",
    ] {
        rows.push((&get, path, Service::WsFanout));
    }
    for path in ["/docs", "/openapi.json", "/stat/get/", "/v1/stats", "/v1/messages/x", "/nowhere"]
    {
        rows.push((&get, path, Service::ListApi));
    }
    rows.push((&post, "/v1/users/fred/messages/take", Service::ListApi));
    rows.push((&post, "/chat/", Service::IngestApi));
    for (method, path, service) in rows {
        let receivers = find_receivers(&world, method, path).await;
        assert_eq!(receivers, [service], "{method} {path}");
    }
}

#[tokio::test]
async fn message_is_delivered_through_every_read_route() {
    let world = world().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=through")).await;
    let url = world.url(Service::WsFanout, "/v1/events?channel=through");
    let mut events = Events::open(world.http.get(url)).await.expect("the stream is open");
    let message = json!({"channel": "through", "username": "a/b", "text": "x", "ttl": 600});
    let posted = world.post_message(&message).await;
    assert_eq!(live.next_of_type("message").await["message"], posted);
    let event = next_message_event(&mut events).await;
    assert_eq!(event["message"], posted);
    // An encoded slash stays inside one path segment.
    let (status, inbox) = world.get("/v1/users/a%2Fb/messages").await;
    assert_eq!((status, &inbox["items"]), (200, &json!([posted])));
    let by_id = world.get(&format!("/v1/messages/{}", message_id(&posted))).await;
    assert_eq!(by_id, (200, posted.clone()));
    assert_eq!(world.take("a%2Fb").await, std::slice::from_ref(&get_taken(&world, &posted).await));
    assert_eq!(live.next_of_type("expired").await["ids"], json!([message_id(&posted)]));
}

/// Reads a message after it was taken.
async fn get_taken(world: &World, posted: &Value) -> Value {
    world.get(&format!("/v1/messages/{}", message_id(posted))).await.1
}

async fn next_message_event(events: &mut Events) -> Value {
    let found = timeout(DEFAULT_TIMEOUT, async {
        loop {
            let event = events.next().await.json();
            if event["type"] == "message" {
                return event;
            }
        }
    });
    found.await.expect("a message arrives in time")
}

#[tokio::test]
async fn problems_of_services_are_passed_through() {
    let world = world().await;
    // On a separate connection, which the proxy may close without reading the whole body.
    let large = "x".repeat(5 << 20);
    let batch = Client::new().post(world.ingest_url("/v1/messages/batch"));
    let batch = batch.header("content-type", "application/json").body(large);
    ApiResponse::send(batch).await.expect_problem(413, "body_too_large");
    let rejected = world.post("/v1/messages", &json!({"text": 7})).await;
    assert_eq!(rejected.status(), 400);
    ApiResponse::send(world.http.get(world.list_url("//v1/messages")))
        .await
        .expect_problem(404, "not_found");
    let named = world.http.get(world.list_url("/v1/messages")).header("x-request-id", "through-1");
    assert_eq!(ApiResponse::send(named).await.header("x-request-id"), "through-1");
    let plain = ApiResponse::send(world.http.get(world.url(Service::WsFanout, "/v1/live"))).await;
    assert_eq!((plain.status, plain.header("sec-websocket-version")), (426, "13"));
}

#[tokio::test]
async fn statistics_redirect_works() {
    let world = world().await;
    eventually(DEFAULT_TIMEOUT, "a snapshot is published", async || {
        let response = ApiResponse::send(world.http.get(world.list_url("/stat/get/"))).await;
        if response.status == 200 { Ok(response.json()) } else { Err(response.text()) }
    })
    .await;
}

#[cfg(target_os = "linux")]
/// Returns a client that uses another local address of this machine.
fn client_at(last: u8) -> Client {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    Client::builder().local_address(address).build().expect("the client is built")
}

// Other systems have only one loopback address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_are_identified_by_the_proxy_and_not_by_their_own_headers() {
    let setup = Setup::new()
        .set("MAYFLY_LIMITS__MESSAGES", "2/hour")
        .set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1/32");
    let world = behind(setup).start().await;
    for (client, statuses) in
        [(client_at(2), [202, 202, 429, 429]), (client_at(3), [202, 202, 429, 429])]
    {
        for (n, status) in statuses.into_iter().enumerate() {
            let post = client.post(world.ingest_url("/v1/messages")).json(&json!({"text": "x"}));
            let forged = post.header("x-forwarded-for", format!("198.51.100.{n}"));
            assert_eq!(ApiResponse::send(forged).await.status, status, "request {n}");
        }
    }
}

/// An `EventSource` reconnects only after status 200, and, from a page of another origin, only if
/// the response allows the origin.
#[tokio::test]
async fn event_stream_without_a_service_sets_the_reconnect_delay_and_ends() {
    let world = behind(Setup::new()).start().await;
    let request = world.http.get(world.url(Service::WsFanout, "/v1/events?channel=lobby"));
    let mut events = Events::open(request).await.expect("an event stream");
    assert_eq!(events.header("access-control-allow-origin"), "*");
    assert_eq!(events.header("cache-control"), "no-store, no-transform");
    let retry = events.next_block().await.and_then(|block| block.retry);
    assert_eq!(retry, Some(Duration::from_secs(2)));
    assert_eq!(events.next_block().await, None);
    let live = world.http.get(world.url(Service::WsFanout, "/v1/live"));
    ApiResponse::send(live).await.expect_problem(503, "unavailable");
}

#[tokio::test]
async fn unavailable_service_returns_503_problem() {
    let world = behind(Setup::new()).start().await;
    let stored = world.post_message(&json!({"text": "x", "ttl": 600})).await;
    world.stack.stop(Service::ListApi).await.expect("list-api stops");
    let url = world.list_url(&format!("/v1/messages/{}", message_id(&stored)));
    let response = ApiResponse::send(world.http.get(&url)).await;
    response.expect_problem(503, "unavailable");
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    world.post_message(&json!({"text": "the other service still works"})).await;
    world.stack.start(Service::ListApi).await.expect("list-api starts");
    assert_eq!(ApiResponse::send(world.http.get(&url)).await.expect_status(200), stored);
}
