//! Clients that do not read cost a process a bounded amount of memory, regardless of their number.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually,
    live::{FIN, LiveSocket, UpgradeRequest, encode, opcode, raise_file_limit, rss_bytes},
    short_or_full,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::live::post_text;

const MIB: u64 = 1024 * 1024;
/// The kernel's receive buffer of a client that does not read.
const RECEIVE_BUFFER: u32 = 16 * 1024;
/// A message of nearly the maximum size.
const LARGE: usize = 60 * 1024;

fn setup() -> Setup {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    setup.scale(Service::PersistWorker, 0)
}

fn rss(world: &World) -> u64 {
    rss_bytes(world.stack.env().pids(Service::WsFanout)[0])
}

/// Returns the highest growth of the memory while an action runs, in bytes.
async fn measure_growth(world: &World, name: &str, action: impl Future<Output = ()>) -> u64 {
    let before = rss(world);
    let mut highest = before;
    tokio::pin!(action);
    while timeout(Duration::from_millis(50), &mut action).await.is_err() {
        highest = highest.max(rss(world));
    }
    let growth = highest.max(rss(world)).saturating_sub(before);
    println!("{name}: {} MiB, then {} MiB more", before / MIB, growth / MIB);
    growth
}

/// Opens sockets that do not read.
async fn open_unread(url: &str, count: usize) -> Vec<LiveSocket> {
    let opening = UpgradeRequest::new(url).receive_buffer(RECEIVE_BUFFER);
    let opened = stream::iter(0..count).map(|_| opening.clone().send());
    opened.buffer_unordered(20).map(|live| live.expect("the socket opens")).collect().await
}

