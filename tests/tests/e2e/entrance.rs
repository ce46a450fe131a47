//! The one entrance: nginx, as `deploy/nginx.conf` has it, in front of all services.

mod restart;

use std::net::{IpAddr, Ipv4Addr};

use mayfly_stack::Service;
use mayfly_tests::{
    Answer, PATIENCE, Setup, World, eventually, id_of,
    live::{Events, Live},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Behind the entrance all is one origin, so nobody is told where anything else is.
fn behind(setup: Setup) -> Setup {
    let names = ["INGEST", "LIST", "LIVE"].map(|name| format!("MAYFLY_PUBLIC__{name}_URL"));
    names.iter().fold(setup.through_entrance(), |setup, name| setup.set(name, ""))
}

/// One of each service, behind the entrance.
async fn world() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let all = Setup::new().with(Service::WsFanout, 1).with(Service::StatsPublisher, 1).with_s3();
    behind(all).share(&WORLD).await
}

/// How many requests a service has answered, as its metrics say.
async fn answered_by(world: &World, service: Service) -> u64 {
    let (_, metrics) = world.admin(service, "/metrics").await;
    let lines = metrics.lines().filter(|line| line.starts_with("mayfly_http_requests_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Sends a request and says which service answered.
async fn find_answerer(world: &World, method: &Method, path: &str) -> Vec<Service> {
    const PUBLIC: [Service; 3] = [Service::IngestApi, Service::ListApi, Service::WsFanout];
    let mut before = Vec::new();
    for service in PUBLIC {
        before.push(answered_by(world, service).await);
    }
    let url = world.url(Service::ListApi, path);
    let answer = world.http.request(method.clone(), url).send().await.expect("there is an answer");
    drop(answer);
    let mut found = Vec::new();
    for (service, before) in PUBLIC.into_iter().zip(before) {
        if answered_by(world, service).await > before {
            found.push(service);
        }
    }
    found
}

#[tokio::test]
async fn each_path_reaches_the_service_that_the_table_names() {
    // Alone, as it counts requests.
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::PersistWorker, 0);
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
        "/mayfly.d.ts",
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
        let answerer = find_answerer(&world, method, path).await;
        assert_eq!(answerer, [service], "{method} {path}");
    }
}

#[tokio::test]
async fn a_message_passes_from_the_post_to_every_way_of_reading_it() {
    let world = world().await;
    let (mut live, _) = Live::hello(&world.live("channel=through")).await;
    let url = world.url(Service::WsFanout, "/v1/events?channel=through");
    let mut events = Events::open(world.http.get(url)).await.expect("events are open");
    let message = json!({"channel": "through", "username": "a/b", "text": "x", "ttl": 600});
    let posted = world.post_message(&message).await;
    assert_eq!(live.next_of("message").await["message"], posted);
    let told = eventually_event(&mut events).await;
    assert_eq!(told["message"], posted);
    // A username with a slash is one part of the path, here and behind.
    let (status, inbox) = world.get("/v1/users/a%2Fb/messages").await;
    assert_eq!((status, &inbox["items"]), (200, &json!([posted])));
    let by_id = world.get(&format!("/v1/messages/{}", id_of(&posted))).await;
    assert_eq!(by_id, (200, posted.clone()));
    assert_eq!(
        world.take("a%2Fb").await,
        std::slice::from_ref(&by_id_taken(&world, &posted).await)
    );
    assert_eq!(live.next_of("expired").await["ids"], json!([id_of(&posted)]));
}

/// The message as it is once it was taken.
async fn by_id_taken(world: &World, posted: &Value) -> Value {
    world.get(&format!("/v1/messages/{}", id_of(posted))).await.1
}

async fn eventually_event(events: &mut Events) -> Value {
    loop {
        let told = events.next().await.json();
        if told["type"] == "message" {
            return told;
        }
    }
}

#[tokio::test]
async fn what_a_service_refuses_comes_through_as_it_said_it() {
    let world = world().await;
    let large = "x".repeat(5 << 20);
    let batch = world.http.post(world.ingest("/v1/messages/batch"));
    let batch = batch.header("content-type", "application/json").body(large);
    Answer::of(batch).await.expect_problem(413, "body_too_large");
    let refused = world.post("/v1/messages", &json!({"text": 7})).await;
    assert_eq!(refused.status(), 400);
    Answer::of(world.http.get(world.list("//v1/messages"))).await.expect_problem(404, "not_found");
    let named = world.http.get(world.list("/v1/messages")).header("x-request-id", "through-1");
    assert_eq!(Answer::of(named).await.header("x-request-id"), "through-1");
    let plain = Answer::of(world.http.get(world.url(Service::WsFanout, "/v1/live"))).await;
    assert_eq!((plain.status, plain.header("sec-websocket-version")), (426, "13"));
}

#[tokio::test]
async fn the_statistics_are_led_to() {
    let world = world().await;
    eventually(PATIENCE, "there is a snapshot", async || {
        let answer = Answer::of(world.http.get(world.list("/stat/get/"))).await;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    })
    .await;
}

#[cfg(target_os = "linux")]
/// A client whose requests come from another address of this machine.
fn client_at(last: u8) -> Client {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    Client::builder().local_address(address).build().expect("a client can be made")
}

// Elsewhere a machine has one loopback address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_are_told_apart_by_what_the_entrance_says_and_not_by_what_they_say() {
    let setup = Setup::new()
        .set("MAYFLY_LIMITS__MESSAGES", "2/hour")
        .set("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1/32");
    let world = behind(setup).start().await;
    for (client, statuses) in
        [(client_at(2), [202, 202, 429, 429]), (client_at(3), [202, 202, 429, 429])]
    {
        for (n, status) in statuses.into_iter().enumerate() {
            let post = client.post(world.ingest("/v1/messages")).json(&json!({"text": "x"}));
            let forged = post.header("x-forwarded-for", format!("198.51.100.{n}"));
            assert_eq!(Answer::of(forged).await.status, status, "request {n}");
        }
    }
}

#[tokio::test]
async fn where_no_instance_answers_it_is_503_in_the_words_of_the_services() {
    let world = behind(Setup::new()).start().await;
    let stored = world.post_message(&json!({"text": "x", "ttl": 600})).await;
    world.stack.stop(Service::ListApi).await.expect("it stops");
    let url = world.list(&format!("/v1/messages/{}", id_of(&stored)));
    let answer = Answer::of(world.http.get(&url)).await;
    answer.expect_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    world.post_message(&json!({"text": "the other goes on"})).await;
    world.stack.start(Service::ListApi).await.expect("it starts");
    assert_eq!(Answer::of(world.http.get(&url)).await.expect(200), stored);
}
