//! What server and client say to each other on a socket.

use mayfly_stack::Service;
use mayfly_tests::live::Live;
use serde_json::{Value, json};

use super::{position_of, say, shared};

/// Asks for something and expects the error with this code; the connection stays.
async fn expect_error(live: &mut Live, text: &str, code: &str) {
    live.send_text(text).await;
    let answer = live.next_frame().await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{text}");
    assert_eq!(live.ask(&json!({"type": "ping"})).await, json!({"type": "pong"}));
}

fn set(kind: &str, channels: &[&str], feeds: &[&str]) -> Value {
    json!({"type": kind, "channels": channels, "feeds": feeds, "videos": [], "hosts": []})
}

#[tokio::test]
async fn hello_says_who_and_where_and_how_often_there_are_pings() {
    let world = shared().await;
    let (_live, hello) = Live::hello(&world.live("channel=hello")).await;
    let fields: Vec<_> = hello.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["connection", "ping_interval_ms", "position", "time", "type"], "{hello}");
    assert_eq!(hello["ping_interval_ms"], 25_000);
    assert!(!hello["connection"].as_str().expect("a name").is_empty());
    let position = position_of(&hello);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!((1..=256).contains(&position.len()) && position.bytes().all(fits), "{position}");
    let (_live, other) = Live::hello(&world.live("channel=hello")).await;
    assert_ne!(hello["connection"], other["connection"]);
}

#[tokio::test]
async fn a_message_arrives_as_it_was_answered_also_one_that_is_born_expired() {
    let world = shared().await;
    let (mut live, hello) = Live::hello(&world.live("channel=arrives")).await;
    let mut last = position_of(&hello).to_owned();
    for ttl in [60, 0] {
        let message = json!({
            "channel": "arrives", "username": "fréd", "text": "Yo\nwhat \"up\"! \u{1F98B}", "ttl": ttl,
            "city": "New York", "state": "NY", "data": {"b": 1.50, "a": [null, "\u{2028}"]}
        });
        let posted = world.post_message(&message).await;
        let frame = live.next_frame().await;
        let position = position_of(&frame).to_owned();
        assert_eq!(frame, json!({"type": "message", "position": position, "message": posted}));
        assert_ne!(position, last, "each has its own position");
        last = position;
    }
}

#[tokio::test]
async fn numbers_and_the_order_of_keys_stay_as_they_were_sent() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=digits")).await;
    let data = r#"{"z":1.50,"a":1e2,"big":123456789012345678901234567890}"#;
    let body = format!(r#"{{"channel":"digits","data":{data}}}"#);
    let request = world.http.post(world.ingest("/v1/messages"));
    let answer = request.header("content-type", "application/json").body(body).send().await;
    assert_eq!(answer.expect("ingest-api answers").status(), 202);
    let text = live.next_text().await.expect("a frame");
    let text = String::from_utf8(text.to_vec()).expect("a text is UTF-8");
    assert!(text.contains(data), "{text}");
}

#[tokio::test]
async fn several_channels_come_in_the_order_of_the_stream_and_no_others() {
    let world = shared().await;
    let query = "channel=several-a&channel=several-b&channel=several-a";
    let (mut live, _) = Live::hello(&world.live(query)).await;
    for number in 0..30 {
        let channel = ["several-a", "several-b", "several-c"][number % 3];
        say(&world, channel, &number.to_string()).await;
    }
    say(&world, "several-a", "end").await;
    let mut texts = live.texts_until("end").await;
    texts.pop();
    let expected: Vec<_> = (0..30).filter(|number| number % 3 != 2).collect();
    let got: Vec<usize> = texts.iter().map(|text| text.parse().expect("a number")).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn the_messages_of_a_batch_come_one_by_one_in_their_order() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=batched")).await;
    let batch: Vec<_> =
        (0..1000).map(|number| json!({"channel": "batched", "text": number.to_string()})).collect();
    let answer = world.post("/v1/messages/batch", &json!(batch)).await;
    assert_eq!(answer.status(), 202);
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(live.texts_until("999").await, expected);
}

