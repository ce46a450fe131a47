//! Four times as many messages as Redis can accept.

use std::{sync::Arc, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, is_full, short_or_full};
use redis::AsyncCommands;

use super::{
    batch,
    clients::{Clients, Outcomes, quantile},
};

/// Messages per request.
const BATCH: usize = 100;
/// The number of connections that keep Redis busy, and the number that overload it.
const BUSY_CONNECTIONS: u32 = 16;
const CONNECTIONS: u32 = 256;

async fn count_written(world: &World) -> u64 {
    let written: Option<u64> = world
        .redis()
        .await
        .hget(world.key("ledger"), "messages.accepted")
        .await
        .expect("Redis responds");
    written.unwrap_or_default()
}

/// Runs clients, and checks that exactly the messages of accepted requests were written.
async fn run(world: &World, clients: &Clients) -> Outcomes {
    let before = count_written(world).await;
    let outcomes = clients.run().await;
    let written = count_written(world).await - before;
    let answered = (outcomes.accepted.len() * BATCH) as u64;
    println!(
        "{} accepted (median {:?}, p99 {:?}), {} refused (median {:?}, p99 {:?}), {written} of \
         {answered} messages written",
        outcomes.accepted.len(),
        quantile(&outcomes.accepted, 0.5),
        quantile(&outcomes.accepted, 0.99),
        outcomes.refused.len(),
        quantile(&outcomes.refused, 0.5),
        quantile(&outcomes.refused, 0.99),
    );
    let difference = written.abs_diff(answered);
    assert!(difference * 100 <= answered, "{written} messages written, {answered} answered");
    let others = &outcomes.others;
    let is_rare = others.len() * 100 <= outcomes.accepted.len();
    assert!(is_rare, "{} other responses: {:?}", others.len(), &others[..others.len().min(3)]);
    outcomes
}

/// In a full run, which needs an idle machine, the test checks the figures. In a short run, it
/// checks that refused messages are not written.
#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_and_goodput_is_stable() {
    let setup = Setup::new().dedicated_servers().set("MAYFLY_QUEUE__DEPTH_MAX", "10000000");
    let setup = setup.scale(Service::PersistWorker, 0).scale(Service::ListApi, 0);
    let world = if is_full() { setup.default_timeouts() } else { setup }.start().await;
    let address = world.ingest_url("").replace("http://", "").parse().expect("an address");
    let duration = Duration::from_millis(short_or_full(1_000, 4_000));
    let busy = Clients {
        address,
        path: "/v1/messages/batch",
        body: batch(BATCH, 50).into(),
        connections: BUSY_CONNECTIONS,
        interval: Duration::ZERO,
        duration,
    };
    // Connections and caches are warm afterwards.
    run(&world, &Clients { duration: duration / 4, ..busy.clone() }).await;
    let max = run(&world, &busy).await;
    assert_eq!(max.refused.len(), 0, "16 requests are not an overload");
    let possible = u32::try_from(max.accepted.len()).expect("a small number").max(1);
    let interval = duration / possible * CONNECTIONS / 4;
    let overload = Clients { connections: CONNECTIONS, interval, ..busy.clone() };
    let small = Clients {
        path: "/v1/messages",
        body: Arc::from(r#"{"text":"small","channel":"small"}"#),
        connections: 1,
        interval: Duration::from_millis(50),
        ..busy
    };
    let overloaded = run(&world, &overload).await;
    println!("{possible} requests without overload, with it {}", overloaded.accepted.len());
    let (overloaded_again, small) = tokio::join!(overload.run(), small.run());
    println!(
        "among them {} of {} small requests, p99 {:?}",
        small.accepted.len(),
        small.accepted.len() + small.refused.len() + small.others.len(),
        quantile(&small.accepted, 0.99)
    );
    assert!(small.others.is_empty(), "{:?}", small.others);
    if is_full() {
        for outcomes in [&overloaded, &overloaded_again] {
            let accepted = u32::try_from(outcomes.accepted.len()).expect("a small number");
            assert!(accepted * 10 >= possible * 8, "{accepted} of {possible}");
            let p99 = quantile(&outcomes.accepted, 0.99);
            assert!(p99 < Duration::from_secs(1), "{p99:?}");
            assert!(!outcomes.refused.is_empty(), "there was no overload");
        }
        assert_eq!(small.refused.len(), 0, "small requests are refused");
        let p99 = quantile(&small.accepted, 0.99);
        assert!(p99 < Duration::from_secs(1), "{p99:?}");
    }
}
