//! Much at once for clients that do read: none of them is slow.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_tests::{
    PATIENCE, World,
    live::{Follower, Live, Opening},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{metrics_of, position_of, say, shared, start_own, url_of};

/// Posts a batch of numbered messages, each with so many bytes of data.
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
async fn a_long_replay_to_a_slow_reader_brings_all_and_is_no_slow_consumer() {
    let world = shared().await;
    let fanout = start_own(&world, &[]).await;
    let (_, hello) = Live::hello(&url_of(&fanout, "channel=replay")).await;
    for part in 0..5 {
        // Together more than the queue of a connection takes.
        post_batch(&world, "replay", part * 1000..(part + 1) * 1000, 2_000).await;
    }
    let since = format!("channel=replay&since={}", position_of(&hello));
    let opening = Opening::to(&url_of(&fanout, &since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    let hello = slow.next_frame().await;
    assert_eq!(hello["resumed"], true, "{hello}");
    sleep(Duration::from_secs(1)).await;
    // What comes meanwhile comes behind it.
    post_batch(&world, "replay", 5000..5100, 10).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(slow.texts_until("5099").await, numbers(0..5100));
    say(&world, "replay", "live").await;
    assert_eq!(slow.texts_until("live").await, ["live"]);
    let metrics = metrics_of(&world, &fanout).await;
    assert_eq!((metrics.sum("closed_total{code=\"4000\"}"), metrics.sum("dropped_total")), (0, 0));
}

/// The set may change while much is still to come: what was before the answer is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_subscribed_and_unsubscribed_amid_a_replay_counts_from_the_answer_on() {
    let world = shared().await;
    let (_, hello) = Live::hello(&world.live("channel=amid-a")).await;
    for part in 0..3 {
        post_batch(&world, "amid-a", part * 1000..(part + 1) * 1000, 2_000).await;
    }
    let since = format!("channel=amid-a&since={}", position_of(&hello));
    let opening = Opening::to(&world.live(&since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    assert_eq!(slow.next_frame().await["resumed"], true);
    let mut came = slow.texts_until("499").await;
    slow.send_text(r#"{"type":"subscribe","channels":["amid-b"]}"#).await;
    loop {
        let frame = slow.next_frame().await;
        if frame["type"] == "subscribed" {
            assert_eq!(frame["channels"], json!(["amid-a", "amid-b"]));
            break;
        }
        came.push(frame["message"]["text"].as_str().expect("a message").to_owned());
    }
    say(&world, "amid-b", "new").await;
    say(&world, "amid-a", "end").await;
    let before = came.len();
    came.extend(slow.texts_until("end").await);
    assert_eq!(came, [numbers(0..3000), vec!["new".into(), "end".into()]].concat());
    assert!((501..2999).contains(&before), "not amid the replay: {before}");

    let opening = Opening::to(&world.live(&since)).receive_buffer(16 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    assert_eq!(slow.next_frame().await["resumed"], true);
    slow.texts_until("499").await;
    slow.send_text(r#"{"type":"subscribe","channels":["amid-b"]}"#).await;
    slow.send_text(r#"{"type":"unsubscribe","channels":["amid-a"]}"#).await;
    assert_eq!(slow.next_of("unsubscribed").await["channels"], json!(["amid-b"]));
    say(&world, "amid-b", "last").await;
    let texts = slow.texts_until("last").await;
    assert!(texts == ["last"] || texts == ["new", "last"], "nothing of the other: {texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_cut_off_again_and_again_arrives_in_the_end() {
    let world = shared().await;
    let urls = world.lives("channel=replay-cut");
    let mut client = Follower::start(urls, 0).await;
    client.cut().await;
    for part in 0..3 {
        post_batch(&world, "replay-cut", part * 1000..(part + 1) * 1000, 10).await;
    }
    while client.seen.len() < 3000 {
        let count = (client.seen.len() + fastrand::usize(1..300)).min(3000);
        client.follow_to(count, PATIENCE).await;
        client.cut().await;
    }
    assert!(client.seen == world.streamed("replay-cut").await, "it misses or repeats something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_nearly_4_mib_makes_no_reading_client_slow() {
    let world = shared().await;
    let fanout = start_own(&world, &[]).await;
    let url = url_of(&fanout, "channel=heavy");
    let mut lives = join_all((0..5).map(|_| Live::hello(&url))).await;
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
    let metrics = metrics_of(&world, &fanout).await;
    assert_eq!((metrics.sum("closed_total"), metrics.sum("dropped_total")), (0, 0));
}
