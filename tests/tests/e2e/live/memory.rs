//! What a client costs, and that nothing of it is left.

use std::fs;

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, Setup, World, eventually,
    live::{Live, file_limit, rss_bytes},
    short_or_full,
};

use super::say;

/// A Mayfly whose connections to Redis can be told from others.
async fn start() -> World {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    setup.with(Service::PersistWorker, 0).redis_rules("&*").start().await
}

async fn open(world: &World, count: usize) -> Vec<Live> {
    let url = world.live("channel=memory");
    let opened = stream::iter(0..count).map(|_| Live::hello(&url)).buffer_unordered(50);
    opened.map(|(live, _)| live).collect().await
}

fn rss(world: &World) -> u64 {
    rss_bytes(world.stack.env().pids(Service::WsFanout)[0])
}

async fn wait_for_connections(world: &World, count: u64) {
    eventually(PATIENCE, "the connections are counted", async || {
        let seen = world.fanout_metrics().await.sum("connections");
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// How many connections this Mayfly has to Redis.
async fn redis_clients(world: &World) -> usize {
    let mut list = redis::cmd("CLIENT");
    list.arg("LIST");
    let all: String = list.query_async(&mut world.redis().await).await.expect("Redis answers");
    all.lines().filter(|line| line.contains(&format!(" user={} ", world.prefix))).count()
}

/// The kernel's side of it.
fn print_kernel(when: &str) {
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
async fn an_idle_client_costs_little_and_no_connection_to_redis() {
    let count = short_or_full(500, 5_000);
    let limit = file_limit();
    assert!(limit > 2 * 5_000, "this machine lets a process open {limit} files only");
    let world = start().await;
    let mut lives = open(&world, 1).await;
    say(&world, "memory", "one").await;
    lives[0].texts_until("one").await;
    let (before, asked) = (rss(&world), redis_clients(&world).await);
    print_kernel("before");

    lives.extend(open(&world, count).await);
    wait_for_connections(&world, u64::try_from(count + 1).expect("few")).await;
    let (after, many) = (rss(&world), redis_clients(&world).await);
    print_kernel("after");
    let each = after.saturating_sub(before) / u64::try_from(count).expect("few");
    println!("{count} idle clients: {before} to {after} bytes, {each} each");
    assert_eq!(many, asked, "one subscription, however many clients");

    say(&world, "memory", "two").await;
    for live in &mut lives {
        assert_eq!(live.texts_until("two").await, ["two"]);
    }
    let spoken = rss(&world).saturating_sub(before) / u64::try_from(count).expect("few");
    println!("after a message to all: {spoken} bytes each");
    assert!(each < 16 * 1024 && spoken < 24 * 1024, "{each} idle, {spoken} after a message");
}

/// Clients that come, hear hello, and go: in good manners, by a reset, or in the middle of it.
async fn churn(world: &World, count: usize) {
    let url = world.live("channel=churn");
    stream::iter(0..count)
        .map(async |number| {
            let mut live = Live::connect(&url).await;
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
async fn of_clients_that_come_and_go_nothing_is_left() {
    file_limit();
    let world = start().await;
    let count = short_or_full(2_000, 20_000);
    churn(&world, count).await;
    let warm = rss(&world);
    for round in 0..short_or_full(1, 3) {
        churn(&world, count).await;
        let now = rss(&world);
        println!("after {count} clients more ({round}): {warm} to {now} bytes");
        // Pages, not bytes: a small process has some that come and go.
        assert!(now <= warm + warm / 10 + 1024 * 1024, "{warm} became {now}");
    }
}