/// Posts large messages, in batches of 60.
async fn post_large(world: &World, channel: &str, count: usize) {
    let data = "x".repeat(LARGE);
    for from in (0..count).step_by(60) {
        let message = json!({"channel": channel, "text": "x", "data": data, "ttl": 600});
        let batch: Vec<Value> = vec![message; (count - from).min(60)];
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
}

/// A client frame of 26 bytes can cause a reply of 8.6 KB.
#[tokio::test(flavor = "multi_thread")]
async fn server_stops_reading_from_clients_that_do_not_read_replies() {
    raise_file_limit();
    let world = setup().start().await;
    let names: Vec<_> = (0..128).map(|number| format!("channel={number:0>64}")).collect();
    let url = world.live_url(&names.join("&"));
    let count = short_or_full(40, 100);
    let frames = [
        encode(FIN | opcode::TEXT, br#"{"type":"subscribe"}"#),
        encode(FIN | opcode::TEXT, br#"{"type":"unsubscribe"}"#),
        encode(FIN | opcode::TEXT, format!("{:>4000}", "x").as_bytes()),
        encode(FIN | opcode::PING, &[b'x'; 125]),
        encode(FIN | opcode::PING, b""),
    ];
    for frame in frames {
        let lives = open_unread(&url, count).await;
        let many = frame.repeat(1_200);
        let growth = measure_growth(&world, &format!("{} bytes", frame.len()), async {
            let flooding = lives.into_iter().map(|mut live| {
                let many = &many;
                // The send can time out, because the server stops reading.
                async move {
                    let _ = timeout(Duration::from_secs(2), live.send_raw(many)).await;
                    live
                }
            });
            let lives = futures_util::future::join_all(flooding).await;
            for live in lives {
                live.reset();
            }
        })
        .await;
        assert!(growth < 32 * MIB, "{} MiB", growth / MIB);
    }
    // The server continues to read when the client reads.
    let (mut live, _) = LiveSocket::connect_with_hello(&url).await;
    let frame = encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#);
    live.send_raw(&frame.repeat(2_000)).await.expect("the connection is open");
    for _ in 0..2_000 {
        assert_eq!(live.next_frame().await["type"], "pong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_that_are_not_read_cost_a_limited_amount_of_memory() {
    raise_file_limit();
    let world = setup().set("MAYFLY_FANOUT__REPLAY_BYTES_MAX", "16MiB").start().await;
    let (_live, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=replays")).await;
    let since = hello["position"].as_str().expect("`hello` has a position");
    let sent = short_or_full(240, 600);
    post_large(&world, "replays", sent).await;
    post_text(&world, "replays", "end").await;
    let url = world.live_url(&format!("channel=replays&since={since}"));
    let count = short_or_full(100, 300);
    let mut lives = Vec::new();
    let growth = measure_growth(&world, "replays", async {
        lives = open_unread(&url, count).await;
        // All of the budget is in use, or all replays wait for their client.
        sleep(Duration::from_secs(1)).await;
    })
    .await;
    assert!(growth < 64 * MIB, "{} MiB", growth / MIB);
    // A client that reads gets its turn, because unread replays are closed.
    let reading = async {
        let (mut live, hello) = LiveSocket::connect_with_hello(&url).await;
        assert_eq!(hello["resumed"], true);
        assert_eq!(live.texts_until("end").await.len(), sent + 1);
    };
    timeout(2 * DEFAULT_TIMEOUT, reading).await.expect("the replay completes");
    drop(lives);
}

async fn open_unread_events(world: &World, count: usize) -> Vec<TcpStream> {
    let url = world.url(Service::WsFanout, "");
    let host = url.strip_prefix("http://").expect("an http URL").to_owned();
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket is created");
        socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("the buffer size is set");
        let address = host.parse().expect("a socket address");
        let mut stream = socket.connect(address).await.expect("the connection is accepted");
        let request = format!("GET /v1/events?channel=sse HTTP/1.1\r\nhost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        stream.readable().await.expect("the response arrives");
        streams.push(stream);
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_that_are_not_read_cost_little_and_are_closed() {
    raise_file_limit();
    let setup = setup().set("MAYFLY_HTTP__WRITE_TIMEOUT", "3s");
    let world = setup.set("MAYFLY_FANOUT__SLOW_CONSUMER", "drop").start().await;
    // Everything that is allocated once.
    post_large(&world, "sse", 240).await;
    let count = short_or_full(200, 500);
    let streams = open_unread_events(&world, count).await;
    let growth = measure_growth(&world, "event streams", post_large(&world, "sse", 240)).await;
    // The queues share up to 8 MiB of frames. Each stream also has a write buffer. Frames that the
    // process has received but not distributed yet need up to 10 MiB on a busy machine.
    assert!(growth < 32 * MIB, "{} MiB", growth / MIB);
    eventually(DEFAULT_TIMEOUT, "the streams are closed", async || {
        match world.fanout_metrics().await.sum("connections") {
            0 => Ok(()),
            open => Err(open),
        }
    })
    .await;
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_misses_frames_costs_no_more_than_its_queue() {
    let world = setup().set("MAYFLY_FANOUT__SLOW_CONSUMER", "drop").start().await;
    // Everything that is allocated once.
    post_large(&world, "dropped", 240).await;
    let lives = open_unread(&world.live_url("channel=dropped"), 1).await;
    let growth = measure_growth(&world, "one client", post_large(&world, "dropped", 480)).await;
    assert!(growth < 24 * MIB, "{} MiB", growth / MIB);
    assert!(world.fanout_metrics().await.sum("frames_dropped_total") > 0, "no frame was dropped");
    drop(lives);
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_queues_are_closed_first_when_all_hold_too_much() {
    let world = setup().set("MAYFLY_FANOUT__QUEUED_BYTES_MAX", "8MiB").start().await;
    let (mut reader, _) = LiveSocket::connect_with_hello(&world.live_url("")).await;
    let reading = tokio::spawn(async move {
        let mut count = 0;
        while reader.next_frame().await["message"]["channel"] != "sized-end" {
            count += 1;
        }
        count
    });
    // Queues of different sizes, which share nothing: 2, 4 and 6 MiB.
    let mut lives = Vec::new();
    for channel in ["sized-0", "sized-1", "sized-2"] {
        lives.extend(open_unread(&world.live_url(&format!("channel={channel}")), 1).await);
    }
    for (channel, count) in [("sized-0", 35), ("sized-1", 70), ("sized-2", 105)] {
        post_large(&world, channel, count).await;
    }
    // The latest messages are always kept for replays, and do not count.
    post_large(&world, "sized-other", 150).await;
    eventually(DEFAULT_TIMEOUT, "the memory is limited", async || {
        let metrics = world.fanout_metrics().await;
        let is_limited = metrics.sum("queued_bytes") <= 8 * MIB;
        if metrics.sum("memory_closes_total") > 0 && is_limited { Ok(()) } else { Err(metrics) }
    })
    .await;
    post_text(&world, "sized-end", "end").await;
    let read = timeout(DEFAULT_TIMEOUT, reading).await.expect("the client reads in time");
    assert_eq!(read.expect("a client that reads is not closed"), 35 + 70 + 105 + 150);
    let mut largest = lives.pop().expect("three sockets");
    assert_eq!(largest.next_close().await.0, 4000);
    let mut smallest = lives.swap_remove(0);
    assert_eq!(smallest.next_frame().await["type"], "hello");
    for _ in 0..35 {
        assert_eq!(smallest.next_frame().await["type"], "message");
    }
    assert_eq!(world.fanout_metrics().await.sum("memory_closes_total"), 1);
}

/// The part of a frame that has arrived is kept until the rest arrives.
#[tokio::test(flavor = "multi_thread")]
async fn incomplete_connect_frames_count_as_memory_of_the_process() {
    raise_file_limit();
    let world = setup().set("MAYFLY_FANOUT__QUEUED_BYTES_MAX", "4MiB").start().await;
    let url = world.live_url("connect=frame");
    let frame = encode(FIN | opcode::TEXT, &vec![b' '; 65_536]);
    let mut lives = open_unread(&url, 120).await;
    for live in &mut lives {
        // The server may have closed the connection already.
        let _ = live.send_raw(&frame[..60_000]).await;
    }
    // At most 69 parts fit into the limit, and at least 64, as buffers of up to 64 KiB.
    eventually(DEFAULT_TIMEOUT, "the largest are closed", async || {
        let metrics = world.fanout_metrics().await;
        let is_limited = metrics.sum("queued_bytes") <= 4 * MIB;
        if metrics.sum("memory_closes_total") >= 120 - 69 && is_limited {
            Ok(())
        } else {
            Err(metrics)
        }
    })
    .await;
    LiveSocket::connect_with_hello(&world.live_url("channel=beside")).await;
    // Several threads can close a connection each for the same excess.
    let closed = world.fanout_metrics().await.sum("memory_closes_total");
    assert!(closed <= 120 - 64 + 4, "{closed} of 120 connections were closed");
}
