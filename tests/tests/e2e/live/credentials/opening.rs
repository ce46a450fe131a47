//! Credentials at the start of a connection.

use mayfly_auth::LEEWAY_S;
use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT,
    live::{FIN, LiveSocket, UpgradeRequest, encode, opcode},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{connect, now_s, open, open_with_hello, post_text, shared, sign_until, to_channels};
use crate::access::credentials::{NewKey, create_keys, create_token};

#[tokio::test]
async fn credentials_in_a_header_start_the_connection() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["opening-header"]));
    for (query, credentials) in
        [("channel=opening-header", &operator), ("channel=opening-header", &token), ("", &token)]
    {
        let (mut live, hello) = open_with_hello(&world.live_url(query), credentials).await;
        assert_eq!(hello.get("expires_at").is_some(), credentials == &token, "{hello}");
        post_text(&world, &operator, "opening-header", "heard").await;
        assert_eq!(live.texts_until("heard").await, ["heard"]);
    }
    let url = world.live_url("channel=opening-a");
    let request = UpgradeRequest::new(&url).header("x-api-key", &operator);
    let mut live = request.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
}

#[tokio::test]
async fn credentials_in_the_first_frame_start_the_connection() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["opening-frame"]));
    for credentials in [&operator, &token] {
        for query in ["connect=frame&channel=opening-frame", "channel=opening-frame"] {
            for frame in [
                json!({"type": "connect", "token": credentials, "channels": ["opening-frame"]}),
                json!({"type": "auth", "token": credentials}),
            ] {
                let mut live = LiveSocket::connect(&world.live_url(query)).await;
                let hello = live.exchange(&frame).await;
                assert_eq!(hello["type"], "hello", "{query} {frame}: {hello}");
                post_text(&world, &operator, "opening-frame", "heard").await;
                assert_eq!(live.texts_until("heard").await, ["heard"]);
            }
        }
    }
}

#[tokio::test]
async fn frames_behind_the_first_frame_are_processed_in_order() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["opening-order"]));
    let mut live = LiveSocket::connect(&world.live_url("connect=frame")).await;
    let text = |frame: Value| encode(FIN | opcode::TEXT, frame.to_string().as_bytes());
    let frames = [
        text(json!({"type": "connect", "token": token, "channels": []})),
        text(json!({"type": "ping"})),
        text(json!({"type": "auth", "token": operator})),
        text(json!({"type": "subscribe", "channels": ["opening-order-staff"]})),
        text(json!({"type": "auth", "token": token})),
        text(json!({"type": "ping"})),
    ];
    live.send_raw(&frames.concat()).await.expect("the connection is open");
    for kind in ["hello", "pong", "authenticated", "subscribed", "authenticated", "error", "pong"] {
        assert_eq!(live.next_frame().await["type"], kind);
    }
}

#[tokio::test]
async fn refused_credentials_close_the_connection() {
    let (world, operator) = shared().await;
    let keys = [
        NewKey { scopes: &["subscribe"], is_revoked: true, ..NewKey::default() },
        NewKey { scopes: &["subscribe"], is_expired: true, ..NewKey::default() },
        NewKey { scopes: &["read", "publish", "take"], ..NewKey::default() },
    ];
    let keys = create_keys(&world, &keys).await;
    let rights = to_channels(&["opening-*"]);
    let expired = sign_until("fred", &rights, now_s() - 60);
    let publisher = create_token("fred", json!({"publish": ["opening-*"], "inbox": true}));
    let [head, body, _] = split(&create_token("fred", rights.clone()));
    let [_, _, other] = split(&create_token("eve", rights));
    let forged = [head, body, other].join(".");
    for (credentials, code, close, reason) in [
        (&keys[0], "revoked", 4503, "revoked"),
        (&keys[1], "revoked", 4503, "revoked"),
        (&keys[2], "forbidden", 4502, "forbidden"),
        (&operator[..operator.len() - 1].to_owned(), "unauthorized", 4502, "unauthorized"),
        (&"mf_unknown".to_owned(), "unauthorized", 4502, "unauthorized"),
        (&"no key".to_owned(), "unauthorized", 4502, "unauthorized"),
        (&String::new(), "unauthorized", 4502, "unauthorized"),
        (&expired, "token_expired", 4003, "token_expired"),
        (&publisher, "forbidden", 4502, "forbidden"),
        (&forged, "unauthorized", 4502, "unauthorized"),
    ] {
        // The end of valid credentials is not printed.
        let shown = &credentials[..credentials.len().min(20)];
        let (mut live, error) =
            connect(&world, json!({"token": credentials, "channels": ["opening-a"]})).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{shown}");
        assert_eq!(error["reply_to"], "connect", "{error}");
        assert_eq!(live.next_close().await, (close, reason.to_owned()), "{shown}");
        let mut live = open(&world.live_url("channel=opening-a"), credentials).await;
        assert_eq!(live.next_close().await, (close, reason.to_owned()), "{shown}, in a header");
    }
}

