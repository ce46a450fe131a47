//! A message published while a client subscribes is received exactly once.

use std::{sync::Arc, time::Duration};

use mayfly_tests::{World, live::LiveSocket, short_or_full};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::live::{frame_position, post_text, shared};

const WORKERS: usize = 8;
const LAST: &str = "4";

/// Sleeps for a random time of less than `max` milliseconds.
async fn sleep_randomly(max: u64) {
    sleep(Duration::from_micros(fastrand::u64(0..max * 1_000))).await;
    for _ in 0..fastrand::u32(0..50) {
        tokio::task::yield_now().await;
    }
}

async fn connect(url: String) -> (LiveSocket, Value) {
    sleep_randomly(6).await;
    LiveSocket::connect_with_hello(&url).await
}

/// Asserts that the texts are a suffix of `1 2 3 4`.
fn assert_is_suffix(texts: &[String], what: &str) {
    let all = ["1", "2", "3", LAST];
    assert!(
        all.ends_with(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
        "{what}: {texts:?}"
    );
}

/// Runs a round on its own channel: four clients connect while three messages are posted, and a
/// fourth message ends it. Returns a position before the next round, and the number of messages
/// received by the client without `since`.
async fn run_round(world: &World, number: usize, since: Option<String>) -> (String, usize) {
    let channel = format!("race-{number}");
    let query = format!("channel={channel}");
    let url = |query: &str, at: usize| {
        let urls = world.live_urls(query);
        urls[(number + at) % urls.len()].clone()
    };
    let (mut by_frame, hello) = LiveSocket::connect_with_hello(&url("channel=race-none", 1)).await;
    let since = since.unwrap_or_else(|| frame_position(&hello).to_owned());
    let subscribe = async {
        sleep_randomly(6).await;
        by_frame.exchange(&json!({"type": "subscribe", "channels": [&channel]})).await
    };
    let ((), (mut fresh, hello), (mut back, resumed), subscribed) = tokio::join!(
        async {
            for text in ["1", "2", "3"] {
                post_text(world, &channel, text).await;
                sleep_randomly(2).await;
            }
        },
        connect(url(&query, 0)),
        connect(url(&format!("{query}&since={since}"), 1)),
        subscribe,
    );
    post_text(world, &channel, LAST).await;

    assert_eq!(resumed["resumed"], true, "{resumed}");
    let texts = back.texts_until(LAST).await;
    assert_eq!(texts, ["1", "2", "3", LAST], "replay and live delivery: {number}");
    assert_eq!(subscribed["type"], "subscribed", "subscribed precedes the messages");
    assert_is_suffix(&by_frame.texts_until(LAST).await, "by a frame");
    let texts = fresh.texts_until(LAST).await;
    assert_is_suffix(&texts, "fresh");
    // Only messages before the position of `hello` are missing.
    let again = format!("{query}&since={}", frame_position(&hello));
    let (mut replay, _) = LiveSocket::connect_with_hello(&url(&again, 1)).await;
    assert_eq!(
        replay.texts_until(LAST).await,
        texts,
        "hello is the start of live delivery: {number}"
    );
    for live in [fresh, back, by_frame, replay] {
        live.reset();
    }
    (frame_position(&hello).to_owned(), texts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn message_published_while_a_client_connects_is_in_replay_or_live_exactly_once() {
    let world = Arc::new(shared().await);
    let rounds = short_or_full(800, 10_000);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let world = world.clone();
        workers.spawn(async move {
            let (mut since, mut received) = (None, [0; 5]);
            for number in (worker..rounds).step_by(WORKERS) {
                let (position, count) = run_round(&world, number, since).await;
                since = Some(position);
                received[count] += 1;
            }
            received
        });
    }
    let mut received = [0; 5];
    while let Some(worker) = workers.join_next().await {
        let counts: [usize; 5] = worker.expect("every round passes");
        received.iter_mut().zip(counts).for_each(|(sum, one)| *sum += one);
    }
    println!(
        "{rounds} clients connected during four messages and received 0, 1, … of them: {received:?}"
    );
    assert!(
        received[2] + received[3] > rounds / 20,
        "no client connected during the messages: {received:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn resubscribing_during_traffic_leaves_no_gap() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=hole-on")).await;
    let poster = {
        let world = world.clone();
        tokio::spawn(async move {
            for number in 0..short_or_full(300, 3_000) {
                post_text(&world, "hole-on", &number.to_string()).await;
                post_text(&world, "hole-off", &number.to_string()).await;
            }
            post_text(&world, "hole-on", "end").await;
        })
    };
    // Changes to the subscription of the other channel must not lose messages of this channel.
    let mut expected = 0;
    let mut is_on = false;
    for turn in 0_u32.. {
        let frame = live.next_frame().await;
        match frame["type"].as_str() {
            Some("message") if frame["message"]["channel"] == "hole-on" => {
                if frame["message"]["text"] == "end" {
                    break;
                }
                assert_eq!(frame["message"]["text"], expected.to_string());
                expected += 1;
            }
            Some("message") => assert!(is_on, "{frame}"),
            Some(kind @ ("subscribed" | "unsubscribed")) => {
                is_on = kind == "subscribed";
            }
            _ => panic!("{frame}"),
        }
        if turn.is_multiple_of(7) {
            let kind = if is_on { "unsubscribe" } else { "subscribe" };
            live.send_text(&json!({"type": kind, "channels": ["hole-off"]}).to_string()).await;
        }
    }
    poster.await.expect("all messages are posted");
    assert_eq!(expected, short_or_full(300, 3_000));
}
