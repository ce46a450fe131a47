//! Connections that a firewall dropped while they were idle.

use std::time::Duration;

use mayfly_core::StateFeed;
use mayfly_hot::{HotError, HotStore};
use mayfly_stack::Firewall;
use tokio::task::JoinSet;

use super::server::Server;
use crate::{TestStore, plays::write_request};

/// The number of concurrent calls. Validating this many broken connections one after another would
/// exceed the timeout.
const CALLS: usize = 8;

async fn call_concurrently(hot: &HotStore) -> Vec<Result<(), HotError>> {
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let hot = hot.clone();
        calls.spawn(async move { hot.snapshots().find_state(StateFeed::Stats).await.map(drop) });
    }
    calls.join_all().await
}

#[tokio::test]
async fn connections_dropped_while_idle_are_replaced_before_they_are_used() {
    let server = Server::start(&[]).await;
    let firewall = Firewall::start(&server.address()).await.expect("a free port");
    let url = format!("redis://{}", firewall.address());
    let hot = TestStore::create_store(&url, "mayfly", &[("MAYFLY_REDIS__TIMEOUT", "8s")]);
    for result in call_concurrently(&hot).await {
        result.expect("Redis responds");
    }
    let opened = firewall.connections_opened();
    // A connection counts as idle after one second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    firewall.forget_connections();
    for result in call_concurrently(&hot).await {
        result.expect("a new connection is used");
    }
    assert!(firewall.connections_opened() > opened, "the idle connections were forgotten");
}

#[tokio::test]
async fn write_over_a_connection_dropped_while_idle_is_accepted() {
    let server = Server::start(&[]).await;
    let firewall = Firewall::start(&server.address()).await.expect("a free port");
    let url = format!("redis://{}", firewall.address());
    let test = TestStore::connect(&url, "mayfly", &[("MAYFLY_REDIS__TIMEOUT", "8s")]).await;
    let writer = test.play_writer();
    writer.write(write_request(1)).await.expect("Redis responds");
    // A connection counts as idle after one second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    firewall.forget_connections();
    writer.write(write_request(1)).await.expect("a new connection is used");
}
