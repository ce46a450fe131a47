//! Clients that are cut off and services that are killed: each message once, in order.

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
    PATIENCE, Setup, World,
    live::{Follower, Talk},
    send_signal, short_or_full,
};
use nix::sys::signal::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const CLIENTS: usize = 20;
const CHANNEL: &str = "kills";

/// How long a client is let be.
fn stay() -> Duration {
    Duration::from_millis(fastrand::u64(short_or_full(300..1_500, 1_000..4_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_off_and_thrown_out_get_each_message_once_and_in_order() {
    let world = Setup::new().with(Service::WsFanout, 2).start().await;
    let urls = world.lives(&format!("channel={CHANNEL}"));
    let started = (0..CLIENTS).map(|number| Follower::start(urls.clone(), number));
    let done = Arc::new(AtomicBool::new(false));
    let talk = Talk {
        channel: CHANNEL,
        count: short_or_full(1_000, 10_000),
        every: Duration::from_millis(4),
        bytes: 200,
    };
    let mut clients = JoinSet::new();
    for client in join_all(started).await {
        clients.spawn(come_and_go(client, done.clone(), talk.count));
    }
    let ((), kills) = tokio::join!(
        async {
            talk.post(&world).await;
            done.store(true, Ordering::Relaxed);
        },
        kill_in_turn(&world, &done)
    );

    let streamed = world.streamed(CHANNEL).await;
    assert_eq!(streamed.len(), talk.count);
    let mut returns = 0;
    while let Some(client) = clients.join_next().await {
        let client = client.expect("the client gets everything");
        let differs = streamed.iter().zip(&client.seen).position(|(wanted, got)| wanted != got);
        assert_eq!((client.seen.len(), differs), (streamed.len(), None));
        returns += client.returns;
    }
    println!("{kills} kills; {CLIENTS} clients came back {returns} times");
    assert!(returns > 2 * CLIENTS && kills >= 2, "nobody was disturbed");
}

async fn come_and_go(mut client: Follower, done: Arc<AtomicBool>, count: usize) -> Follower {
    while !done.load(Ordering::Relaxed) {
        client.follow_until(Instant::now() + stay()).await;
        client.cut().await;
    }
    client.follow_to(count, PATIENCE).await;
    // One more look: nothing comes twice.
    client.follow_until(Instant::now() + Duration::from_millis(200)).await;
    client
}

/// Kills one ws-fanout, then the other; gives how often.
async fn kill_in_turn(world: &World, done: &AtomicBool) -> usize {
    let mut kills = 0;
    while !done.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(short_or_full(1_200, 2_500))).await;
        let pids = world.stack.env().pids(Service::WsFanout);
        // One that was killed a moment ago may not be back yet.
        if let Some(pid) = pids.get(kills % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
            kills += 1;
        }
    }
    kills
}
