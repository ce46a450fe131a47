//! Connections that start with a `connect` frame.

use mayfly_tests::{
    World,
    live::{FIN, LiveSocket, SocketEvent, encode, opcode},
};
use serde_json::{Value, json};

use crate::live::{frame_position, post_text, shared};

async fn open(world: &World) -> LiveSocket {
    LiveSocket::connect(&world.live_url("connect=frame")).await
}

/// Opens a socket and sends this `connect` frame.
async fn connect(world: &World, mut fields: Value) -> (LiveSocket, Value) {
    fields["type"] = "connect".into();
    let mut live = open(world).await;
    let hello = live.exchange(&fields).await;
    assert_eq!(hello["type"], "hello", "{fields}: {hello}");
    (live, hello)
}

/// Expects an `error` frame and a close with the same reason. Returns the reason.
async fn expect_rejection(live: &mut LiveSocket, code: &str, close_code: u16) -> String {
    let error = live.next_frame().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
    let (closed, reason) = live.next_close().await;
    assert_eq!(closed, close_code, "{error}: {reason}");
    let message = error["message"].as_str().expect("the error has a message");
    assert!(message.starts_with(&reason), "{message}: {reason}");
    assert!(live.is_closed_by_server().await, "{error}");
    reason
}

#[tokio::test]
async fn connect_frame_has_the_meaning_of_the_query() {
    let world = shared().await;
    let (mut live, hello) = connect(&world, json!({"channels": ["connect-a", "connect-b"]})).await;
    assert!(hello.get("resumed").is_none(), "no position was sent: {hello}");
    post_text(&world, "connect-c", "unheard").await;
    post_text(&world, "connect-b", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
    let subscriptions = async |fields: Value| {
        let (mut live, _) = connect(&world, fields).await;
        live.send_text(r#"{"type":"subscribe"}"#).await;
        let set = live.next_of_type("subscribed").await;
        json!([set["channels"], set["feeds"], set["videos"], set["hosts"]])
    };
    for (fields, expected) in [
        (json!({}), json!([["*"], ["messages"], [], []])),
        (json!({"channels": ["*"]}), json!([["*"], ["messages"], [], []])),
        (json!({"channels": []}), json!([[], ["messages"], [], []])),
        (json!({"channels": [], "feeds": []}), json!([[], [], [], []])),
        (
            json!({"channels": [], "feeds": ["rising"], "videos": ["v"], "hosts": ["H.org"]}),
            json!([[], ["rising"], ["v"], ["h.org"]]),
        ),
        (
            json!({"channels": [], "token": "ignored in mode open", "since": null}),
            json!([[], ["messages"], [], []]),
        ),
    ] {
        assert_eq!(subscriptions(fields.clone()).await, expected, "{fields}");
    }
}

#[tokio::test]
async fn missing_fields_are_taken_from_the_query() {
    let world = shared().await;
    let query = world.live_url("connect=frame&channel=query-a&feed=messages,stats");
    let mut live = LiveSocket::connect(&query).await;
    live.send_text(r#"{"type":"connect","feeds":["messages"]}"#).await;
    assert_eq!(live.next_frame().await["type"], "hello");
    let set = live.exchange(&json!({"type": "subscribe"})).await;
    assert_eq!((&set["channels"], &set["feeds"]), (&json!(["query-a"]), &json!(["messages"])));
}

#[tokio::test]
async fn connect_frame_resumes_from_a_position() {
    let world = shared().await;
    let (_live, hello) = connect(&world, json!({"channels": ["connect-resume"]})).await;
    for text in ["one", "two"] {
        post_text(&world, "connect-resume", text).await;
    }
    let since = frame_position(&hello);
    let fields = json!({"channels": ["connect-resume"], "since": since});
    let (mut live, resumed) = connect(&world, fields).await;
    assert_eq!((&resumed["resumed"], frame_position(&resumed)), (&json!(true), since));
    assert_eq!(live.texts_until("two").await, ["one", "two"]);
    let (_live, lost) = connect(&world, json!({"channels": [], "since": "garbage"})).await;
    assert_eq!(lost["reason"], "unknown_position");
}

#[tokio::test]
async fn longest_names_of_all_kinds_fit_into_a_connect_frame() {
    let world = shared().await;
    let names = |length: usize| -> Vec<String> {
        (0..128).map(|number| format!("{number:0>length$}")).collect()
    };
    let videos: Vec<_> = (0..128).map(|number| format!("{number:ü>128}")).collect();
    let frame = json!({
        "type": "connect", "channels": names(64), "videos": videos, "hosts": names(120),
        "feeds": ["messages", "plays", "rising"],
    });
    let text = frame.to_string();
    assert!((50_000..=65_536).contains(&text.len()), "{}", text.len());
    let mut live = open(&world).await;
    // The frame is fragmented, because some clients fragment large frames.
    let (one, rest) = text.as_bytes().split_at(30_001);
    live.send_raw(&encode(opcode::TEXT, one)).await.expect("the connection is open");
    live.send_raw(&encode(FIN, rest)).await.expect("the connection is open");
    assert_eq!(live.next_frame().await["type"], "hello");
    post_text(&world, &names(64)[7], "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
    // Later frames are limited as on other connections.
    live.send_text(&" ".repeat(4_097)).await;
    assert_eq!(live.next_close().await.0, 1009);
    let mut live = open(&world).await;
    live.send_text(&" ".repeat(65_537)).await;
    assert_eq!(live.next_close().await.0, 1009);
}

#[tokio::test]
async fn invalid_connect_frame_is_rejected_with_an_error_and_a_close_code() {
    let world = shared().await;
    for (text, code) in [
        (r#"{"type":"subscribe","channels":["x"]}"#, "invalid_field"),
        (r#"{"type":"ping"}"#, "invalid_field"),
        (r#"{"type":"auth"}"#, "invalid_field"),
        (r#"{"type":"connect","channel":["x"]}"#, "invalid_field"),
        (r#"{"type":"connect","channels":null}"#, "invalid_field"),
        (r#"{"type":"connect","channels":["with a space"]}"#, "invalid_field"),
        (r#"{"type":"connect","feeds":["news"]}"#, "invalid_field"),
        (r#"{"type":"connect","feeds":["rising"]}"#, "invalid_field"),
        (r#"{"type":"connect","since":7}"#, "invalid_field"),
        ("{}", "invalid_field"),
        ("[]", "invalid_field"),
        ("", "invalid_json"),
        ("connect", "invalid_json"),
    ] {
        let mut live = open(&world).await;
        live.send_text(text).await;
        expect_rejection(&mut live, code, 4500).await;
    }
    let mut live = open(&world).await;
    live.send_text(r#"{"type":"subscribe","channels":["x"]}"#).await;
    let reason = expect_rejection(&mut live, "invalid_field", 4500).await;
    assert!(reason.contains("connect"), "{reason}");
    let many: Vec<_> = (0..129).map(|number| format!("c{number}")).collect();
    let mut live = open(&world).await;
    live.send_text(&json!({"type": "connect", "channels": many}).to_string()).await;
    expect_rejection(&mut live, "too_many_channels", 4501).await;
}

#[tokio::test]
async fn protocol_violations_before_the_connect_frame_have_their_close_codes() {
    let world = shared().await;
    for (frame, code) in [
        (encode(FIN | opcode::BINARY, b"{}"), 1003),
        (encode(FIN | opcode::TEXT, &[0xC3, 0x28]), 1007),
        (encode(FIN, b"{}"), 1002),
    ] {
        let mut live = open(&world).await;
        live.send_raw(&frame).await.expect("the connection is open");
        assert_eq!(live.next_close().await.0, code);
    }
}

#[tokio::test]
async fn frames_around_the_connect_frame_are_processed_in_order() {
    let world = shared().await;
    let mut live = open(&world).await;
    let text = |text: &str| encode(FIN | opcode::TEXT, text.as_bytes());
    // A protocol-level ping does not count as the first frame.
    let all = [
        encode(FIN | opcode::PING, b"1"),
        encode(FIN | opcode::PONG, b""),
        text(r#"{"type":"connect","channels":["connect-order"]}"#),
        text(r#"{"type":"ping"}"#),
        text(r#"{"type":"subscribe","channels":["connect-more"]}"#),
    ];
    live.send_raw(&all.concat()).await.expect("the connection is open");
    assert_eq!(live.receive().await, SocketEvent::Pong(b"1"[..].into()));
    for kind in ["hello", "pong", "subscribed"] {
        assert_eq!(live.next_frame().await["type"], kind);
    }
    assert_eq!(
        live.exchange(&json!({"type": "connect"})).await["code"],
        "invalid_field",
        "the connection has started"
    );
    post_text(&world, "connect-order", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

/// The server waits 10 s for the frame. In the meantime, the connection receives nothing.
#[tokio::test]
async fn connection_without_a_connect_frame_receives_nothing_and_is_closed() {
    let world = shared().await;
    let mut live = open(&world).await;
    let mut disconnected = open(&world).await;
    disconnected.send_raw(&encode(FIN | opcode::CLOSE, &[])).await.expect("the connection is open");
    assert!(disconnected.is_closed_by_server().await, "a client can disconnect at any time");
    // An incomplete frame does not count either.
    let half = encode(FIN | opcode::TEXT, br#"{"type":"connect"}"#);
    live.send_raw(&half[..10]).await.expect("the connection is open");
    post_text(&world, "connect-never", "unheard").await;
    // The client may have been suspended, so the code allows it to reconnect.
    let reason = expect_rejection(&mut live, "request_timeout", 4001).await;
    assert!(reason.contains("connect"), "{reason}");
}
