//! Several processes share one call, and a killed publisher is replaced.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{FakeChartbeat, ServiceProcess, SourceReply, World, eventually};
use tokio::time::Instant;

use super::{get_increases, get_increases_at, intervals, parse_increases, setup, start};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_through_two_list_apis_cause_one_call() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 2).scale(Service::ListApi, 2)).await;
    let urls = world.urls(Service::ListApi);
    for host in ["cold-1.example.org", "cold-2.example.org", "cold-3.example.org"] {
        source.set_pages(host, &[("/a", 1)]);
        source.set_reply(host, SourceReply::default().after(Duration::from_millis(100)));
        let started = Instant::now();
        let requests =
            (0..300).map(|n| get_increases_at(&world, &urls[n % urls.len()], "key", host));
        for response in join_all(requests).await {
            assert_eq!(parse_increases(&response), []);
        }
        println!("300 responses within {:?}", started.elapsed());
        assert_eq!(source.calls(host).len(), 1, "{host}");
    }
}

async fn start_publisher(world: &World) -> ServiceProcess {
    let env = world.stack.env();
    let endpoint = env.s3_endpoint().to_owned();
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
    let mut settings: Vec<(&str, &str)> = names.map(|name| (name, env.get(name))).to_vec();
    settings
        .extend([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")]);
    ServiceProcess::start_with(world, Service::StatsPublisher, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_killed_during_a_call_is_replaced() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 0)).await;
    let host = "killed.example.org";
    let first = start_publisher(&world).await;
    assert_eq!(parse_increases(&get_increases(&world, "key", "warm.example.org").await), []);
    let standby = start_publisher(&world).await;
    source.set_pages(host, &[("/a", 1)]);
    source.set_reply(host, SourceReply::default().after(Duration::from_secs(2)));
    let started = Instant::now();
    let kill = async {
        eventually(Duration::from_secs(3), "the source is called", async || {
            if source.calls(host).is_empty() { Err("no call") } else { Ok(()) }
        })
        .await;
        source.set_reply(host, SourceReply::default());
        first.kill().await;
    };
    let (response, ()) = tokio::join!(get_increases(&world, "key", host), kill);
    assert_eq!(parse_increases(&response), []);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let calls = source.calls(host);
    assert_eq!(calls.len(), 2);
    // The interval is measured between the starts of the calls, because the killed process could
    // not report the duration of its call.
    assert!(intervals(&calls)[0] >= Duration::from_millis(2_500), "{calls:?}");
    standby.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_that_shuts_down_finishes_its_call_and_is_replaced_immediately() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 0)).await;
    let host = "left.example.org";
    let first = start_publisher(&world).await;
    assert_eq!(parse_increases(&get_increases(&world, "key", "warm.example.org").await), []);
    let standby = start_publisher(&world).await;
    source.set_reply(host, SourceReply::default().after(Duration::from_secs(1)));
    let shutdown = async {
        eventually(Duration::from_secs(3), "the source is called", async || {
            if source.calls(host).is_empty() { Err("no call") } else { Ok(()) }
        })
        .await;
        first.terminate(Duration::from_secs(10)).await
    };
    let (response, _) = tokio::join!(get_increases(&world, "key", host), shutdown);
    assert_eq!(parse_increases(&response), []);
    assert_eq!(source.calls(host).len(), 1);
    assert_eq!(parse_increases(&get_increases(&world, "key", "next.example.org").await), []);
    standby.kill().await;
}
