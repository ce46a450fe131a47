//! The frames that server and client exchange on a socket.

use mayfly_stack::Service;
use mayfly_tests::live::LiveSocket;
use serde_json::{Value, json};

use crate::live::{frame_position, post_text, shared};

/// Sends a frame and expects an error with this code on an open connection.
async fn expect_error(live: &mut LiveSocket, text: &str, code: &str) {
    live.send_text(text).await;
    let answer = live.next_frame().await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{text}");
    assert_eq!(live.exchange(&json!({"type": "ping"})).await, json!({"type": "pong"}));
}

fn subscription_set(kind: &str, channels: &[&str], feeds: &[&str]) -> Value {
    json!({"type": kind, "channels": channels, "feeds": feeds, "videos": [], "hosts": []})
}

#[tokio::test]
async fn hello_has_connection_position_and_ping_interval() {
    let world = shared().await;
    let (_live, hello) = LiveSocket::connect_with_hello(&world.live_url("channel=hello")).await;
    let fields: Vec<_> = hello.as_object().expect("the frame is an object").keys().collect();
    assert_eq!(fields, ["connection", "ping_interval_ms", "position", "time", "type"], "{hello}");
    assert_eq!(hello["ping_interval_ms"], 25_000);
    assert!(!hello["connection"].as_str().expect("the connection has an ID").is_empty());
    let position = frame_position(&hello);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!((1..=256).contains(&position.len()) && position.bytes().all(fits), "{position}");
    let (_live, other) = LiveSocket::connect_with_hello(&world.live_url("channel=hello")).await;
    assert_ne!(hello["connection"], other["connection"]);
}

#[tokio::test]
async fn message_is_delivered_as_in_the_response_even_if_already_expired() {
    let world = shared().await;
    let (mut live, hello) =
        LiveSocket::connect_with_hello(&world.live_url("channel=arrives")).await;
    let mut last = frame_position(&hello).to_owned();
    for ttl in [60, 0] {
        let message = json!({
            "channel": "arrives", "username": "fréd", "text": "Yo\nwhat \"up\"! \u{1F98B}", "ttl": ttl,
            "city": "New York", "state": "NY", "data": {"b": 1.50, "a": [null, "\u{2028}"]}
        });
        let posted = world.post_message(&message).await;
        let frame = live.next_frame().await;
        let position = frame_position(&frame).to_owned();
        assert_eq!(frame, json!({"type": "message", "position": position, "message": posted}));
        assert_ne!(position, last, "each message has its own position");
        last = position;
    }
}

#[tokio::test]
async fn data_keeps_number_formats_and_key_order() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=digits")).await;
    let data = r#"{"z":1.50,"a":1e2,"big":123456789012345678901234567890}"#;
    let body = format!(r#"{{"channel":"digits","data":{data}}}"#);
    let request = world.http.post(world.ingest_url("/v1/messages"));
    let answer = request.header("content-type", "application/json").body(body).send().await;
    assert_eq!(answer.expect("ingest-api responds").status(), 202);
    let text = live.next_text().await.expect("a frame arrives");
    let text = String::from_utf8(text.to_vec()).expect("the text is UTF-8");
    assert!(text.contains(data), "{text}");
}

#[tokio::test]
async fn subscribed_channels_are_delivered_in_stream_order() {
    let world = shared().await;
    let query = "channel=several-a&channel=several-b&channel=several-a";
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url(query)).await;
    for number in 0..30 {
        let channel = ["several-a", "several-b", "several-c"][number % 3];
        post_text(&world, channel, &number.to_string()).await;
    }
    post_text(&world, "several-a", "end").await;
    let mut texts = live.texts_until("end").await;
    texts.pop();
    let expected: Vec<_> = (0..30).filter(|number| number % 3 != 2).collect();
    let got: Vec<usize> =
        texts.iter().map(|text| text.parse().expect("the text is a number")).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn messages_of_a_batch_are_delivered_individually_and_in_order() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=batched")).await;
    let batch: Vec<_> =
        (0..1000).map(|number| json!({"channel": "batched", "text": number.to_string()})).collect();
    let answer = world.post("/v1/messages/batch", &json!(batch)).await;
    assert_eq!(answer.status(), 202);
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(live.texts_until("999").await, expected);
}

