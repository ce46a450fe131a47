//! Streams and groups that an operator changed by hand.

use mayfly_stack::Service;
use mayfly_tests::{DEFAULT_TIMEOUT, ServiceProcess, Setup, World, eventually, live::LiveSocket};
use serde_json::json;

async fn query<T: redis::FromRedisValue>(world: &World, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut world.redis().await).await.expect("Redis responds")
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_group_does_not_stop_trimming_and_is_logged_once() {
    let setup = Setup::new().scale(Service::ListApi, 0).scale(Service::PersistWorker, 0);
    let world = setup.set("MAYFLY_QUEUE__RESUME_WINDOW", "1s").start().await;
    let stream = world.key("messages");
    query::<()>(&world, &["XGROUP", "CREATE", &stream, "look", "0", "MKSTREAM"]).await;
    // Each message fills a node of the stream, and Redis trims whole nodes.
    let large: Vec<_> = (0..20).map(|_| json!({"text": "x", "data": "x".repeat(6_000)})).collect();
    assert_eq!(world.post("/v1/messages/batch", &json!(large)).await.status(), 202);
    let worker = ServiceProcess::start(&world, Service::PersistWorker).await;
    for _ in ["first", "second"] {
        eventually(DEFAULT_TIMEOUT, "the stream is trimmed", async || {
            match query::<u64>(&world, &["XLEN", &stream]).await {
                1 => Ok(()),
                entries => Err(entries),
            }
        })
        .await;
        world.post("/v1/messages/batch", &json!(large)).await;
    }
    let (_, _, log) = worker.terminate(DEFAULT_TIMEOUT).await;
    let is_report = |line: &&String| line.contains("consumer group") && line.contains("look");
    assert_eq!(log.iter().filter(is_report).count(), 1, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_by_hand_break_neither_depth_nor_resuming() {
    let world = Setup::new().scale(Service::WsFanout, 1).start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=hand")).await;
    let mut positions = Vec::new();
    for number in 0..5 {
        world.post_message(&json!({"channel": "hand", "text": number.to_string()})).await;
        let frame = live.next_of_type("message").await;
        positions.push(frame["position"].as_str().expect("a position").to_owned());
    }
    let (stream, epoch_key) = (world.key("messages"), world.key("epoch"));
    let epoch: String = query(&world, &["GET", &epoch_key]).await;
    let entries: Vec<(String, Vec<String>)> = query(&world, &["XRANGE", &stream, "-", "+"]).await;
    // An entry in the middle, and the newest entry.
    for deleted in [2, 4] {
        query::<()>(&world, &["XDEL", &stream, &entries[deleted].0]).await;
    }
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.post_message(&json!({"channel": "hand", "text": "5"})).await;
    eventually(DEFAULT_TIMEOUT, "the other messages are stored", async || {
        match world.query_count("SELECT count(*) FROM messages").await {
            4 => Ok(()),
            stored => Err(stored),
        }
    })
    .await;
    eventually(DEFAULT_TIMEOUT, "nothing waits", async || {
        let (_, metrics) = world.admin(Service::PersistWorker, "/metrics").await;
        let depth = "mayfly_queue_depth{stream=\"messages\"} 0";
        let waiting: u64 = query(&world, &["HLEN", &world.key("waiting")]).await;
        if waiting == 0 && metrics.lines().any(|line| line == depth) {
            Ok(())
        } else {
            Err(waiting)
        }
    })
    .await;
    assert_eq!(query::<String>(&world, &["GET", &epoch_key]).await, epoch, "nothing was lost");
    // A new instance has no buffered messages.
    let fresh = ServiceProcess::start(&world, Service::WsFanout).await;
    for (position, expected) in [(1, ["3", "5"]), (2, ["3", "5"])] {
        let query = format!("channel=hand&since={}", positions[position]);
        let url = fresh.url(&format!("/v1/live?{query}"));
        let (mut live, hello) = LiveSocket::connect_with_hello(&url).await;
        assert_eq!(hello["resumed"], true, "{hello}");
        assert_eq!(live.texts_until("5").await, expected);
    }
}
