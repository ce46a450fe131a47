//! Redis outages with and without data loss.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Frozen, Setup, World, eventually,
    live::{LiveSocket, UpgradeRequest},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::live::{frame_position, post_text};

const CLIENTS: usize = 3;
/// The time within which connected clients continue.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

async fn start(setup: Setup) -> (World, Vec<LiveSocket>, String) {
    let world = setup.scale(Service::WsFanout, 1).start().await;
    let url = world.live_url("channel=outages");
    let mut lives = Vec::new();
    let mut last = Value::Null;
    for _ in 0..CLIENTS {
        let (live, hello) = LiveSocket::connect_with_hello(&url).await;
        lives.push(live);
        last = hello;
    }
    post_text(&world, "outages", "before").await;
    for live in &mut lives {
        assert_eq!(live.texts_until("before").await, ["before"]);
    }
    let position = frame_position(&last).to_owned();
    (world, lives, position)
}

/// Retries a post until it is accepted.
async fn post_with_retries(world: &World, text: &str) {
    let message = json!({"channel": "outages", "text": text});
    eventually(Duration::from_secs(10), "writes continue", async || {
        let request = world.http.post(world.ingest_url("/v1/messages")).json(&message);
        let answer = ApiResponse::send(request).await;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// Returns the next message and the frames before it, on the same socket.
async fn next_message(live: &mut LiveSocket, until: Instant) -> (String, Vec<Value>) {
    let mut others = Vec::new();
    loop {
        let text = timeout_at(until, live.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("no message in time, but {others:?}"));
        let frame: Value = serde_json::from_slice(&text.expect("the socket stays open"))
            .expect("the frame is JSON");
        if frame["type"] == "message" {
            return (
                frame["message"]["text"].as_str().expect("the message has a text").to_owned(),
                others,
            );
        }
        others.push(frame);
    }
}

/// Asserts that a frame other than a message is allowed after data loss.
fn assert_allowed(frame: &Value) {
    let is_allowed = match frame["type"].as_str() {
        Some("hello") => frame["resumed"] == false,
        other => other == Some("position"),
    };
    assert!(is_allowed, "{frame}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_continue_after_redis_was_frozen_or_restarted_with_its_data() {
    let (world, mut lives, position) =
        start(Setup::new().dedicated_servers().default_timeouts()).await;
    for (turn, is_stopped) in [false, true].into_iter().enumerate() {
        let frozen = if is_stopped {
            world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
            None
        } else {
            Some(Frozen::freeze_tree(world.stack.env().pids(ProcessKind::Redis)[0]))
        };
        eventually(
            Duration::from_secs(5),
            "ws-fanout reports that Redis is unavailable",
            async || {
                let (status, body) = world.admin(Service::WsFanout, "/readyz").await;
                let (ready, degraded) = (body.contains("\"ready\""), body.contains("\"degraded\""));
                match status {
                    503 if body.contains("subscription") => Ok(()),
                    // A frozen Redis keeps its connections.
                    200 if !is_stopped && degraded && !ready => Ok(()),
                    other => Err((other, body)),
                }
            },
        )
        .await;
        // A new client waits or is asked to reconnect later.
        let _either = tokio::time::timeout(
            Duration::from_secs(1),
            UpgradeRequest::new(&world.live_url("channel=outages")).send(),
        )
        .await;
        match frozen {
            Some(frozen) => drop(frozen),
            None => world.stack.start(ProcessKind::Redis).await.expect("Redis starts"),
        }
        let back = Instant::now();
        let text = format!("after {turn}");
        post_with_retries(&world, &text).await;
        let received =
            join_all(lives.iter_mut().map(|live| next_message(live, back + RECOVERY_TIMEOUT)))
                .await;
        println!("stopped: {is_stopped}; continued {:?} after Redis recovered", back.elapsed());
        for (received, others) in received {
            assert_eq!(received, text);
            let is_position = |frame: &Value| frame["type"] == "position";
            assert!(others.iter().all(is_position), "nothing was lost: {others:?}");
        }
    }
    let (mut live, resumed) = LiveSocket::connect_with_hello(
        &world.live_url(&format!("channel=outages&since={position}")),
    )
    .await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(live.texts_until("after 1").await, ["before", "after 0", "after 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_continue_after_flushall_and_older_positions_are_data_lost() {
    let (world, mut lives, position) =
        start(Setup::new().dedicated_servers().default_timeouts()).await;
    for turn in 0..2 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
        let flushed = Instant::now();
        if turn == 1 {
            // The loss is detected even without new messages.
            sleep(Duration::from_millis(1_500)).await;
        }
        let text = format!("after {turn}");
        post_with_retries(&world, &text).await;
        let received =
            join_all(lives.iter_mut().map(|live| next_message(live, flushed + RECOVERY_TIMEOUT)))
                .await;
        println!("continued {:?} after the data loss", flushed.elapsed());
        for (received, others) in received {
            assert_eq!(received, text);
            others.iter().for_each(assert_allowed);
        }
        let query = format!("channel=outages&since={position}");
        let (mut live, lost) = LiveSocket::connect_with_hello(&world.live_url(&query)).await;
        assert_eq!((&lost["resumed"], &lost["reason"]), (&json!(false), &json!("data_lost")));
        let text = format!("live {turn}");
        post_text(&world, "outages", &text).await;
        assert_eq!(live.texts_until(&text).await, [text.as_str()], "live from now");
        for live in &mut lives {
            let (received, _) = next_message(live, Instant::now() + RECOVERY_TIMEOUT).await;
            assert_eq!(received, text);
        }
    }
}

/// Simulates a crash of Redis: the last entries are lost, and the counters have their earlier
/// values.
#[tokio::test(flavor = "multi_thread")]
async fn clients_continue_after_redis_lost_its_last_entries() {
    let (world, mut lives, _) = start(Setup::new()).await;
    let mut redis = world.redis().await;
    let (stream, ledger) = (world.key("messages"), world.key("ledger"));
    let fields = ["messages.accepted", "messages.last"];
    let kept: Vec<String> = redis.hmget(&ledger, &fields).await.expect("Redis is available");
    for number in 0..10 {
        post_text(&world, "outages", &format!("lost {number}")).await;
    }
    let mut position = String::new();
    for number in 0..10 {
        for live in &mut lives {
            let frame = live.next_of_type("message").await;
            assert_eq!(frame["message"]["text"], format!("lost {number}"));
            position = frame_position(&frame).to_owned();
        }
    }
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let mut range = redis::cmd("XRANGE");
    range.arg(&stream).arg(format!("({}", kept[1])).arg("+");
    let lost: Vec<(String, Vec<String>)> =
        range.query_async(&mut redis).await.expect("Redis is available");
    let mut delete = redis::cmd("XDEL");
    delete.arg(&stream).arg(lost.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>());
    let counted: Vec<_> = fields.into_iter().zip(kept).collect();
    let mut back = redis::pipe();
    back.atomic().add_command(delete).hset_multiple(&ledger, &counted);
    back.exec_async(&mut redis).await.expect("Redis is available");

    let mut received: Vec<Vec<String>> = vec![Vec::new(); CLIENTS];
    for turn in 0..30 {
        post_text(&world, "outages", &format!("after {turn}")).await;
        sleep(Duration::from_millis(100)).await;
    }
    let until = Instant::now() + RECOVERY_TIMEOUT;
    for (live, received) in lives.iter_mut().zip(&mut received) {
        while received.last().is_none_or(|text| text != "after 29") {
            let (text, others) = next_message(live, until).await;
            others.iter().for_each(assert_allowed);
            received.push(text);
        }
        let all: Vec<_> = (0..30).map(|turn| format!("after {turn}")).collect();
        assert_eq!(*received, all, "each once and in order");
    }
    let query = format!("channel=outages&since={position}");
    let (_, lost) = LiveSocket::connect_with_hello(&world.live_url(&query)).await;
    assert_eq!((&lost["resumed"], &lost["reason"]), (&json!(false), &json!("data_lost")));
}
