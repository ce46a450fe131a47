//! How long a message takes from its sender to its readers.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, Setup, World, is_full,
    live::{Latencies, Live, Talk, Told},
    short_or_full,
};
use tokio::time::timeout;

const CLIENTS: usize = 100;

async fn measure(world: &World, channel: &str) -> Latencies {
    let talk = Talk {
        channel,
        count: short_or_full(200, 6_000),
        every: Duration::from_secs(1) / 200,
        bytes: 100,
    };
    let url = world.live(&format!("channel={channel}"));
    let lives = join_all((0..CLIENTS).map(|_| Live::hello(&url))).await;
    let readers: Vec<_> = lives
        .into_iter()
        .map(|(mut live, _)| {
            let count = talk.count;
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                while latencies.count() < count {
                    let text = timeout(PATIENCE, live.next_text()).await;
                    latencies.add(&Told::read(&text.expect("in time").expect("it stays open")));
                }
                latencies
            })
        })
        .collect();
    talk.post(world).await;
    Latencies::of(join_all(readers).await.into_iter().map(|one| one.expect("all arrive")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_with_its_readers_in_milliseconds_whether_it_is_stored_or_not() {
    let world = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0).start().await;
    // The first messages pay for everything that is done once.
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
            // Beside other tests.
            assert!(all.permille(500) < Duration::from_millis(100), "{all}");
        }
    }
}
