//! Redis away and back, with its data and without.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{Part, Service};
use mayfly_tests::{
    Answer, Frozen, PATIENCE, Setup, World, eventually,
    live::{Live, Opening},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::{position_of, say};

const CLIENTS: usize = 3;
/// By when connected clients go on.
const GO_ON: Duration = Duration::from_secs(5);

async fn start(setup: Setup) -> (World, Vec<Live>, String) {
    let world = setup.with(Service::WsFanout, 1).start().await;
    let url = world.live("channel=outages");
    let mut lives = Vec::new();
    let mut last = Value::Null;
    for _ in 0..CLIENTS {
        let (live, hello) = Live::hello(&url).await;
        lives.push(live);
        last = hello;
    }
    say(&world, "outages", "before").await;
    for live in &mut lives {
        assert_eq!(live.texts_until("before").await, ["before"]);
    }
    let position = position_of(&last).to_owned();
    (world, lives, position)
}

/// Posts until it is accepted.
async fn say_at_last(world: &World, text: &str) {
    let message = json!({"channel": "outages", "text": text});
    eventually(Duration::from_secs(10), "writes go on", async || {
        let request = world.http.post(world.ingest("/v1/messages")).json(&message);
        let answer = Answer::of(request).await;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// Waits for the next message; gives it and the other frames that came before. The socket stays.
async fn next_message(live: &mut Live, until: Instant) -> (String, Vec<Value>) {
    let mut others = Vec::new();
    loop {
        let text = timeout_at(until, live.next_text()).await;
        let text = text.unwrap_or_else(|_| panic!("no message in time, but {others:?}"));
        let frame: Value = serde_json::from_slice(&text.expect("the socket stays")).expect("JSON");
        if frame["type"] == "message" {
            return (frame["message"]["text"].as_str().expect("a text").to_owned(), others);
        }
        others.push(frame);
    }
}

/// What may come beside messages where Redis lost its data.
fn assert_legal(frame: &Value) {
    let is_legal = match frame["type"].as_str() {
        Some("hello") => frame["resumed"] == false,
        other => other == Some("position"),
    };
    assert!(is_legal, "{frame}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_when_redis_was_frozen_or_stopped_and_kept_its_data() {
    let (world, mut lives, position) = start(Setup::new().own_servers().built_in_timeouts()).await;
    for (turn, is_stopped) in [false, true].into_iter().enumerate() {
        let frozen = if is_stopped {
            world.stack.stop(Part::Redis).await.expect("Redis stops");
            None
        } else {
            Some(Frozen::family(world.stack.env().pids(Part::Redis)[0]))
        };
        eventually(Duration::from_secs(5), "it says that Redis is away", async || {
            let (status, body) = world.admin(Service::WsFanout, "/readyz").await;
            let (ready, degraded) = (body.contains("\"ready\""), body.contains("\"degraded\""));
            match status {
                503 if body.contains("subscription") => Ok(()),
                // A frozen one keeps its connections.
                200 if !is_stopped && degraded && !ready => Ok(()),
                other => Err((other, body)),
            }
        })
        .await;
        // Whoever comes now is told to come later, or waits; nothing breaks.
        let _either = tokio::time::timeout(
            Duration::from_secs(1),
            Opening::to(&world.live("channel=outages")).send(),
        )
        .await;
        match frozen {
            Some(frozen) => drop(frozen),
            None => world.stack.start(Part::Redis).await.expect("Redis starts"),
        }
        let back = Instant::now();
        let text = format!("after {turn}");
        say_at_last(&world, &text).await;
        let heard = join_all(lives.iter_mut().map(|live| next_message(live, back + GO_ON))).await;
        println!("stopped: {is_stopped}; went on {:?} after Redis was back", back.elapsed());
        for (heard, others) in heard {
            assert_eq!(heard, text);
            let is_position = |frame: &Value| frame["type"] == "position";
            assert!(others.iter().all(is_position), "nothing was lost: {others:?}");
        }
    }
    let (mut live, resumed) =
        Live::hello(&world.live(&format!("channel=outages&since={position}"))).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(live.texts_until("after 1").await, ["before", "after 0", "after 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_after_a_flushall_and_older_positions_are_lost_data() {
    let (world, mut lives, position) = start(Setup::new().own_servers().built_in_timeouts()).await;
    for turn in 0..2 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis forgets");
        let flushed = Instant::now();
        if turn == 1 {
            // So that it is noticed without any message, too.
            sleep(Duration::from_millis(1_500)).await;
        }
        let text = format!("after {turn}");
        say_at_last(&world, &text).await;
        let heard =
            join_all(lives.iter_mut().map(|live| next_message(live, flushed + GO_ON))).await;
        println!("went on {:?} after the data was lost", flushed.elapsed());
        for (heard, others) in heard {
            assert_eq!(heard, text);
            others.iter().for_each(assert_legal);
        }
        let query = format!("channel=outages&since={position}");
        let (mut live, lost) = Live::hello(&world.live(&query)).await;
        assert_eq!((&lost["resumed"], &lost["reason"]), (&json!(false), &json!("data_lost")));
        let text = format!("live {turn}");
        say(&world, "outages", &text).await;
        assert_eq!(live.texts_until(&text).await, [text.as_str()], "live from now");
        for live in &mut lives {
            let (heard, _) = next_message(live, Instant::now() + GO_ON).await;
            assert_eq!(heard, text);
        }
    }
}

/// As after a crash of Redis: the last entries are gone, and what it counted is as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_when_redis_lost_its_last_moments_and_what_they_had_of_them_is_lost_data() {
    let (world, mut lives, _) = start(Setup::new()).await;
    let mut redis = world.redis().await;
    let (stream, ledger) = (world.key("messages"), world.key("ledger"));
    let fields = ["messages.accepted", "messages.last"];
    let kept: Vec<String> = redis.hmget(&ledger, &fields).await.expect("Redis answers");
    for number in 0..10 {
        say(&world, "outages", &format!("lost {number}")).await;
    }
    let mut position = String::new();
    for number in 0..10 {
        for live in &mut lives {
            let frame = live.next_of("message").await;
            assert_eq!(frame["message"]["text"], format!("lost {number}"));
            position = position_of(&frame).to_owned();
        }
    }
    world.settle(PATIENCE).await;
    let mut range = redis::cmd("XRANGE");
    range.arg(&stream).arg(format!("({}", kept[1])).arg("+");
    let lost: Vec<(String, Vec<String>)> =
        range.query_async(&mut redis).await.expect("Redis answers");
    let mut delete = redis::cmd("XDEL");
    delete.arg(&stream).arg(lost.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>());
    let counted: Vec<_> = fields.into_iter().zip(kept).collect();
    let mut back = redis::pipe();
    back.atomic().add_command(delete).hset_multiple(&ledger, &counted);
    back.exec_async(&mut redis).await.expect("Redis answers");

    let mut heard: Vec<Vec<String>> = vec![Vec::new(); CLIENTS];
    for turn in 0..30 {
        say(&world, "outages", &format!("after {turn}")).await;
        sleep(Duration::from_millis(100)).await;
    }
    let until = Instant::now() + GO_ON;
    for (live, heard) in lives.iter_mut().zip(&mut heard) {
        while heard.last().is_none_or(|text| text != "after 29") {
            let (text, others) = next_message(live, until).await;
            others.iter().for_each(assert_legal);
            heard.push(text);
        }
        let all: Vec<_> = (0..30).map(|turn| format!("after {turn}")).collect();
        assert_eq!(*heard, all, "each once and in order");
    }
    let query = format!("channel=outages&since={position}");
    let (_, lost) = Live::hello(&world.live(&query)).await;
    assert_eq!((&lost["resumed"], &lost["reason"]), (&json!(false), &json!("data_lost")));
}
