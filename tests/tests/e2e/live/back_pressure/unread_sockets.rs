//! A client that does not read does not affect others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually, is_full,
    live::{
        FIN, Latencies, LiveSocket, PacedLoad, ReceivedFrame, UpgradeRequest, encode, opcode,
        raise_file_limit, rss_bytes,
    },
    short_or_full,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const CHANNEL: &str = "unread";
const MIB: u64 = 1024 * 1024;

fn clients() -> usize {
    short_or_full(40, 1_000)
}

/// Returns a load larger than the send queue and the kernel's buffers.
fn make_load() -> PacedLoad<'static> {
    PacedLoad {
        channel: CHANNEL,
        count: 260,
        every: Duration::from_millis(short_or_full(10, 250)),
        bytes: 60 * 1024,
    }
}

/// Reads everything with `count` clients and returns the latencies and the peak memory.
async fn listen(world: &World, count: usize) -> (Latencies, u64) {
    let url = world.live_url(&format!("channel={CHANNEL}"));
    let load = make_load();
    let mut lives = stream::iter(0..count)
        .map(|_| LiveSocket::connect_with_hello(&url))
        .buffer_unordered(50)
        .collect::<Vec<_>>()
        .await;
    let mut readers = JoinSet::new();
    for (mut live, _) in lives.drain(..) {
        let count = load.count;
        readers.spawn(async move {
            let mut latencies = Latencies::default();
            while latencies.count() < count {
                let text = timeout(DEFAULT_TIMEOUT, live.next_text()).await;
                let text = text.unwrap_or_else(|_| panic!("{} of {count}", latencies.count()));
                latencies
                    .add(&ReceivedFrame::parse(&text.expect("a client that reads is not closed")));
            }
            latencies
        });
    }
    let pid = world.stack.env().pids(Service::WsFanout)[0];
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut max = 0;
            while !done.load(Ordering::Relaxed) {
                max = max.max(rss_bytes(pid));
                sleep(Duration::from_millis(50)).await;
            }
            max
        })
    };
    load.post(world).await;
    let mut all = Vec::new();
    while let Some(read) = readers.join_next().await {
        all.push(read.expect("each client receives everything"));
    }
    done.store(true, Ordering::Relaxed);
    (Latencies::merge(all), watcher.await.expect("the task does not panic"))
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_is_closed_with_4000_without_affecting_others() {
    raise_file_limit();
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    // The queue is full before a pong is due.
    let world = setup.set("MAYFLY_FANOUT__PING_INTERVAL", "5m").start().await;
    let (without, memory_without) = listen(&world, clients()).await;
    println!("all clients read: {without}; {} MiB", memory_without / MIB);

    let url = world.live_url(&format!("channel={CHANNEL}"));
    let opening = UpgradeRequest::new(&url).receive_buffer(64 * 1024);
    let mut unread = opening.send().await.expect("the socket opens");
    let (with, memory_with) = listen(&world, clients() - 1).await;
    println!("one client does not read: {with}; {} MiB", memory_with / MIB);
    assert!(memory_with <= memory_without + 32 * MIB, "{} MiB", memory_with / MIB);
    if is_full() {
        let max = without.permille(990).mul_f64(1.2);
        assert!(with.permille(990) <= max, "p99 was {:?}", without.permille(990));
    }

    // The server tries to send the Close frame for 5 s, then drops the connection.
    eventually(DEFAULT_TIMEOUT, "the close is counted", async || {
        let metrics = world.fanout_metrics().await;
        let counted = metrics.sum("connections_closed_total{code=\"4000\"}") == 1;
        let is_dropped = !is_full() || metrics.sum("connections") == 0;
        if counted && is_dropped { Ok(()) } else { Err(metrics) }
    })
    .await;
    // If the load took longer than that, the connection is already dropped.
    let (code, _) = unread.next_close().await;
    assert!(code == 1006 || (code == 4000 && !is_full()), "{code}");
}

/// Responses to client frames are bounded as well.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_sends_but_never_reads_costs_no_more_than_its_queue() {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    let world = setup.scale(Service::PersistWorker, 0).start().await;
    let pid = world.stack.env().pids(Service::WsFanout)[0];
    let asks = [
        encode(FIN | opcode::PING, &[b'x'; 125]),
        encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#),
        encode(FIN | opcode::TEXT, br#"{"type":"subscribe","channels":["c"]}"#),
        encode(FIN | opcode::TEXT, b"nonsense"),
    ];
    for ask in asks {
        let before = rss_bytes(pid);
        let opening =
            UpgradeRequest::new(&world.live_url("channel=asks")).receive_buffer(16 * 1024);
        let mut live = opening.send().await.expect("the socket opens");
        let many = ask.repeat(1_000);
        // The server closes the connection or stops reading; memory is bounded in both cases.
        let asking = async { while live.send_raw(&many).await.is_ok() {} };
        let duration = Duration::from_millis(short_or_full(500, 3_000));
        let is_closed = timeout(duration, asking).await.is_ok();
        let grown = rss_bytes(pid).saturating_sub(before);
        println!("closed: {is_closed}; {} KiB more", grown / 1024);
        assert!(grown < 32 * MIB, "{} MiB", grown / MIB);
        // Other clients are served.
        LiveSocket::connect_with_hello(&world.live_url("channel=asks")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_again_receives_the_close_reason() {
    let world = crate::live::shared().await;
    let fanout = crate::live::start_instance(&world, &[]).await;
    let url = crate::live::feed_url(&fanout, "channel=unread-why");
    let opening = UpgradeRequest::new(&url).receive_buffer(64 * 1024);
    let mut unread = opening.send().await.expect("the socket opens");
    let load = PacedLoad { channel: "unread-why", every: Duration::from_millis(2), ..make_load() };
    let closed = async {
        eventually(DEFAULT_TIMEOUT, "the close is counted", async || {
            let metrics = crate::live::read_metrics(&world, &fanout).await;
            let counted = metrics.sum("connections_closed_total{code=\"4000\"}") == 1;
            let dropped = metrics.sum("frames_dropped_total{reason=\"slow_consumer\"}");
            if counted && dropped > 0 { Ok(()) } else { Err(metrics) }
        })
        .await;
        // The client reads before the Close times out: buffered frames, then the reason.
        unread.next_close().await
    };
    let ((), (code, reason)) = tokio::join!(load.post(&world), closed);
    println!("closed with {code} {reason}");
    assert_eq!(code, 4000);
}
