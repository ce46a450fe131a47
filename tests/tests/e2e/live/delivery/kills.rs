//! Clients receive each message once and in order while connections break and services are killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World,
    live::{PacedLoad, ResumingClient},
    send_signal, short_or_full,
};
use nix::sys::signal::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const CLIENTS: usize = 20;
const CHANNEL: &str = "kills";

/// Returns how long a client stays connected.
fn stay() -> Duration {
    Duration::from_millis(fastrand::u64(short_or_full(300..1_500, 1_000..4_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_clients_receive_each_message_once_and_in_order() {
    let world = Setup::new().scale(Service::WsFanout, 2).start().await;
    let urls = world.live_urls(&format!("channel={CHANNEL}"));
    let started = (0..CLIENTS).map(|number| ResumingClient::start(urls.clone(), number));
    let done = Arc::new(AtomicBool::new(false));
    let load = PacedLoad {
        channel: CHANNEL,
        count: short_or_full(1_000, 10_000),
        every: Duration::from_millis(4),
        bytes: 200,
    };
    let mut clients = JoinSet::new();
    for client in join_all(started).await {
        clients.spawn(reconnect_repeatedly(client, done.clone(), load.count));
    }
    let ((), kills) = tokio::join!(
        async {
            load.post(&world).await;
            done.store(true, Ordering::Relaxed);
        },
        kill_in_turn(&world, &done)
    );

    let streamed = world.stream_message_ids(CHANNEL).await;
    assert_eq!(streamed.len(), load.count);
    let mut reconnects = 0;
    while let Some(client) = clients.join_next().await {
        let client = client.expect("the client receives everything");
        let differs =
            streamed.iter().zip(&client.seen).position(|(expected, actual)| expected != actual);
        assert_eq!((client.seen.len(), differs), (streamed.len(), None));
        reconnects += client.reconnects;
    }
    println!("{kills} kills; {CLIENTS} clients reconnected {reconnects} times");
    assert!(reconnects > 2 * CLIENTS && kills >= 2, "no client was affected");
}

async fn reconnect_repeatedly(
    mut client: ResumingClient,
    done: Arc<AtomicBool>,
    count: usize,
) -> ResumingClient {
    while !done.load(Ordering::Relaxed) {
        client.follow_until(Instant::now() + stay()).await;
        client.drop_and_resume().await;
    }
    client.follow_until_count(count, DEFAULT_TIMEOUT).await;
    // Reads once more: nothing is repeated.
    client.follow_until(Instant::now() + Duration::from_millis(200)).await;
    client
}

/// Kills the ws-fanout instances in turn and returns the number of kills.
async fn kill_in_turn(world: &World, done: &AtomicBool) -> usize {
    let mut kills = 0;
    while !done.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(short_or_full(1_200, 2_500))).await;
        let pids = world.stack.env().pids(Service::WsFanout);
        // An instance that was just killed may not have restarted yet.
        if let Some(pid) = pids.get(kills % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
            kills += 1;
        }
    }
    kills
}
