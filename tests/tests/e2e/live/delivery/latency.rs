//! The latency from sender to readers.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, is_full,
    live::{Latencies, LiveSocket, PacedLoad, ReceivedFrame},
    short_or_full,
};
use tokio::time::timeout;

const CLIENTS: usize = 100;

async fn measure(world: &World, channel: &str) -> Latencies {
    let load = PacedLoad {
        channel,
        count: short_or_full(200, 6_000),
        every: Duration::from_secs(1) / 200,
        bytes: 100,
    };
    let url = world.live_url(&format!("channel={channel}"));
    let lives = join_all((0..CLIENTS).map(|_| LiveSocket::connect_with_hello(&url))).await;
    let readers: Vec<_> = lives
        .into_iter()
        .map(|(mut live, _)| {
            let count = load.count;
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                while latencies.count() < count {
                    let text = timeout(DEFAULT_TIMEOUT, live.next_text()).await;
                    latencies.add(&ReceivedFrame::parse(
                        &text.expect("the frame arrives in time").expect("the socket stays open"),
                    ));
                }
                latencies
            })
        })
        .collect();
    load.post(world).await;
    Latencies::merge(
        join_all(readers).await.into_iter().map(|one| one.expect("all messages arrive")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_takes_milliseconds_with_and_without_a_worker() {
    let world = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0).start().await;
    // Warms up: the first messages include one-time work.
    measure(&world, "latency-warm").await;
    for is_stored in [true, false] {
        if !is_stored {
            world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
        }
        let all = measure(&world, &format!("latency-{is_stored}")).await;
        println!("stored: {is_stored}; {all}");
        if is_full() {
            assert!(all.permille(500) < Duration::from_millis(3), "{all}");
            assert!(all.permille(990) < Duration::from_millis(15), "{all}");
        } else {
            // Other tests load the machine at the same time.
            assert!(all.permille(500) < Duration::from_millis(100), "{all}");
        }
    }
}
