//! SIGTERM: clients are disconnected gradually and resume on another instance without a gap.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World, eventually,
    live::{LiveSocket, PacedLoad, ResumingClient, UpgradeRequest, raise_file_limit},
    short_or_full,
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::live::{feed_url, shared, start_instance};

const CHANNEL: &str = "drained";
const HEALTH: &str = r#"{"status":"ok"}"#;
/// The default of `lifecycle.shutdown_timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

fn drain() -> Duration {
    Duration::from_secs(short_or_full(3, 15))
}

/// A client that was moved to another instance.
struct Moved {
    client: ResumingClient,
    /// The time from the signal to the Close frame.
    after: Duration,
    retry_after: Duration,
}

/// Reads until the server closes the connection, then resumes on another instance.
async fn follow_and_reconnect(mut client: ResumingClient, started_at: Instant) -> Moved {
    let (code, reason) = loop {
        if let Err(end) = client.receive().await {
            break end;
        }
    };
    let after = started_at.elapsed();
    assert_eq!(code, 1001, "{reason}");
    let wait = reason.strip_prefix("retry_after_ms=").and_then(|ms| ms.parse().ok());
    let retry_after = Duration::from_millis(wait.unwrap_or_else(|| panic!("{reason}")));
    // A shorter delay than requested is enough for the test.
    sleep(retry_after.min(Duration::from_millis(300))).await;
    client.reconnect().await;
    Moved { client, after, retry_after }
}

/// Asserts that no interval of the drain closes more than its share of the clients.
fn assert_even(moved: &[Moved]) {
    let ticks = short_or_full(3, 15);
    let tick = drain() / ticks;
    let mut closed = vec![0_usize; usize::try_from(ticks).expect("the number is small") + 2];
    for one in moved {
        let at =
            usize::try_from(one.after.as_millis() / tick.as_millis()).expect("the number is small");
        assert!(at < closed.len(), "after the drain: {:?}", one.after);
        closed[at] += 1;
    }
    println!("closed in each {tick:?} of the drain: {closed:?}");
    let max = moved.len() * short_or_full(70, 20) / 100;
    assert!(closed.iter().all(|count| *count <= max), "{closed:?}");
    let waits: HashSet<_> = moved.iter().map(|one| one.retry_after).collect();
    assert!(waits.len() > moved.len() / 10, "the delays do not vary: {waits:?}");
}

async fn wait_until_not_ready(world: &World, admin: std::net::SocketAddr) {
    let url = format!("http://{admin}/readyz");
    eventually(Duration::from_secs(1), "the instance is not ready", async || {
        let answer = world.http.get(&url).send().await.expect("the admin port responds");
        if answer.status() == 503 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_disconnects_clients_evenly_and_they_resume_elsewhere() {
    raise_file_limit();
    let world = shared().await;
    let drain = format!("{}s", drain().as_secs());
    let instance = start_instance(&world, &[("MAYFLY_FANOUT__DRAIN", &drain)]).await;
    let (leaving, admin) = (feed_url(&instance, &format!("channel={CHANNEL}")), instance.admin);
    let stays = world.live_url(&format!("channel={CHANNEL}"));
    let count = short_or_full(100, 1_000);
    let clients: Vec<_> = stream::iter(0..count)
        .map(|_| ResumingClient::start(vec![leaving.clone(), stays.clone()], 0))
        .buffer_unordered(50)
        .collect()
        .await;
    let every = Duration::from_millis(50);
    let duration = self::drain() + Duration::from_secs(2);
    let messages =
        usize::try_from(duration.as_millis() / every.as_millis()).expect("the number is small");
    let load = PacedLoad { channel: CHANNEL, count: messages, every, bytes: 100 };
    let started_at = Instant::now();
    let mut following = JoinSet::new();
    for client in clients {
        following.spawn(follow_and_reconnect(client, started_at));
    }
    let termination = tokio::spawn(instance.terminate(SHUTDOWN_TIMEOUT));
    let ((), (), ()) =
        tokio::join!(load.post(&world), wait_until_not_ready(&world, admin), async {
            sleep(Duration::from_millis(1_000)).await;
            let refused = UpgradeRequest::new(&leaving).expect_rejection().await;
            assert_eq!(refused.status, 503, "{}", refused.text());
            assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
        });
    let (status, took, log) = termination.await.expect("the task does not panic");
    println!("exited with {status} after {took:?}");
    assert!(status.success(), "{status}: {log:?}");

    let mut moved = Vec::new();
    while let Some(one) = following.join_next().await {
        moved.push(one.expect("each client resumes"));
    }
    assert_even(&moved);
    let streamed = world.stream_message_ids(CHANNEL).await;
    assert_eq!(streamed.len(), messages);
    for mut one in moved {
        one.client.follow_until_count(messages, DEFAULT_TIMEOUT).await;
        assert!(one.client.seen == streamed, "a client misses or repeats messages");
        assert_eq!(one.client.reconnects, 1);
    }
}

#[tokio::test]
async fn ws_fanout_without_clients_exits_immediately() {
    let world = shared().await;
    let instance = start_instance(&world, &[]).await;
    let (live, _) = LiveSocket::connect_with_hello(&feed_url(&instance, "channel=leaves")).await;
    live.close().await;
    // An idle keep-alive connection, and one without a request.
    let at = instance.http.expect("the service accepts requests");
    let health = world.http.get(format!("http://{at}/health")).send().await;
    assert_eq!(health.expect("the service responds").text().await.ok().as_deref(), Some(HEALTH));
    let _silent = TcpStream::connect(at).await.expect("the connection is accepted");
    let (status, took, log) = instance.terminate(SHUTDOWN_TIMEOUT).await;
    println!("exited with {status} after {took:?}");
    assert!(status.success(), "{status}: {log:?}");
    assert!(
        took < Duration::from_secs(short_or_full(6, 3)),
        "the process waited without clients: {took:?}"
    );
    assert_eq!(world.stack.env().pids(Service::WsFanout).len(), 2);
}

#[tokio::test]
async fn unresponsive_client_does_not_delay_the_drain() {
    let world = shared().await;
    let instance = start_instance(&world, &[("MAYFLY_FANOUT__DRAIN", "500ms")]).await;
    let url = feed_url(&instance, "channel=leaves-mute");
    let (mut mute, _) = LiveSocket::connect_with_hello(&url).await;
    mute.stop_answering();
    let (_unread, _) = LiveSocket::connect_with_hello(&url).await;
    let (status, took, log) = instance.terminate(SHUTDOWN_TIMEOUT).await;
    println!("exited with {status} after {took:?}");
    assert!(
        took < Duration::from_secs(short_or_full(14, 9)),
        "the process waited for an unresponsive client: {took:?}"
    );
    assert!(status.success(), "{status}: {log:?}");
    assert_eq!(mute.next_close().await.0, 1001);
}
