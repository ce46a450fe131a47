//! One of many clients does not read at all: nobody else notices.

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
    PATIENCE, Setup, World, eventually, is_full,
    live::{FIN, Latencies, Live, Opening, Talk, Told, encode, file_limit, opcode, rss_bytes},
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

/// More than the queue of a connection and the kernel together take.
fn talk() -> Talk<'static> {
    Talk {
        channel: CHANNEL,
        count: 260,
        every: Duration::from_millis(short_or_full(10, 250)),
        bytes: 60 * 1024,
    }
}

/// Has clients read all that is said; how long it took to each, and the most memory meanwhile.
async fn listen(world: &World, count: usize) -> (Latencies, u64) {
    let url = world.live(&format!("channel={CHANNEL}"));
    let talk = talk();
    let mut lives = stream::iter(0..count)
        .map(|_| Live::hello(&url))
        .buffer_unordered(50)
        .collect::<Vec<_>>()
        .await;
    let mut readers = JoinSet::new();
    for (mut live, _) in lives.drain(..) {
        let count = talk.count;
        readers.spawn(async move {
            let mut latencies = Latencies::default();
            while latencies.count() < count {
                let text = timeout(PATIENCE, live.next_text()).await;
                let text = text.unwrap_or_else(|_| panic!("{} of {count}", latencies.count()));
                latencies.add(&Told::read(&text.expect("who reads is not closed")));
            }
            latencies
        });
    }
    let pid = world.stack.env().pids(Service::WsFanout)[0];
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(rss_bytes(pid));
                sleep(Duration::from_millis(50)).await;
            }
            most
        })
    };
    talk.post(world).await;
    let mut all = Vec::new();
    while let Some(read) = readers.join_next().await {
        all.push(read.expect("each gets everything"));
    }
    done.store(true, Ordering::Relaxed);
    (Latencies::of(all), watcher.await.expect("no panic"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_closed_with_4000_and_nobody_else_notices() {
    file_limit();
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    // Its queue is full before it owes a pong.
    let world = setup.set("MAYFLY_FANOUT__PING_INTERVAL", "5m").start().await;
    let (without, memory_without) = listen(&world, clients()).await;
    println!("all read: {without}; {} MiB", memory_without / MIB);

    let url = world.live(&format!("channel={CHANNEL}"));
    let opening = Opening::to(&url).receive_buffer(64 * 1024);
    let mut unread = opening.send().await.expect("it is opened");
    let (with, memory_with) = listen(&world, clients() - 1).await;
    println!("one does not: {with}; {} MiB", memory_with / MIB);
    assert!(memory_with <= memory_without + 32 * MIB, "{} MiB", memory_with / MIB);
    if is_full() {
        let most = without.permille(990).mul_f64(1.2);
        assert!(with.permille(990) <= most, "p99 was {:?}", without.permille(990));
    }

    // A Close is tried for 5 s, and then the connection is dropped.
    eventually(PATIENCE, "it is closed and counted", async || {
        let metrics = world.fanout_metrics().await;
        let counted = metrics.sum("closed_total{code=\"4000\"}") == 1;
        let is_gone = !is_full() || metrics.sum("connections") == 0;
        if counted && is_gone { Ok(()) } else { Err(metrics) }
    })
    .await;
    // Where the talk took longer than that, it was dropped meanwhile.
    let (code, _) = unread.next_close().await;
    assert!(code == 1006 || (code == 4000 && !is_full()), "{code}");
}

/// What is answered to a client has a bound, too.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_asks_and_never_reads_costs_no_more_than_its_queue() {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    let world = setup.with(Service::PersistWorker, 0).start().await;
    let pid = world.stack.env().pids(Service::WsFanout)[0];
    let asks = [
        encode(FIN | opcode::PING, &[b'x'; 125]),
        encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#),
        encode(FIN | opcode::TEXT, br#"{"type":"subscribe","channels":["c"]}"#),
        encode(FIN | opcode::TEXT, b"nonsense"),
    ];
    for ask in asks {
        let before = rss_bytes(pid);
        let opening = Opening::to(&world.live("channel=asks")).receive_buffer(16 * 1024);
        let mut live = opening.send().await.expect("it is opened");
        let many = ask.repeat(1_000);
        // It is closed, or it is not listened to any more; either way the memory stays.
        let asking = async { while live.send_raw(&many).await.is_ok() {} };
        let lasts = Duration::from_millis(short_or_full(500, 3_000));
        let is_closed = timeout(lasts, asking).await.is_ok();
        let grown = rss_bytes(pid).saturating_sub(before);
        println!("closed: {is_closed}; {} KiB more", grown / 1024);
        assert!(grown < 32 * MIB, "{} MiB", grown / MIB);
        // And others are served.
        Live::hello(&world.live("channel=asks")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_until_it_is_closed_learns_why() {
    let world = super::shared().await;
    let fanout = super::start_own(&world, &[]).await;
    let url = super::url_of(&fanout, "channel=unread-why");
    let opening = Opening::to(&url).receive_buffer(64 * 1024);
    let mut unread = opening.send().await.expect("it is opened");
    let talk = Talk { channel: "unread-why", every: Duration::from_millis(2), ..talk() };
    let closed = async {
        eventually(PATIENCE, "it is counted", async || {
            let metrics = super::metrics_of(&world, &fanout).await;
            let counted = metrics.sum("closed_total{code=\"4000\"}") == 1;
            let dropped = metrics.sum("dropped_total{reason=\"slow_consumer\"}");
            if counted && dropped > 0 { Ok(()) } else { Err(metrics) }
        })
        .await;
        // Now it reads, before the Close is given up: what was under way, then the reason.
        unread.next_close().await
    };
    let ((), (code, reason)) = tokio::join!(talk.post(&world), closed);
    println!("closed with {code} {reason}");
    assert_eq!(code, 4000);
}
