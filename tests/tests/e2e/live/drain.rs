//! SIGTERM: clients are sent away one after another, and go on elsewhere without a gap.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, World, eventually,
    live::{Follower, Live, Opening, Talk, file_limit},
    short_or_full,
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{shared, start_own, url_of};

const CHANNEL: &str = "drained";
const HEALTH: &str = r#"{"status":"ok"}"#;
/// The built-in `lifecycle.shutdown_timeout`.
const LEAVE_MAX: Duration = Duration::from_secs(25);

fn drain() -> Duration {
    Duration::from_secs(short_or_full(3, 15))
}

/// What a client met.
struct Moved {
    client: Follower,
    /// How long after the signal it was sent away.
    after: Duration,
    retry_after: Duration,
}

/// Follows until it is sent away, and goes on where it is not.
async fn follow_and_move(mut client: Follower, began: Instant) -> Moved {
    let (code, reason) = loop {
        if let Err(end) = client.follow().await {
            break end;
        }
    };
    let after = began.elapsed();
    assert_eq!(code, 1001, "{reason}");
    let wait = reason.strip_prefix("retry_after_ms=").and_then(|ms| ms.parse().ok());
    let retry_after = Duration::from_millis(wait.unwrap_or_else(|| panic!("{reason}")));
    // It need not wait that long here; some of it is enough to be away for a moment.
    sleep(retry_after.min(Duration::from_millis(300))).await;
    client.come_back().await;
    Moved { client, after, retry_after }
}

/// No tick of the drain may take more than its share of the clients.
fn assert_even(moved: &[Moved]) {
    let ticks = short_or_full(3, 15);
    let tick = drain() / ticks;
    let mut closed = vec![0_usize; usize::try_from(ticks).expect("few") + 2];
    for one in moved {
        let at = usize::try_from(one.after.as_millis() / tick.as_millis()).expect("few");
        assert!(at < closed.len(), "after the drain: {:?}", one.after);
        closed[at] += 1;
    }
    println!("closed in each {tick:?} of the drain: {closed:?}");
    let most = moved.len() * short_or_full(70, 20) / 100;
    assert!(closed.iter().all(|count| *count <= most), "{closed:?}");
    let waits: HashSet<_> = moved.iter().map(|one| one.retry_after).collect();
    assert!(waits.len() > moved.len() / 10, "the waits are alike: {waits:?}");
}

async fn see_not_ready(world: &World, admin: std::net::SocketAddr) {
    let url = format!("http://{admin}/readyz");
    eventually(Duration::from_secs(1), "it is not ready", async || {
        let answer = world.http.get(&url).send().await.expect("the admin port answers");
        if answer.status() == 503 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_clients_away_evenly_and_they_go_on_elsewhere_without_a_gap() {
    file_limit();
    let world = shared().await;
    let drain = format!("{}s", drain().as_secs());
    let leaver = start_own(&world, &[("MAYFLY_FANOUT__DRAIN", &drain)]).await;
    let (leaving, admin) = (url_of(&leaver, &format!("channel={CHANNEL}")), leaver.admin);
    let stays = world.live(&format!("channel={CHANNEL}"));
    let count = short_or_full(100, 1_000);
    let clients: Vec<_> = stream::iter(0..count)
        .map(|_| Follower::start(vec![leaving.clone(), stays.clone()], 0))
        .buffer_unordered(50)
        .collect()
        .await;
    let every = Duration::from_millis(50);
    let lasts = self::drain() + Duration::from_secs(2);
    let messages = usize::try_from(lasts.as_millis() / every.as_millis()).expect("few");
    let talk = Talk { channel: CHANNEL, count: messages, every, bytes: 100 };
    let began = Instant::now();
    let mut following = JoinSet::new();
    for client in clients {
        following.spawn(follow_and_move(client, began));
    }
    let leaving_it = tokio::spawn(leaver.leave(LEAVE_MAX));
    let ((), (), ()) = tokio::join!(talk.post(&world), see_not_ready(&world, admin), async {
        sleep(Duration::from_millis(1_000)).await;
        let refused = Opening::to(&leaving).refusal().await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    });
    let (status, took, log) = leaving_it.await.expect("no panic");
    println!("left with {status} after {took:?}");
    assert!(status.success(), "{status}: {log:?}");

    let mut moved = Vec::new();
    while let Some(one) = following.join_next().await {
        moved.push(one.expect("each goes on elsewhere"));
    }
    assert_even(&moved);
    let streamed = world.streamed(CHANNEL).await;
    assert_eq!(streamed.len(), messages);
    for mut one in moved {
        one.client.follow_to(messages, PATIENCE).await;
        assert!(one.client.seen == streamed, "a client misses or repeats something");
        assert_eq!(one.client.returns, 1);
    }
}

#[tokio::test]
async fn a_ws_fanout_without_clients_leaves_at_once() {
    let world = shared().await;
    let leaver = start_own(&world, &[]).await;
    let (live, _) = Live::hello(&url_of(&leaver, "channel=leaves")).await;
    live.close().await;
    // Connections that are only there for a next request, or for the first.
    let at = leaver.http.expect("it takes requests");
    let health = world.http.get(format!("http://{at}/health")).send().await;
    assert_eq!(health.expect("it answers").text().await.ok().as_deref(), Some(HEALTH));
    let _silent = TcpStream::connect(at).await.expect("it is accepted");
    let (status, took, log) = leaver.leave(LEAVE_MAX).await;
    println!("left with {status} after {took:?}");
    assert!(status.success(), "{status}: {log:?}");
    assert!(took < Duration::from_secs(short_or_full(6, 3)), "it waited for nobody: {took:?}");
    assert_eq!(world.stack.env().pids(Service::WsFanout).len(), 2);
}

#[tokio::test]
async fn a_client_that_does_not_answer_holds_up_no_drain() {
    let world = shared().await;
    let leaver = start_own(&world, &[("MAYFLY_FANOUT__DRAIN", "500ms")]).await;
    let url = url_of(&leaver, "channel=leaves-mute");
    let (mut mute, _) = Live::hello(&url).await;
    mute.mute();
    let (_unread, _) = Live::hello(&url).await;
    let (status, took, log) = leaver.leave(LEAVE_MAX).await;
    println!("left with {status} after {took:?}");
    assert!(
        took < Duration::from_secs(short_or_full(14, 9)),
        "it waited for one that is silent: {took:?}"
    );
    assert!(status.success(), "{status}: {log:?}");
    assert_eq!(mute.next_close().await.0, 1001);
}
