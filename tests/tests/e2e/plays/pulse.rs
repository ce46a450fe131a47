//! The pulse: what waits, how fast it goes, who is connected.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, live::Live, short_or_full};
use serde_json::{Value, json};

fn setup() -> Setup {
    Setup::new().with(Service::StatsPublisher, 1).with(Service::WsFanout, 1).with_s3()
}

/// Waits for a pulse of which something is true.
async fn pulse(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(PATIENCE, what, async || {
        let (status, pulse) = world.get("/v1/pulse").await;
        if status == 200 && is(&pulse) { Ok(pulse) } else { Err((status, pulse)) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pulse_says_what_waits_since_when_and_how_long_it_took() {
    let world = setup().start().await;
    let rest = pulse(&world, "there is one", |_| true).await;
    assert_eq!(rest["queue"], json!({"depth": 0, "oldest_age_ms": 0, "dead_letters": 0}));
    assert_eq!(rest["consumption_ms"]["latest"], Value::Null);
    world.stack.stop(Service::PersistWorker).await.expect("it stops");
    world.play(&["waits"; 30]).await;
    world.post_message(&json!({"text": "waits, too"})).await;
    let waiting = pulse(&world, "it is seen to wait", |pulse| {
        pulse["queue"]["depth"] == 31 && pulse["queue"]["oldest_age_ms"].as_u64() > Some(1_500)
    });
    let waiting = waiting.await;
    assert!(waiting["rates"]["stored"] == 0.0, "{waiting}");
    world.stack.start(Service::PersistWorker).await.expect("it starts");
    let done = pulse(&world, "it is done", |pulse| {
        pulse["queue"]["depth"] == 0 && pulse["consumption_ms"]["p99"].as_f64() > Some(1_400.0)
    });
    let done = done.await;
    assert!(done["consumption_ms"]["average"].as_f64() > Some(1_400.0), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_and_connections_are_those_of_all_processes() {
    let world = setup().with(Service::WsFanout, 2).with(Service::IngestApi, 2).start().await;
    let urls = world.stack.env().urls(Service::WsFanout);
    let mut connections = Vec::new();
    for n in 0..7 {
        let url = format!("{}/v1/live?channel=rates", urls[n % 2]);
        connections.push(Live::hello(&url).await.0);
    }
    pulse(&world, "all are counted", |pulse| pulse["connections"] == 7).await;
    let messages: Vec<_> = (0..100).map(|_| json!({"channel": "rates", "text": "x"})).collect();
    let post = async {
        loop {
            let answer = world.post("/v1/messages/batch", &json!(messages)).await;
            assert_eq!(answer.status(), 202);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let look = pulse(&world, "it goes fast", |pulse| {
        let rate = |name: &str| pulse["rates"][name].as_f64().unwrap_or(0.0);
        // 1,000 a second, each to seven connections; those who do not read have it in their sockets.
        rate("accepted") > 300.0 && rate("stored") > 300.0 && rate("delivered") > 1_500.0
    });
    tokio::select! {
        () = post => {}
        _ = look => {}
    }
    drop(connections);
    pulse(&world, "nobody is connected", |pulse| pulse["connections"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_once_a_second_to_who_wants_it_and_is_gone_when_nobody_takes_it() {
    let world = setup().start().await;
    let (mut live, _) = Live::hello(&world.live("feed=pulse")).await;
    let mut times = Vec::new();
    for _ in 0..4 {
        let frame = live.next_of("pulse").await;
        let at = frame["generated_at"].as_str().expect("it has a time").to_owned();
        times.push(chrono::DateTime::parse_from_rfc3339(&at).expect("it is a time"));
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
    world.stack.stop(Service::StatsPublisher).await.expect("it stops");
    eventually(PATIENCE, "it is gone", async || {
        let answer = Answer::of(world.http.get(world.list("/v1/pulse"))).await;
        if answer.status == 503 { Ok(answer) } else { Err(answer.status) }
    })
    .await
    .expect_problem(503, "unavailable");
}
