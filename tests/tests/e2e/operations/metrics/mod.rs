//! Metrics of every service, and Prometheus with the shipped rules and dashboard.

mod prometheus;

use std::collections::BTreeSet;

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually, exported_metrics,
    live::{LiveSocket, UpgradeRequest},
};
use serde_json::json;

/// Returns a stack with one instance of each service and some activity.
async fn busy_world() -> World {
    let setup =
        Setup::new().scale(Service::WsFanout, 1).scale(Service::StatsPublisher, 1).with_s3();
    let world = setup.set("MAYFLY_STATS__INTERVAL", "2s").start().await;
    generate_activity(&world).await;
    world
}

async fn generate_activity(world: &World) {
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=lobby")).await;
    world.post_message(&json!({"text": "x", "ttl": 0})).await;
    live.next_of_type("message").await;
    for (path, body) in [
        ("/v1/plays", json!({"video_id": "v"})),
        ("/v1/visits", json!({"host": "h", "path": "/", "visitor": "v"})),
    ] {
        assert_eq!(world.post(path, &body).await.status(), 202);
    }
    assert_eq!(world.get("/v1/messages").await.0, 200);
    let page = world.http.get(world.url(Service::WsFanout, "/")).send().await;
    assert_eq!(page.expect("ws-fanout responds").status(), 200);
}

#[tokio::test]
async fn every_service_exposes_its_metrics_with_help_texts() {
    let world = busy_world().await;
    for service in Service::ALL {
        let own: BTreeSet<&str> = exported_metrics(service).map(|metric| metric.name).collect();
        eventually(DEFAULT_TIMEOUT, &format!("{service} exposes its metrics"), async || {
            let (_, metrics) = world.admin(service, "/metrics").await;
            let names_after = |prefix: &str| -> BTreeSet<String> {
                let lines = metrics.lines().filter_map(|line| line.strip_prefix(prefix));
                let names = lines.filter_map(|line| line.split(' ').next());
                names.filter(|name| name.starts_with("mayfly_")).map(str::to_owned).collect()
            };
            let (typed, described) = (names_after("# TYPE "), names_after("# HELP "));
            let is_complete = typed.iter().eq(&own) && typed == described;
            let has_process = metrics.contains("process_resident_memory_bytes");
            if is_complete && has_process { Ok(()) } else { Err((own.clone(), typed, described)) }
        })
        .await;
    }
}

#[tokio::test]
async fn accepted_and_rejected_upgrades_are_counted_as_requests() {
    let setup = Setup::new().scale(Service::WsFanout, 1).set("MAYFLY_FANOUT__CONNECTIONS_MAX", "1");
    let world = setup.start().await;
    let _first = LiveSocket::connect_with_hello(&world.live_url("channel=lobby")).await;
    let rejected = UpgradeRequest::new(&world.live_url("channel=lobby")).expect_rejection().await;
    assert_eq!(rejected.status, 503);
    let (_, metrics) = world.admin(Service::WsFanout, "/metrics").await;
    for status in [101, 503] {
        let counted = format!(
            "mayfly_http_requests_total{{method=\"GET\",route=\"upgrade\",status=\"{status}\"}} 1"
        );
        assert!(metrics.lines().any(|line| line == counted), "{counted}: {metrics}");
    }
    for line in ["mayfly_connections 1", "mayfly_connections_max 1"] {
        assert!(metrics.lines().any(|exported| exported == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let world = Setup::new().start().await;
    for id in 0..3 {
        world.get(&format!("/v1/messages/{id}")).await;
    }
    for path in ["/nowhere", "/v1/messages/a/b", "/%00"] {
        world.get(path).await;
    }
    let custom_method = reqwest::Method::from_bytes(b"BREW").expect("a valid method");
    let request = world.http.request(custom_method, world.list_url("/v1/pulse"));
    assert_eq!(request.send().await.expect("list-api responds").status(), 405);
    let (_, metrics) = world.admin(Service::ListApi, "/metrics").await;
    let counted: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("mayfly_http_requests_total"))
        .collect();
    let expected = [
        "{method=\"GET\",route=\"/v1/messages/{id}\",status=\"404\"} 3",
        "{method=\"GET\",route=\"other\",status=\"404\"} 3",
        "{method=\"other\",route=\"/v1/pulse\",status=\"405\"} 1",
    ];
    assert_eq!(counted, BTreeSet::from(expected));
}