#[tokio::test]
async fn a_socket_without_a_channel_has_all_until_it_names_some() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("")).await;
    // Other tests talk meanwhile; their messages come, too.
    say(&world, "all-a", "one").await;
    loop {
        let frame = live.next_of("message").await;
        if frame["message"]["channel"] == "all-a" {
            assert_eq!(frame["message"]["text"], "one");
            break;
        }
    }
    live.send_text(r#"{"type":"subscribe","feeds":["messages"]}"#).await;
    let all = live.next_of("subscribed").await;
    assert_eq!(all, set("subscribed", &["*"], &["messages"]));
    live.send_text(r#"{"type":"unsubscribe","channels":["all-a"]}"#).await;
    assert_eq!(live.next_of("error").await["code"], "invalid_field");
    live.send_text(r#"{"type":"subscribe","channels":["all-b"]}"#).await;
    assert_eq!(live.next_of("subscribed").await, set("subscribed", &["all-b"], &["messages"]));
    say(&world, "all-a", "two").await;
    say(&world, "all-b", "three").await;
    assert_eq!(live.texts_until("three").await, ["three"]);
}

#[tokio::test]
async fn subscriptions_change_by_frames_and_each_answer_says_the_whole_set() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=set-b")).await;
    let subscribe = json!({"type": "subscribe", "channels": ["set-c", "set-a", "set-c"]});
    let answer = live.ask(&subscribe).await;
    assert_eq!(answer, set("subscribed", &["set-a", "set-b", "set-c"], &["messages"]));
    let unsubscribe = json!({"type": "unsubscribe", "channels": ["set-b", "set-never"]});
    let answer = live.ask(&unsubscribe).await;
    assert_eq!(answer, set("unsubscribed", &["set-a", "set-c"], &["messages"]));
    for channel in ["set-b", "set-c", "set-a"] {
        say(&world, channel, channel).await;
    }
    assert_eq!(live.texts_until("set-a").await, ["set-c", "set-a"]);

    let more = json!({"type": "subscribe", "feeds": ["plays", "pulse"], "videos": ["v2", "v1"]});
    let answer = live.ask(&more).await;
    assert_eq!(answer["feeds"], json!(["messages", "plays", "pulse"]));
    assert_eq!(answer["videos"], json!(["v1", "v2"]));
    let less = json!({"type": "unsubscribe", "feeds": ["messages", "pulse"], "videos": ["v1"]});
    let answer = live.ask(&less).await;
    assert_eq!((&answer["feeds"], &answer["videos"]), (&json!(["plays"]), &json!(["v2"])));
    let (mut other, _) = Live::hello(&world.live("channel=set-a")).await;
    say(&world, "set-a", "unheard").await;
    other.texts_until("unheard").await;
    // It may be with one client a moment earlier than with another.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    live.ask(&json!({"type": "subscribe", "feeds": ["messages"]})).await;
    say(&world, "set-a", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn a_set_that_is_emptied_is_empty_and_not_all() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=emptied")).await;
    let answer = live.ask(&json!({"type": "unsubscribe", "channels": ["emptied"]})).await;
    assert_eq!(answer, set("unsubscribed", &[], &["messages"]));
    say(&world, "emptied", "unheard").await;
    say(&world, "emptied-other", "unheard").await;
    let answer = live.ask(&json!({"type": "subscribe", "channels": ["emptied-2"]})).await;
    assert_eq!(answer["channels"], json!(["emptied-2"]));
    say(&world, "emptied-2", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn a_frame_that_is_wrong_is_answered_with_its_code_and_changes_nothing() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=wrong")).await;
    for text in ["", "{", "nonsense", r#"{"type":"ping"}{"#, r#"{"type":"ping",}"#] {
        expect_error(&mut live, text, "invalid_json").await;
    }
    for text in [
        "null",
        "[]",
        "7",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":"publish"}"#,
        r#"{"type":"ping","more":1}"#,
        r#"{"type":"subscribe","channel":["x"]}"#,
        r#"{"type":"subscribe","channels":"x"}"#,
        r#"{"type":"subscribe","channels":["with a blank"]}"#,
        r#"{"type":"subscribe","channels":["fine",""]}"#,
        r#"{"type":"subscribe","channels":[7]}"#,
        r#"{"type":"subscribe","feeds":["news"]}"#,
        r#"{"type":"unsubscribe","channels":["with a blank"]}"#,
    ] {
        expect_error(&mut live, text, "invalid_field").await;
    }
    let answer = live.ask(&json!({"type": "unsubscribe", "channels": []})).await;
    assert_eq!(answer, set("unsubscribed", &["wrong"], &["messages"]), "nothing was changed");
    say(&world, "wrong", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn the_129th_channel_by_frame_is_refused_and_changes_nothing() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=many-0")).await;
    let many = |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|number| format!("many-{number}")).collect()
    };
    let answer = live.ask(&json!({"type": "subscribe", "channels": many(0..128)})).await;
    assert_eq!(answer["channels"].as_array().map(Vec::len), Some(128));
    let one_more = json!({"type": "subscribe", "channels": ["many-128"]});
    expect_error(&mut live, &one_more.to_string(), "too_many_channels").await;
    let answer = live.ask(&json!({"type": "unsubscribe", "channels": many(0..100)})).await;
    assert_eq!(answer["channels"].as_array().map(Vec::len), Some(28));
    let others = [many(0..100), many(200..201)].concat();
    let too_many = json!({"type": "subscribe", "channels": others});
    expect_error(&mut live, &too_many.to_string(), "too_many_channels").await;
    say(&world, "many-5", "unheard").await;
    say(&world, "many-127", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn what_is_published_after_subscribed_arrives_at_every_instance() {
    let world = shared().await;
    for round in 0..20 {
        let channel = format!("subscribed-{round}");
        let mut lives = Vec::new();
        for url in world.lives("channel=none") {
            let (mut live, _) = Live::hello(&url).await;
            live.ask(&json!({"type": "subscribe", "channels": [&channel]})).await;
            lives.push(live);
        }
        say(&world, &channel, "heard").await;
        for mut live in lives {
            assert_eq!(live.texts_until("heard").await, ["heard"]);
        }
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = shared().await;
    let before = world.fanout_metrics().await;
    let (mut live, hello) = Live::hello(&world.live("channel=counted")).await;
    say(&world, "counted", "one").await;
    live.texts_until("one").await;
    let since = format!("channel=counted&since={}", position_of(&hello));
    let (mut again, _) = Live::hello(&world.live(&since)).await;
    again.texts_until("one").await;
    let (_live, _) = Live::hello(&world.live("channel=counted&since=garbage")).await;
    Live::connect(&world.live("channel=counted&nonsense=1")).await.next_close().await;
    mayfly_tests::eventually(mayfly_tests::PATIENCE, "it is counted", async || {
        let after = world.fanout_metrics().await;
        let names = [
            "deliveries_total",
            "resumes_total{result=\"resumed\"}",
            "resumes_total{result=\"unknown_position\"}",
            "closed_total{code=\"4500\"}",
        ];
        let grown = names.iter().all(|name| after.sum(name) > before.sum(name));
        if grown && after.sum("connections") >= 3 { Ok(()) } else { Err(after) }
    })
    .await;
    let (_, _) = (live, again);
    assert_eq!(world.stack.env().urls(Service::WsFanout).len(), 2);
}
