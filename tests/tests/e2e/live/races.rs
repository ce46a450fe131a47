//! What is published in the same instant as somebody subscribes: it is seen, and seen once.

use std::{sync::Arc, time::Duration};

use mayfly_tests::{World, live::Live, short_or_full};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{position_of, say, shared};

const WORKERS: usize = 8;
const LAST: &str = "4";

/// Waits for less than so many milliseconds.
async fn wait_a_little(most: u64) {
    sleep(Duration::from_micros(fastrand::u64(0..most * 1_000))).await;
    for _ in 0..fastrand::u32(0..50) {
        tokio::task::yield_now().await;
    }
}

async fn connect(url: String) -> (Live, Value) {
    wait_a_little(6).await;
    Live::hello(&url).await
}

/// Whether these are the last of `1 2 3 4`, none of them missing.
fn assert_is_an_end(texts: &[String], what: &str) {
    let all = ["1", "2", "3", LAST];
    assert!(
        all.ends_with(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
        "{what}: {texts:?}"
    );
}

/// Four clients of a channel of its own come while three messages are posted; a fourth message
/// ends it. Gives a position before the next round, and how many came to who asked for no more.
async fn play(world: &World, number: usize, since: Option<String>) -> (String, usize) {
    let channel = format!("race-{number}");
    let query = format!("channel={channel}");
    let url = |query: &str, at: usize| {
        let urls = world.lives(query);
        urls[(number + at) % urls.len()].clone()
    };
    let (mut by_frame, hello) = Live::hello(&url("channel=race-none", 1)).await;
    let since = since.unwrap_or_else(|| position_of(&hello).to_owned());
    let subscribe = async {
        wait_a_little(6).await;
        by_frame.ask(&json!({"type": "subscribe", "channels": [&channel]})).await
    };
    let ((), (mut fresh, hello), (mut back, resumed), subscribed) = tokio::join!(
        async {
            for text in ["1", "2", "3"] {
                say(world, &channel, text).await;
                wait_a_little(2).await;
            }
        },
        connect(url(&query, 0)),
        connect(url(&format!("{query}&since={since}"), 1)),
        subscribe,
    );
    say(world, &channel, LAST).await;

    assert_eq!(resumed["resumed"], true, "{resumed}");
    let texts = back.texts_until(LAST).await;
    assert_eq!(texts, ["1", "2", "3", LAST], "a position and live: {number}");
    assert_eq!(subscribed["type"], "subscribed", "before anything that it brings");
    assert_is_an_end(&by_frame.texts_until(LAST).await, "by a frame");
    let texts = fresh.texts_until(LAST).await;
    assert_is_an_end(&texts, "fresh");
    // What did not come was published before the position of `hello`, and only that.
    let again = format!("{query}&since={}", position_of(&hello));
    let (mut replay, _) = Live::hello(&url(&again, 1)).await;
    assert_eq!(replay.texts_until(LAST).await, texts, "hello says where live begins: {number}");
    for live in [fresh, back, by_frame, replay] {
        live.reset();
    }
    (position_of(&hello).to_owned(), texts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_a_client_subscribes_is_never_in_neither_and_never_twice() {
    let world = Arc::new(shared().await);
    let rounds = short_or_full(800, 10_000);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let world = world.clone();
        workers.spawn(async move {
            let (mut since, mut came) = (None, [0; 5]);
            for number in (worker..rounds).step_by(WORKERS) {
                let (position, count) = play(&world, number, since).await;
                since = Some(position);
                came[count] += 1;
            }
            came
        });
    }
    let mut came = [0; 5];
    while let Some(worker) = workers.join_next().await {
        let of_worker: [usize; 5] = worker.expect("every round ends well");
        came.iter_mut().zip(of_worker).for_each(|(sum, one)| *sum += one);
    }
    println!("of {rounds} who came amid four messages, so many got none, one, …: {came:?}");
    assert!(came[2] + came[3] > rounds / 20, "nobody came amid them: {came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribing_and_subscribing_again_amid_a_talk_leaves_no_hole() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=hole-on")).await;
    let talker = {
        let world = world.clone();
        tokio::spawn(async move {
            for number in 0..short_or_full(300, 3_000) {
                say(&world, "hole-on", &number.to_string()).await;
                say(&world, "hole-off", &number.to_string()).await;
            }
            say(&world, "hole-on", "end").await;
        })
    };
    // The other channel comes and goes; nothing of this one may be lost by it.
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
    talker.await.expect("the talk ends");
    assert_eq!(expected, short_or_full(300, 3_000));
}