fn split(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("a token has three parts")
}

#[tokio::test]
async fn malformed_headers_and_a_token_in_the_query_are_refused() {
    let (world, operator) = shared().await;
    let url = world.live_url("channel=opening-a");
    let valid = format!("Bearer {operator}");
    for headers in [
        &[("authorization", "Basic eDp5")][..],
        &[("authorization", valid.as_str()), ("x-api-key", "mf_other")],
    ] {
        let request = headers
            .iter()
            .fold(UpgradeRequest::new(&url), |request, (name, value)| request.header(name, value));
        let mut live = request.send().await.expect("the socket opens");
        assert_eq!(live.next_close().await.0, 4502, "{headers:?}");
    }
    let token = create_token("fred", to_channels(&["opening-*"]));
    let mut live = LiveSocket::connect(&format!("{url}&token={token}")).await;
    let (code, reason) = live.next_close().await;
    assert!(code == 4500 && reason.starts_with("token ") && !reason.contains(&token), "{reason}");
}

#[tokio::test]
async fn credentials_in_the_first_frame_have_precedence() {
    let (world, operator) = shared().await;
    let url = world.live_url("connect=frame");
    let mut live = open(&url, "mf_unknown").await;
    let hello = live.exchange(&json!({"type": "connect", "token": operator})).await;
    assert_eq!(hello["type"], "hello", "{hello}");
    let mut live = open(&url, &operator).await;
    let error = live.exchange(&json!({"type": "connect", "token": "mf_unknown"})).await;
    assert_eq!(error["code"], "unauthorized", "{error}");
    let mut live = open(&url, &operator).await;
    let hello = live.exchange(&json!({"type": "connect", "channels": []})).await;
    assert_eq!(hello["type"], "hello", "the header is used: {hello}");
    // The refusal of credentials in a header is not the reply to a frame.
    let mut live = open(&url, "mf_unknown").await;
    live.send_text(r#"{"type":"connect"}"#).await;
    let end = timeout(DEFAULT_TIMEOUT, live.next_text()).await.expect("the server responds");
    assert_eq!(end, Err((4502, "unauthorized".to_owned())));
}

#[tokio::test]
async fn every_path_requires_credentials() {
    let (world, operator) = shared().await;
    for path in ["/", "/ws", "/echo", "/v1/live"] {
        let url = world.url(Service::WsFanout, path);
        let mut live = LiveSocket::connect(&url).await;
        live.send_text(r#"{"type":"auth","token":"mf_unknown"}"#).await;
        assert_eq!(live.next_close().await.0, 4502, "{path}");
        open_with_hello(&url, &operator).await;
    }
}

/// The server waits 10 s for credentials. In the meantime, the connection receives nothing.
#[tokio::test]
async fn connection_without_credentials_receives_nothing_and_is_closed() {
    let (world, operator) = shared().await;
    for query in ["channel=opening-never", "connect=frame"] {
        let mut live = LiveSocket::connect(&world.live_url(query)).await;
        post_text(&world, &operator, "opening-never", "unheard").await;
        let error = live.next_frame().await;
        assert_eq!(error["code"], "request_timeout", "{query}: {error}");
        assert_eq!(live.next_close().await.0, 4502, "{query}");
    }
}

#[tokio::test]
async fn connect_frame_without_a_token_is_refused() {
    let (world, _) = shared().await;
    for fields in [json!({}), json!({"token": null})] {
        let (mut live, error) = connect(&world, fields.clone()).await;
        assert_eq!(error["code"], "unauthorized", "{fields}: {error}");
        assert_eq!(live.next_close().await.0, 4502, "{fields}");
    }
}

#[tokio::test]
async fn token_within_the_leeway_is_accepted_and_lasts_to_its_end() {
    let (world, _) = shared().await;
    let expired_at = now_s() - 5;
    let token = sign_until("fred", &to_channels(&["opening-*"]), expired_at);
    let (_live, hello) = open_with_hello(&world.live_url("channel=opening-a"), &token).await;
    let ends_at = hello["expires_at"].as_str().expect("the frame has a time");
    let ends_at: Timestamp = ends_at.parse().expect("a timestamp");
    assert_eq!(ends_at.as_millis() / 1_000, expired_at + LEEWAY_S);
}
