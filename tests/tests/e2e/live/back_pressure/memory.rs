//! The memory of a connection, which is freed when the connection closes.

use std::fs;

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually,
    live::{LiveSocket, raise_file_limit, rss_bytes},
    short_or_full,
};

use crate::live::post_text;

/// Starts a stack whose Redis connections can be identified.
async fn start() -> World {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    setup.scale(Service::PersistWorker, 0).redis_acl("&*").start().await
}

async fn open(world: &World, count: usize) -> Vec<LiveSocket> {
    let url = world.live_url("channel=memory");
    let opened =
        stream::iter(0..count).map(|_| LiveSocket::connect_with_hello(&url)).buffer_unordered(50);
    opened.map(|(live, _)| live).collect().await
}

fn rss(world: &World) -> u64 {
    rss_bytes(world.stack.env().pids(Service::WsFanout)[0])
}

async fn wait_for_connections(world: &World, count: u64) {
    eventually(DEFAULT_TIMEOUT, "the connections are counted", async || {
        let seen = world.fanout_metrics().await.sum("connections");
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Counts the connections of this stack to Redis.
async fn count_redis_clients(world: &World) -> usize {
    let mut list = redis::cmd("CLIENT");
    list.arg("LIST");
    let all: String = list.query_async(&mut world.redis().await).await.expect("Redis is available");
    all.lines().filter(|line| line.contains(&format!(" user={} ", world.prefix))).count()
}

/// Prints the memory that the kernel uses for sockets.
fn print_kernel_memory(when: &str) {
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    println!("{when}: {}", sockets.lines().find(|line| line.starts_with("TCP:")).unwrap_or("?"));
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    for name in ["TCP ", "sock_inode_cache ", "filp ", "skbuff_head_cache "] {
        if let Some(line) = slabs.lines().find(|line| line.starts_with(name)) {
            let numbers: Vec<&str> = line.split_whitespace().skip(1).take(3).collect();
            println!("  {name}{} of {} bytes", numbers[0], numbers[2]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_client_costs_little_memory_and_no_redis_connection() {
    let count = short_or_full(500, 5_000);
    let limit = raise_file_limit();
    assert!(limit > 2 * 5_000, "the limit on open files is only {limit}");
    let world = start().await;
    let mut lives = open(&world, 1).await;
    post_text(&world, "memory", "one").await;
    lives[0].texts_until("one").await;
    let (before, connections_before) = (rss(&world), count_redis_clients(&world).await);
    print_kernel_memory("before");

    lives.extend(open(&world, count).await);
    wait_for_connections(&world, u64::try_from(count + 1).expect("the number is small")).await;
    let (after, many) = (rss(&world), count_redis_clients(&world).await);
    print_kernel_memory("after");
    let each = after.saturating_sub(before) / u64::try_from(count).expect("the number is small");
    println!("{count} idle clients: {before} to {after} bytes, {each} each");
    assert_eq!(many, connections_before, "one subscription for all clients");

    post_text(&world, "memory", "two").await;
    for live in &mut lives {
        assert_eq!(live.texts_until("two").await, ["two"]);
    }
    let after_traffic =
        rss(&world).saturating_sub(before) / u64::try_from(count).expect("the number is small");
    println!("after a message to all: {after_traffic} bytes each");
    assert!(
        each < 16 * 1024 && after_traffic < 24 * 1024,
        "{each} idle, {after_traffic} after a message"
    );
}

/// Connects clients that read `hello` and disconnect: with a Close, by a reset, or during the
/// handshake.
async fn churn(world: &World, count: usize) {
    let url = world.live_url("channel=churn");
    stream::iter(0..count)
        .map(async |number| {
            let mut live = LiveSocket::connect(&url).await;
            match number % 4 {
                0 => {
                    live.next_frame().await;
                    live.close().await;
                }
                1 => {
                    live.next_frame().await;
                    live.send_text(r#"{"type":"subscribe","channels":["churn-more"]}"#).await;
                    live.reset();
                }
                2 => {
                    live.next_frame().await;
                    live.reset();
                }
                _ => live.reset(),
            }
        })
        .buffer_unordered(64)
        .for_each(|()| async {})
        .await;
    wait_for_connections(world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnected_clients_leave_nothing_behind() {
    raise_file_limit();
    let world = start().await;
    let count = short_or_full(2_000, 20_000);
    churn(&world, count).await;
    let warm = rss(&world);
    for round in 0..short_or_full(1, 3) {
        churn(&world, count).await;
        let now = rss(&world);
        println!("after {count} more clients ({round}): {warm} to {now} bytes");
        // The memory of a small process fluctuates by a few pages.
        assert!(now <= warm + warm / 10 + 1024 * 1024, "{warm} grew to {now}");
    }
}
