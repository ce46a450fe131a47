//! Clients that read too slowly, where they are told what they miss, and beside others.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, World,
    live::{Latencies, Live, Opening, Talk, Told},
    short_or_full,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{metrics_of, say, shared, start_own, url_of};

const LARGE: usize = 60 * 1024;

/// Posts large messages, many at a time; with all of them the queue of a connection and what the
/// kernel takes is more than full.
async fn post_large(world: &World, channel: &str, batches: usize) -> usize {
    let data = "x".repeat(LARGE);
    for _ in 0..batches {
        let batch: Vec<Value> = vec![json!({"channel": channel, "text": "x", "data": data}); 60];
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    batches * 60
}

/// A gap that a client was told of.
struct Gap {
    /// How many it had when it was told.
    after: usize,
    dropped: usize,
    position: String,
}

/// Reads until messages and gaps together are this many.
async fn read_with_gaps(live: &mut Live, sent: usize) -> (Vec<Uuid>, Vec<Gap>) {
    let (mut seen, mut gaps, mut at) = (Vec::new(), Vec::<Gap>::new(), String::new());
    let sum = |seen: &[Uuid], gaps: &[Gap]| {
        seen.len() + gaps.iter().map(|gap| gap.dropped).sum::<usize>()
    };
    while sum(&seen, &gaps) < sent {
        let text = timeout(PATIENCE, live.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("{} of {sent}", sum(&seen, &gaps)));
        let told = Told::read(&text.expect("the socket stays"));
        let position = told.position.expect("each has a position");
        match (told.message, told.dropped) {
            (Some(message), None) => seen.push(message.id),
            (None, Some(dropped)) => {
                assert_eq!(position, at, "that of the last frame before the gap");
                gaps.push(Gap { after: seen.len(), dropped, position: position.clone() });
            }
            other => panic!("neither message nor gap: {other:?}"),
        }
        at = position;
    }
    (seen, gaps)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_drop_a_gap_says_exactly_what_is_missing_and_its_position_brings_it() {
    let world = shared().await;
    let fanout = start_own(&world, &[("MAYFLY_FANOUT__SLOW_CONSUMER", "drop")]).await;
    let url = url_of(&fanout, "channel=gaps");
    let opening = Opening::to(&url).receive_buffer(64 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    assert_eq!(slow.next_frame().await["type"], "hello");
    let (mut fast, _) = Live::hello(&url).await;
    let reading = tokio::spawn(async move {
        let read = timeout(Duration::from_secs(60), async {
            let mut count = 0;
            while Told::read(&fast.next_text().await.expect("the socket stays")).text() != "end" {
                count += 1;
            }
            count
        });
        read.await.expect("it reads all in time")
    });
    let mut sent = post_large(&world, "gaps", 6).await;
    sleep(Duration::from_millis(200)).await;
    // Nothing follows, and still it is told what it misses.
    let (mut seen, mut gaps) = read_with_gaps(&mut slow, sent).await;
    let second = post_large(&world, "gaps", 6).await;
    sleep(Duration::from_millis(200)).await;
    say(&world, "gaps", "end").await;
    sent += second + 1;
    let (more, more_gaps) = read_with_gaps(&mut slow, second + 1).await;
    gaps.extend(more_gaps.into_iter().map(|gap| Gap { after: gap.after + seen.len(), ..gap }));
    seen.extend(more);
    assert_eq!(reading.await.expect("no panic") + 1, sent, "who reads misses nothing");

    let streamed = world.streamed("gaps").await;
    let dropped: usize = gaps.iter().map(|gap| gap.dropped).sum();
    println!("{} gaps, {dropped} of {sent} messages dropped", gaps.len());
    assert!(gaps.len() >= 2, "it was never slow");
    let (mut at, mut had) = (0, 0);
    for gap in &gaps {
        assert_eq!(seen[had..gap.after], streamed[at..at + gap.after - had]);
        at += gap.after - had + gap.dropped;
        had = gap.after;
        let missing = &streamed[at - gap.dropped..at];
        let back = url_of(&fanout, &format!("channel=gaps&since={}", gap.position));
        let (mut back, hello) = Live::hello(&back).await;
        assert_eq!(hello["resumed"], true);
        for id in missing {
            let told = Told::read(&back.next_text().await.expect("the socket stays"));
            assert_eq!(told.message.map(|message| message.id), Some(*id), "what was dropped");
        }
    }
    assert_eq!(seen[had..], streamed[at..]);
    let metrics = metrics_of(&world, &fanout).await;
    let counted = metrics.sum("dropped_total");
    assert!(counted >= u64::try_from(dropped).expect("few"), "{counted}");
    assert_eq!(metrics.sum("closed_total{code=\"4000\"}"), 0);
}

/// Ten readers of a channel while it is talked on, and how long each message took to each.
async fn listen(world: &World, channel: &str) -> Latencies {
    let url = world.url(Service::WsFanout, &format!("/v1/live?channel={channel}"));
    let every = Duration::from_millis(50);
    let talk = Talk { channel, count: short_or_full(60, 600), every, bytes: 4_000 };
    let readers = join_all((0..10).map(|_| Live::hello(&url))).await;
    let reading = readers.into_iter().map(|(mut live, _)| {
        let count = talk.count;
        tokio::spawn(async move {
            let mut latencies = Latencies::default();
            while latencies.count() < count {
                let text = timeout(PATIENCE, live.next_text()).await;
                latencies.add(&Told::read(&text.expect("in time").expect("the socket stays")));
            }
            latencies
        })
    });
    let reading: Vec<_> = reading.collect();
    talk.post(world).await;
    Latencies::of(join_all(reading).await.into_iter().map(|one| one.expect("no panic")))
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_client_that_reads_1_kb_a_second_nobody_waits() {
    let world = shared().await;
    let url = world.url(Service::WsFanout, "/v1/live?channel=beside");
    let opening = Opening::to(&url).receive_buffer(4 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    let crawling = tokio::spawn(async move {
        loop {
            slow.skip(100).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    // At the same time on a channel without such a client: what else the machine does, both bear.
    let (beside, apart) = tokio::join!(listen(&world, "beside"), listen(&world, "apart"));
    crawling.abort();
    println!("beside a slow client: {beside}; without one: {apart}");
    // A pause of the machine may fall on one of the two channels alone.
    let (times, more) = short_or_full((4, 400), (2, 100));
    let most = apart.permille(1000) * times + Duration::from_millis(more);
    assert!(beside.permille(1000) < most, "{beside}; without a slow client: {apart}");
}
