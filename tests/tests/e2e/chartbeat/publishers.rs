//! Several processes: one call for all, and another publisher where one is killed.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{FakeChartbeat, OwnProcess, SourceReply, World, eventually};
use tokio::time::Instant;

use super::{ask, ask_at, distances, increases, setup, start};

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_at_once_through_two_list_apis_and_two_publishers_make_one_call() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 2).with(Service::ListApi, 2)).await;
    let urls = world.urls(Service::ListApi);
    for host in ["cold-1.example.org", "cold-2.example.org", "cold-3.example.org"] {
        source.set_pages(host, &[("/a", 1)]);
        source.set_reply(host, SourceReply::default().after(Duration::from_millis(100)));
        let began = Instant::now();
        let asking = (0..300).map(|n| ask_at(&world, &urls[n % urls.len()], "key", host));
        for answer in join_all(asking).await {
            assert_eq!(increases(&answer), []);
        }
        println!("300 were answered within {:?}", began.elapsed());
        assert_eq!(source.calls(host).len(), 1, "{host}");
    }
}

async fn start_publisher(world: &World) -> OwnProcess {
    let env = world.stack.env();
    let endpoint = env.s3_endpoint().to_owned();
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
    let mut settings: Vec<(&str, &str)> = names.map(|name| (name, env.get(name))).to_vec();
    settings
        .extend([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")]);
    OwnProcess::start_with(world, Service::StatsPublisher, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_in_the_middle_of_a_call_is_followed_by_another() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 0)).await;
    let host = "killed.example.org";
    let first = start_publisher(&world).await;
    assert_eq!(increases(&ask(&world, "key", "warm.example.org").await), []);
    let spare = start_publisher(&world).await;
    source.set_pages(host, &[("/a", 1)]);
    source.set_reply(host, SourceReply::default().after(Duration::from_secs(2)));
    let began = Instant::now();
    let killing = async {
        eventually(Duration::from_secs(3), "it is called", async || {
            if source.calls(host).is_empty() { Err("no call") } else { Ok(()) }
        })
        .await;
        source.set_reply(host, SourceReply::default());
        first.kill().await;
    };
    let (answer, ()) = tokio::join!(ask(&world, "key", host), killing);
    assert_eq!(increases(&answer), []);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let calls = source.calls(host);
    assert_eq!(calls.len(), 2);
    // From noting to noting: nobody lived to say how long the first was on its way.
    assert!(distances(&calls)[0] >= Duration::from_millis(2_500), "{calls:?}");
    spare.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaves_answers_who_waits_and_is_followed_at_once() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 0)).await;
    let host = "left.example.org";
    let first = start_publisher(&world).await;
    assert_eq!(increases(&ask(&world, "key", "warm.example.org").await), []);
    let spare = start_publisher(&world).await;
    source.set_reply(host, SourceReply::default().after(Duration::from_secs(1)));
    let leaving = async {
        eventually(Duration::from_secs(3), "it is called", async || {
            if source.calls(host).is_empty() { Err("no call") } else { Ok(()) }
        })
        .await;
        first.leave(Duration::from_secs(10)).await
    };
    let (answer, _) = tokio::join!(ask(&world, "key", host), leaving);
    assert_eq!(increases(&answer), []);
    assert_eq!(source.calls(host).len(), 1);
    assert_eq!(increases(&ask(&world, "key", "next.example.org").await), []);
    spare.kill().await;
}
