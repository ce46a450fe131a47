//! Slow consumers: reported gaps, and isolation from other clients.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World,
    live::{Latencies, LiveSocket, PacedLoad, ReceivedFrame, SocketEvent, UpgradeRequest},
    short_or_full,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::live::{feed_url, post_text, read_metrics, shared, start_instance};

const LARGE: usize = 60 * 1024;

/// Posts batches of large messages, in total more than the send queue and the kernel's buffers
/// hold.
async fn post_large(world: &World, channel: &str, batches: usize) -> usize {
    let data = "x".repeat(LARGE);
    for _ in 0..batches {
        let batch: Vec<Value> = vec![json!({"channel": channel, "text": "x", "data": data}); 60];
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    batches * 60
}

/// A reported gap.
struct Gap {
    /// The number of messages received before the gap.
    after: usize,
    dropped: usize,
    position: String,
}

/// Reads until received and dropped messages add up to `sent`.
async fn read_with_gaps(live: &mut LiveSocket, sent: usize) -> (Vec<Uuid>, Vec<Gap>) {
    let (mut seen, mut gaps, mut at) = (Vec::new(), Vec::<Gap>::new(), String::new());
    let sum = |seen: &[Uuid], gaps: &[Gap]| {
        seen.len() + gaps.iter().map(|gap| gap.dropped).sum::<usize>()
    };
    while sum(&seen, &gaps) < sent {
        let text = timeout(DEFAULT_TIMEOUT, live.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{} of {sent}", sum(&seen, &gaps)));
        let received = ReceivedFrame::parse(&text.expect("the socket stays open"));
        let position = received.position.expect("the frame has a position");
        match (received.message, received.dropped) {
            (Some(message), None) => seen.push(message.id),
            (None, Some(dropped)) => {
                assert_eq!(position, at, "the position of the last frame before the gap");
                gaps.push(Gap { after: seen.len(), dropped, position: position.clone() });
            }
            other => panic!("neither message nor gap: {other:?}"),
        }
        at = position;
    }
    (seen, gaps)
}

#[tokio::test(flavor = "multi_thread")]
async fn gap_reports_exactly_what_was_dropped_and_its_position_replays_it() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__SLOW_CONSUMER", "drop")]).await;
    let url = feed_url(&fanout, "channel=gaps");
    let opening = UpgradeRequest::new(&url).receive_buffer(64 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    assert_eq!(slow.next_frame().await["type"], "hello");
    let (mut fast, _) = LiveSocket::connect_with_hello(&url).await;
    let reading = tokio::spawn(async move {
        let read = timeout(Duration::from_secs(60), async {
            let mut count = 0;
            while ReceivedFrame::parse(&fast.next_text().await.expect("the socket stays open"))
                .text()
                != "end"
            {
                count += 1;
            }
            count
        });
        read.await.expect("the client receives everything in time")
    });
    let mut sent = post_large(&world, "gaps", 6).await;
    sleep(Duration::from_millis(200)).await;
    // The gap is reported even though no message follows.
    let (mut seen, mut gaps) = read_with_gaps(&mut slow, sent).await;
    let second = post_large(&world, "gaps", 6).await;
    sleep(Duration::from_millis(200)).await;
    post_text(&world, "gaps", "end").await;
    sent += second + 1;
    let (more, more_gaps) = read_with_gaps(&mut slow, second + 1).await;
    gaps.extend(more_gaps.into_iter().map(|gap| Gap { after: gap.after + seen.len(), ..gap }));
    seen.extend(more);
    assert_eq!(
        reading.await.expect("the task does not panic") + 1,
        sent,
        "a client that reads misses nothing"
    );

    let streamed = world.stream_message_ids("gaps").await;
    let dropped: usize = gaps.iter().map(|gap| gap.dropped).sum();
    println!("{} gaps, {dropped} of {sent} messages dropped", gaps.len());
    assert!(gaps.len() >= 2, "the client was never a slow consumer");
    let (mut at, mut had) = (0, 0);
    for gap in &gaps {
        assert_eq!(seen[had..gap.after], streamed[at..at + gap.after - had]);
        at += gap.after - had + gap.dropped;
        had = gap.after;
        let missing = &streamed[at - gap.dropped..at];
        let back = feed_url(&fanout, &format!("channel=gaps&since={}", gap.position));
        let (mut back, hello) = LiveSocket::connect_with_hello(&back).await;
        assert_eq!(hello["resumed"], true);
        for id in missing {
            let received =
                ReceivedFrame::parse(&back.next_text().await.expect("the socket stays open"));
            assert_eq!(
                received.message.map(|message| message.id),
                Some(*id),
                "the dropped message"
            );
        }
    }
    assert_eq!(seen[had..], streamed[at..]);
    let metrics = read_metrics(&world, &fanout).await;
    let counted = metrics.sum("frames_dropped_total");
    assert!(counted >= u64::try_from(dropped).expect("the number is small"), "{counted}");
    assert_eq!(metrics.sum("connections_closed_total{code=\"4000\"}"), 0);
}

/// Measures the latency of each message to ten readers of a channel with traffic.
async fn listen(world: &World, channel: &str) -> Latencies {
    let url = world.url(Service::WsFanout, &format!("/v1/live?channel={channel}"));
    let every = Duration::from_millis(50);
    let load = PacedLoad { channel, count: short_or_full(60, 600), every, bytes: 4_000 };
    let readers = join_all((0..10).map(|_| LiveSocket::connect_with_hello(&url))).await;
    let reading = readers.into_iter().map(|(mut live, _)| {
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
    });
    let reading: Vec<_> = reading.collect();
    load.post(world).await;
    Latencies::merge(
        join_all(reading).await.into_iter().map(|one| one.expect("the task does not panic")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_1_kb_per_second_does_not_delay_others() {
    let world = shared().await;
    let url = world.url(Service::WsFanout, "/v1/live?channel=beside");
    let opening = UpgradeRequest::new(&url).receive_buffer(4 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    let slow_reader = tokio::spawn(async move {
        loop {
            slow.discard(100).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    // Both channels are measured concurrently, under the same load of the machine.
    let (disturbed, undisturbed) = tokio::join!(listen(&world, "beside"), listen(&world, "apart"));
    slow_reader.abort();
    println!("with a slow client: {disturbed}; without: {undisturbed}");
    // A pause of the machine may affect only one of the channels.
    let (times, more) = short_or_full((4, 400), (2, 100));
    let max = undisturbed.permille(1000) * times + Duration::from_millis(more);
    assert!(disturbed.permille(1000) < max, "{disturbed}; without a slow client: {undisturbed}");
}

/// The ping is queued behind frames that the client has not read yet. Reading them shows that the
/// client is alive.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_slowly_and_steadily_is_not_closed() {
    const DATA: usize = 4_000;
    let world = shared().await;
    // Scaled to the default intervals of 25 s and 10 s, the client reads about 2 KB per second.
    let settings = [("MAYFLY_FANOUT__PING_INTERVAL", "1s"), ("MAYFLY_FANOUT__PONG_TIMEOUT", "1s")];
    let fanout = start_instance(&world, &settings).await;
    let url = feed_url(&fanout, "channel=steady");
    let opening = UpgradeRequest::new(&url).receive_buffer(8 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    assert_eq!(slow.next_frame().await["type"], "hello");
    let message = json!({"channel": "steady", "text": "x", "data": "x".repeat(DATA)});
    let batch: Vec<Value> = vec![message; 50];
    assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    post_text(&world, "steady", "end").await;
    let (mut messages, started) = (0, Instant::now());
    loop {
        match slow.receive().await {
            SocketEvent::Text(text) => {
                if ReceivedFrame::parse(&text).text() == "end" {
                    break;
                }
                messages += 1;
                // A late wakeup does not lower the rate.
                sleep_until(started + messages * Duration::from_millis(125)).await;
            }
            SocketEvent::Ping(_) => {}
            other => panic!("{other:?} after {messages} messages"),
        }
    }
    assert_eq!(messages, 50);
}
