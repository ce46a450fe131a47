//! Large replays and batches: clients that read are not slow consumers.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World,
    live::{LiveSocket, ResumingClient, UpgradeRequest},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::live::{feed_url, frame_position, post_text, read_metrics, shared, start_instance};

/// Posts a batch of numbered messages with `bytes` of data each.
async fn post_batch(world: &World, channel: &str, numbers: std::ops::Range<usize>, bytes: usize) {
    let data = "x".repeat(bytes);
    let message =
        |number: usize| json!({"channel": channel, "text": number.to_string(), "data": data});
    let batch: Vec<Value> = numbers.map(message).collect();
    let answer = world.post("/v1/messages/batch", &json!(batch)).await;
    assert_eq!(answer.status(), 202);
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_replay_to_a_slow_reader_is_complete() {
    let world = shared().await;
    let fanout = start_instance(&world, &[]).await;
    let (_, hello) = LiveSocket::connect_with_hello(&feed_url(&fanout, "channel=replay")).await;
    for part in 0..5 {
        // More in total than the send queue holds.
        post_batch(&world, "replay", part * 1000..(part + 1) * 1000, 2_000).await;
    }
    let since = format!("channel=replay&since={}", frame_position(&hello));
    let opening = UpgradeRequest::new(&feed_url(&fanout, &since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    let hello = slow.next_frame().await;
    assert_eq!(hello["resumed"], true, "{hello}");
    sleep(Duration::from_secs(1)).await;
    // Messages posted during the replay follow it.
    post_batch(&world, "replay", 5000..5100, 10).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(slow.texts_until("5099").await, numbers(0..5100));
    post_text(&world, "replay", "live").await;
    assert_eq!(slow.texts_until("live").await, ["live"]);
    let metrics = read_metrics(&world, &fanout).await;
    assert_eq!(
        (
            metrics.sum("connections_closed_total{code=\"4000\"}"),
            metrics.sum("frames_dropped_total") + metrics.sum("close_timeouts_total")
        ),
        (0, 0)
    );
}

/// Subscriptions can change during a replay; the change applies to messages after the response.
#[tokio::test(flavor = "multi_thread")]
async fn subscription_changes_during_a_replay_apply_after_the_response() {
    let world = shared().await;
    let (_, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=amid-a")).await;
    for part in 0..3 {
        post_batch(&world, "amid-a", part * 1000..(part + 1) * 1000, 2_000).await;
    }
    let since = format!("channel=amid-a&since={}", frame_position(&hello));
    let opening = UpgradeRequest::new(&world.live_url(&since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    assert_eq!(slow.next_frame().await["resumed"], true);
    let mut received = slow.texts_until("499").await;
    slow.send_text(r#"{"type":"subscribe","channels":["amid-b"]}"#).await;
    loop {
        let frame = slow.next_frame().await;
        if frame["type"] == "subscribed" {
            assert_eq!(frame["channels"], json!(["amid-a", "amid-b"]));
            break;
        }
        received
            .push(frame["message"]["text"].as_str().expect("the frame has a message").to_owned());
    }
    post_text(&world, "amid-b", "new").await;
    post_text(&world, "amid-a", "end").await;
    let before = received.len();
    received.extend(slow.texts_until("end").await);
    assert_eq!(received, [numbers(0..3000), vec!["new".into(), "end".into()]].concat());
    assert!((501..2999).contains(&before), "not during the replay: {before}");

    let opening = UpgradeRequest::new(&world.live_url(&since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    assert_eq!(slow.next_frame().await["resumed"], true);
    slow.texts_until("499").await;
    slow.send_text(r#"{"type":"subscribe","channels":["amid-b"]}"#).await;
    slow.send_text(r#"{"type":"unsubscribe","channels":["amid-a"]}"#).await;
    assert_eq!(slow.next_of_type("unsubscribed").await["channels"], json!(["amid-b"]));
    post_text(&world, "amid-b", "last").await;
    let texts = slow.texts_until("last").await;
    assert!(
        texts == ["last"] || texts == ["new", "last"],
        "no message of the other channel: {texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatedly_interrupted_replay_completes() {
    let world = shared().await;
    let urls = world.live_urls("channel=replay-cut");
    let mut client = ResumingClient::start(urls, 0).await;
    client.drop_and_resume().await;
    for part in 0..3 {
        post_batch(&world, "replay-cut", part * 1000..(part + 1) * 1000, 10).await;
    }
    while client.seen.len() < 3000 {
        let count = (client.seen.len() + fastrand::usize(1..300)).min(3000);
        client.follow_until_count(count, DEFAULT_TIMEOUT).await;
        client.drop_and_resume().await;
    }
    assert!(
        client.seen == world.stream_message_ids("replay-cut").await,
        "the client misses or repeats messages"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_of_nearly_4_mib_does_not_make_a_client_slow() {
    let world = shared().await;
    let fanout = start_instance(&world, &[]).await;
    let url = feed_url(&fanout, "channel=heavy");
    let mut lives = join_all((0..5).map(|_| LiveSocket::connect_with_hello(&url))).await;
    for round in 0..3 {
        let range = round * 1000..(round + 1) * 1000;
        let last = (range.end - 1).to_string();
        let reading = lives.iter_mut().map(|(live, _)| live.texts_until(&last));
        let ((), all) =
            tokio::join!(post_batch(&world, "heavy", range.clone(), 4_100), join_all(reading));
        for texts in all {
            assert_eq!(texts, numbers(range.clone()));
        }
    }
    let metrics = read_metrics(&world, &fanout).await;
    assert_eq!(
        (
            metrics.sum("connections_closed_total"),
            metrics.sum("frames_dropped_total") + metrics.sum("close_timeouts_total")
        ),
        (0, 0)
    );
}
