//! The pulse: queue depth, rates, latency and connections.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, live::LiveSocket, short_or_full,
};
use serde_json::{Value, json};

fn setup() -> Setup {
    Setup::new().scale(Service::StatsPublisher, 1).scale(Service::WsFanout, 1).with_s3()
}

/// Waits for a pulse that satisfies a condition.
async fn wait_for_pulse(
    world: &World,
    description: &str,
    condition: impl Fn(&Value) -> bool,
) -> Value {
    eventually(DEFAULT_TIMEOUT, description, async || {
        let (status, pulse) = world.get("/v1/pulse").await;
        if status == 200 && condition(&pulse) { Ok(pulse) } else { Err((status, pulse)) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pulse_has_queue_depth_age_and_consumption_time() {
    let world = setup().start().await;
    let idle = wait_for_pulse(&world, "a pulse is published", |_| true).await;
    assert_eq!(idle["queue"], json!({"depth": 0, "oldest_age_ms": 0, "dead_letters": 0}));
    assert_eq!(idle["consumption_ms"]["latest"], Value::Null);
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    world.play(&["waits"; 30]).await;
    world.post_message(&json!({"text": "waits, too"})).await;
    let waiting = wait_for_pulse(&world, "the queue has entries", |pulse| {
        pulse["queue"]["depth"] == 31 && pulse["queue"]["oldest_age_ms"].as_u64() > Some(1_500)
    });
    let waiting = waiting.await;
    assert!(waiting["rates"]["stored"] == 0.0, "{waiting}");
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    let done = wait_for_pulse(&world, "the queue is empty", |pulse| {
        pulse["queue"]["depth"] == 0 && pulse["consumption_ms"]["p99"].as_f64() > Some(1_400.0)
    });
    let done = done.await;
    assert!(done["consumption_ms"]["average"].as_f64() > Some(1_400.0), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_and_connections_are_summed_over_all_processes() {
    let world = setup().scale(Service::WsFanout, 2).scale(Service::IngestApi, 2).start().await;
    let urls = world.stack.env().urls(Service::WsFanout);
    let mut connections = Vec::new();
    for n in 0..7 {
        let url = format!("{}/v1/live?channel=rates", urls[n % 2]);
        connections.push(LiveSocket::connect_with_hello(&url).await.0);
    }
    wait_for_pulse(&world, "all connections are counted", |pulse| pulse["connections"] == 7).await;
    let messages: Vec<_> = (0..100).map(|_| json!({"channel": "rates", "text": "x"})).collect();
    let post = async {
        loop {
            let response = world.post("/v1/messages/batch", &json!(messages)).await;
            assert_eq!(response.status(), 202);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let fast = wait_for_pulse(&world, "the rates are high", |pulse| {
        let rate = |name: &str| pulse["rates"][name].as_f64().unwrap_or(0.0);
        // 1,000 messages per second to seven connections, which do not read but have kernel
        // buffers.
        rate("accepted") > 300.0 && rate("stored") > 300.0 && rate("delivered") > 1_500.0
    });
    tokio::select! {
        () = post => {}
        _ = fast => {}
    }
    drop(connections);
    wait_for_pulse(&world, "no connection is left", |pulse| pulse["connections"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulse_is_published_every_second_and_expires_without_a_publisher() {
    let world = setup().start().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("feed=pulse")).await;
    let mut times = Vec::new();
    for _ in 0..4 {
        let frame = live.next_of_type("pulse").await;
        let at = frame["generated_at"].as_str().expect("`generated_at` is set").to_owned();
        times.push(chrono::DateTime::parse_from_rfc3339(&at).expect("a valid time"));
        let (_, mut by_get) = world.get("/v1/pulse").await;
        by_get["type"] = "pulse".into();
        let fields = |one: &Value| {
            one.as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(fields(&by_get), fields(&frame));
    }
    for pair in times.windows(2).skip(1) {
        let between = (pair[1] - pair[0]).num_milliseconds();
        let once_a_second = short_or_full(100..5_000, 500..3_000);
        assert!(once_a_second.contains(&between), "{times:?}");
    }
    world.stack.stop(Service::StatsPublisher).await.expect("the publisher stops");
    eventually(DEFAULT_TIMEOUT, "the pulse is expired", async || {
        let response = ApiResponse::send(world.http.get(world.list_url("/v1/pulse"))).await;
        if response.status == 503 { Ok(response) } else { Err(response.status) }
    })
    .await
    .expect_problem(503, "unavailable");
}