#[tokio::test]
async fn socket_without_channels_receives_all_until_it_subscribes() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("")).await;
    // Messages of other tests arrive as well.
    post_text(&world, "all-a", "one").await;
    loop {
        let frame = live.next_of_type("message").await;
        if frame["message"]["channel"] == "all-a" {
            assert_eq!(frame["message"]["text"], "one");
            break;
        }
    }
    live.send_text(r#"{"type":"subscribe","feeds":["messages"]}"#).await;
    let all = live.next_of_type("subscribed").await;
    assert_eq!(all, subscription_set("subscribed", &["*"], &["messages"]));
    live.send_text(r#"{"type":"unsubscribe","channels":["all-a"]}"#).await;
    assert_eq!(live.next_of_type("error").await["code"], "invalid_field");
    live.send_text(r#"{"type":"subscribe","channels":["all-b"]}"#).await;
    assert_eq!(
        live.next_of_type("subscribed").await,
        subscription_set("subscribed", &["all-b"], &["messages"])
    );
    post_text(&world, "all-a", "two").await;
    post_text(&world, "all-b", "three").await;
    assert_eq!(live.texts_until("three").await, ["three"]);
}

#[tokio::test]
async fn subscribe_and_unsubscribe_return_the_complete_set() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=set-b")).await;
    let subscribe = json!({"type": "subscribe", "channels": ["set-c", "set-a", "set-c"]});
    let answer = live.exchange(&subscribe).await;
    assert_eq!(answer, subscription_set("subscribed", &["set-a", "set-b", "set-c"], &["messages"]));
    let unsubscribe = json!({"type": "unsubscribe", "channels": ["set-b", "set-never"]});
    let answer = live.exchange(&unsubscribe).await;
    assert_eq!(answer, subscription_set("unsubscribed", &["set-a", "set-c"], &["messages"]));
    for channel in ["set-b", "set-c", "set-a"] {
        post_text(&world, channel, channel).await;
    }
    assert_eq!(live.texts_until("set-a").await, ["set-c", "set-a"]);

    let more = json!({"type": "subscribe", "feeds": ["plays", "pulse"], "videos": ["v2", "v1"]});
    let answer = live.exchange(&more).await;
    assert_eq!(answer["feeds"], json!(["messages", "plays", "pulse"]));
    assert_eq!(answer["videos"], json!(["v1", "v2"]));
    let less = json!({"type": "unsubscribe", "feeds": ["messages", "pulse"], "videos": ["v1"]});
    let answer = live.exchange(&less).await;
    assert_eq!((&answer["feeds"], &answer["videos"]), (&json!(["plays"]), &json!(["v2"])));
    let (mut other, _) = LiveSocket::connect_with_hello(&world.live_url("channel=set-a")).await;
    post_text(&world, "set-a", "unheard").await;
    other.texts_until("unheard").await;
    // Clients receive a message at slightly different times.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    live.exchange(&json!({"type": "subscribe", "feeds": ["messages"]})).await;
    post_text(&world, "set-a", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn emptied_set_does_not_mean_all() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=emptied")).await;
    let answer = live.exchange(&json!({"type": "unsubscribe", "channels": ["emptied"]})).await;
    assert_eq!(answer, subscription_set("unsubscribed", &[], &["messages"]));
    post_text(&world, "emptied", "unheard").await;
    post_text(&world, "emptied-other", "unheard").await;
    let answer = live.exchange(&json!({"type": "subscribe", "channels": ["emptied-2"]})).await;
    assert_eq!(answer["channels"], json!(["emptied-2"]));
    post_text(&world, "emptied-2", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn asterisk_means_all_channels() {
    let world = shared().await;
    let receive_from = async |live: &mut LiveSocket, channel: &str| {
        post_text(&world, channel, channel).await;
        // Messages of other tests arrive as well.
        while live.next_of_type("message").await["message"]["channel"] != channel {}
    };
    let query = world.live_url("channel=*&channel=asterisk-a");
    let (mut by_query, _) = LiveSocket::connect_with_hello(&query).await;
    receive_from(&mut by_query, "asterisk-b").await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=asterisk-a")).await;
    let all = live.exchange(&json!({"type": "subscribe", "channels": ["*"]})).await;
    assert_eq!(all, subscription_set("subscribed", &["*"], &["messages"]));
    // A name does not narrow the subscription of another part of the page.
    live.send_text(r#"{"type":"subscribe","channels":["asterisk-a"]}"#).await;
    assert_eq!(live.next_of_type("subscribed").await["channels"], json!(["*"]));
    receive_from(&mut live, "asterisk-c").await;
    live.send_text(r#"{"type":"unsubscribe","channels":["*"]}"#).await;
    assert_eq!(live.next_of_type("unsubscribed").await["channels"], json!([]));
    post_text(&world, "asterisk-a", "unheard").await;
    live.exchange(&json!({"type": "subscribe", "channels": ["asterisk-d"]})).await;
    post_text(&world, "asterisk-d", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn empty_list_of_channels_adds_none() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=adds-none")).await;
    let answer = live.exchange(&json!({"type": "subscribe", "channels": []})).await;
    assert_eq!(answer, subscription_set("subscribed", &["adds-none"], &["messages"]));
    live.exchange(&json!({"type": "unsubscribe", "channels": ["adds-none"]})).await;
    let answer = live.exchange(&json!({"type": "subscribe", "channels": []})).await;
    assert_eq!(answer, subscription_set("subscribed", &[], &["messages"]));
    // A socket without channels receives all channels until a `subscribe` names some. This frame
    // names none.
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("")).await;
    for frame in [json!({"type": "subscribe", "channels": []}), json!({"type": "subscribe"})] {
        let answer = exchange_among_messages(&mut live, &frame).await;
        assert_eq!(answer, subscription_set("subscribed", &["*"], &["messages"]), "{frame}");
    }
    let frame = json!({"type": "unsubscribe", "channels": ["*"]});
    let answer = exchange_among_messages(&mut live, &frame).await;
    assert_eq!(answer, subscription_set("unsubscribed", &[], &["messages"]));
}

/// Sends a frame and returns the answer. Skips the messages of other tests.
async fn exchange_among_messages(live: &mut LiveSocket, frame: &Value) -> Value {
    let mut answer = live.exchange(frame).await;
    while !matches!(answer["type"].as_str(), Some("subscribed" | "unsubscribed" | "error")) {
        answer = live.next_frame().await;
    }
    answer
}

#[tokio::test]
async fn emptied_set_of_videos_does_not_mean_all() {
    let world = shared().await;
    let query = world.live_url("feed=plays&video=emptied-1");
    let (mut live, _) = LiveSocket::connect_with_hello(&query).await;
    live.exchange(&json!({"type": "unsubscribe", "videos": ["emptied-1"]})).await;
    let publish = async |video: &str| {
        let counts = json!([{"video_id": video, "count": 1}]).to_string();
        let mut add = redis::cmd("XADD");
        add.arg(world.key("plays:frames")).arg("*").arg("counts").arg(counts);
        add.exec_async(&mut world.redis().await).await.expect("Redis is available");
    };
    let (mut other, _) =
        LiveSocket::connect_with_hello(&world.live_url("feed=plays&video=emptied-1")).await;
    publish("emptied-1").await;
    assert_eq!(other.next_frame().await["counts"][0]["video_id"], "emptied-1");
    live.exchange(&json!({"type": "subscribe", "videos": ["emptied-2"]})).await;
    publish("emptied-2").await;
    assert_eq!(live.next_frame().await["counts"][0]["video_id"], "emptied-2");
}

#[tokio::test]
async fn invalid_frames_are_rejected_and_change_nothing() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=wrong")).await;
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
        r#"{"type":"subscribe","channels":["with a space"]}"#,
        r#"{"type":"subscribe","channels":["fine",""]}"#,
        r#"{"type":"subscribe","channels":[7]}"#,
        r#"{"type":"subscribe","feeds":["news"]}"#,
        r#"{"type":"subscribe","channels":null}"#,
        r#"{"type":"subscribe","channels":["**"]}"#,
        r#"{"type":"unsubscribe","channels":["with a space"]}"#,
        r#"{"type":"unsubscribe","more":[]}"#,
        r#"{"type":"connect"}"#,
        r#"{"type":"connect","channels":["x"]}"#,
    ] {
        expect_error(&mut live, text, "invalid_field").await;
    }
    let answer = live.exchange(&json!({"type": "unsubscribe", "channels": []})).await;
    assert_eq!(
        answer,
        subscription_set("unsubscribed", &["wrong"], &["messages"]),
        "nothing changed"
    );
    post_text(&world, "wrong", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn subscribe_over_the_channel_limit_is_rejected_and_changes_nothing() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=many-0")).await;
    let many = |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|number| format!("many-{number}")).collect()
    };
    let answer = live.exchange(&json!({"type": "subscribe", "channels": many(0..128)})).await;
    assert_eq!(answer["channels"].as_array().map(Vec::len), Some(128));
    let one_more = json!({"type": "subscribe", "channels": ["many-128"]});
    expect_error(&mut live, &one_more.to_string(), "too_many_channels").await;
    let answer = live.exchange(&json!({"type": "unsubscribe", "channels": many(0..100)})).await;
    assert_eq!(answer["channels"].as_array().map(Vec::len), Some(28));
    let others = [many(0..100), many(200..201)].concat();
    let too_many = json!({"type": "subscribe", "channels": others});
    expect_error(&mut live, &too_many.to_string(), "too_many_channels").await;
    post_text(&world, "many-5", "unheard").await;
    post_text(&world, "many-127", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn messages_published_after_subscribed_arrive_on_every_instance() {
    let world = shared().await;
    for round in 0..20 {
        let channel = format!("subscribed-{round}");
        let mut lives = Vec::new();
        for url in world.live_urls("channel=none") {
            let (mut live, _) = LiveSocket::connect_with_hello(&url).await;
            live.exchange(&json!({"type": "subscribe", "channels": [&channel]})).await;
            lives.push(live);
        }
        post_text(&world, &channel, "heard").await;
        for mut live in lives {
            assert_eq!(live.texts_until("heard").await, ["heard"]);
        }
    }
}

#[tokio::test]
async fn deliveries_resumes_and_closes_are_counted() {
    let world = shared().await;
    let before = world.fanout_metrics().await;
    let (mut live, hello) =
        LiveSocket::connect_with_hello(&world.live_url("channel=counted")).await;
    post_text(&world, "counted", "one").await;
    live.texts_until("one").await;
    let since = format!("channel=counted&since={}", frame_position(&hello));
    let (mut again, _) = LiveSocket::connect_with_hello(&world.live_url(&since)).await;
    again.texts_until("one").await;
    let (_live, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=counted&since=garbage")).await;
    LiveSocket::connect(&world.live_url("channel=counted&nonsense=1")).await.next_close().await;
    mayfly_tests::eventually(mayfly_tests::DEFAULT_TIMEOUT, "the events are counted", async || {
        let after = world.fanout_metrics().await;
        let names = [
            "deliveries_total",
            "resumes_total{result=\"resumed\"}",
            "resumes_total{result=\"unknown_position\"}",
            "connections_closed_total{code=\"4500\"}",
        ];
        let grown = names.iter().all(|name| after.sum(name) > before.sum(name));
        if grown && after.sum("connections") >= 3 { Ok(()) } else { Err(after) }
    })
    .await;
    let (_, _) = (live, again);
    assert_eq!(world.stack.env().urls(Service::WsFanout).len(), 2);
}
