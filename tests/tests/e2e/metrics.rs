//! What operators see: the metrics of every service, and Prometheus with our rules and dashboard on them.

mod prometheus;

use std::collections::BTreeSet;

use mayfly_runtime::metrics::METRICS;
use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, Setup, World, eventually,
    live::{Live, Opening},
};
use serde_json::json;

/// One of each, with something to count.
async fn busy_world() -> World {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::StatsPublisher, 1).with_s3();
    let world = setup.set("MAYFLY_STATS__INTERVAL", "2s").start().await;
    make_busy(&world).await;
    world
}

async fn make_busy(world: &World) {
    let (mut live, _) = Live::hello(&world.live("channel=lobby")).await;
    world.post_message(&json!({"text": "x", "ttl": 0})).await;
    live.next_of("message").await;
    for (path, body) in [
        ("/v1/plays", json!({"video_id": "v"})),
        ("/v1/visits", json!({"host": "h", "path": "/", "visitor": "v"})),
    ] {
        assert_eq!(world.post(path, &body).await.status(), 202);
    }
    assert_eq!(world.get("/v1/messages").await.0, 200);
    let page = world.http.get(world.url(Service::WsFanout, "/")).send().await;
    assert_eq!(page.expect("there is a page").status(), 200);
}

#[tokio::test]
async fn every_service_shows_the_metrics_that_are_its_own_each_with_its_meaning() {
    let world = busy_world().await;
    for service in Service::ALL {
        let own: BTreeSet<&str> = METRICS
            .iter()
            .filter(|metric| metric.of.iter().any(|one| one.name() == service.name()))
            .map(|metric| metric.name)
            .collect();
        eventually(PATIENCE, &format!("{service} shows them"), async || {
            let (_, metrics) = world.admin(service, "/metrics").await;
            let named = |mark: &str| -> BTreeSet<String> {
                let lines = metrics.lines().filter_map(|line| line.strip_prefix(mark));
                let names = lines.filter_map(|line| line.split(' ').next());
                names.filter(|name| name.starts_with("mayfly_")).map(str::to_owned).collect()
            };
            let (shown, explained) = (named("# TYPE "), named("# HELP "));
            let is_whole = shown.iter().eq(&own) && shown == explained;
            let has_process = metrics.contains("process_resident_memory_bytes");
            if is_whole && has_process { Ok(()) } else { Err((own.clone(), shown, explained)) }
        })
        .await;
    }
}

#[tokio::test]
async fn sockets_that_are_opened_and_refused_are_counted_among_the_requests() {
    let setup = Setup::new().with(Service::WsFanout, 1).set("MAYFLY_FANOUT__CONNECTIONS_MAX", "1");
    let world = setup.start().await;
    let _first = Live::hello(&world.live("channel=lobby")).await;
    let refused = Opening::to(&world.live("channel=lobby")).refusal().await;
    assert_eq!(refused.status, 503);
    let (_, metrics) = world.admin(Service::WsFanout, "/metrics").await;
    for status in [101, 503] {
        let counted = format!(
            "mayfly_http_requests_total{{method=\"GET\",route=\"upgrade\",status=\"{status}\"}} 1"
        );
        assert!(metrics.lines().any(|line| line == counted), "{counted}: {metrics}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_pattern_of_their_path() {
    let world = Setup::new().start().await;
    for id in 0..3 {
        world.get(&format!("/v1/messages/{id}")).await;
    }
    for path in ["/nowhere", "/v1/messages/a/b", "/%00"] {
        world.get(path).await;
    }
    let any_word = reqwest::Method::from_bytes(b"BREW").expect("a method is a word");
    let request = world.http.request(any_word, world.list("/v1/pulse"));
    assert_eq!(request.send().await.expect("it answers").status(), 405);
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
