//! Connections that were idle, or that were closed or dropped in the meantime.

use std::time::Duration;

use mayfly_core::StateFeed;
use mayfly_hot::{HotError, HotStore};
use mayfly_stack::Firewall;
use tokio::task::JoinSet;

use super::{eventually, server::Server};
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

/// Returns how often Redis has executed a command since its statistics were reset.
async fn count_calls(server: &Server, command: &str) -> usize {
    let stats: String = server.query(&["INFO", "commandstats"]).await;
    let prefix = format!("cmdstat_{command}:calls=");
    let rest = stats.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("0");
    let count = rest.split(',').next().unwrap_or_default();
    count.parse().expect("a number")
}

#[tokio::test]
async fn connection_is_validated_once_if_it_was_idle_and_not_otherwise() {
    let server = Server::start(&[]).await;
    let hot = server.store(&[]);
    let call = async || {
        hot.snapshots().find_state(StateFeed::Stats).await.map(drop).expect("Redis responds");
    };
    call().await;
    // On a busy machine, a connection can be idle between two calls.
    eventually("calls without a validation", async || {
        server.query::<()>(&["CONFIG", "RESETSTAT"]).await;
        call().await;
        call().await;
        match count_calls(&server, "ping").await {
            0 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    // A connection counts as idle after one second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    call().await;
    assert_eq!(count_calls(&server, "ping").await, 1);
    assert_eq!(count_calls(&server, "unwatch").await, 0);
}

#[tokio::test]
async fn connections_that_redis_closed_are_replaced_before_they_are_used() {
    let server = Server::start(&[]).await;
    let test = TestStore::connect(&server.url(), "mayfly", &[]).await;
    let writer = test.play_writer();
    writer.write(write_request(1)).await.expect("Redis responds");
    for result in call_concurrently(&test.hot).await {
        result.expect("Redis responds");
    }
    // Redis closes the sockets before it replies. The runtime handles this while the test sleeps.
    // After a single sleep on a busy machine, the test could continue before the runtime's tasks.
    let closed: usize = server.query(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    assert!(closed >= 2, "{closed} connections were closed");
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for result in call_concurrently(&test.hot).await {
        result.expect("a new connection is used");
    }
    writer.write(write_request(1)).await.expect("a new connection is used");
}
