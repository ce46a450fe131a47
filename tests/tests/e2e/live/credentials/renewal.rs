//! Expiry of tokens, and `auth` frames on open connections.

use std::time::Duration;

use mayfly_auth::LEEWAY_S;
use mayfly_core::Timestamp;
use mayfly_tests::{live::LiveSocket, with_slack};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    connect, expect_open, forbidden_names, now_s, open, open_with_hello, post_text, shared,
    sign_until, to_channels,
};
use crate::access::credentials::{NewKey, create_keys, create_token};

/// How soon after its expiry the connection of a token is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

fn expiry_s(frame: &Value) -> i64 {
    let time = frame["expires_at"].as_str().expect("the frame has an expiry time");
    time.parse::<Timestamp>().expect("a timestamp").as_millis() / 1_000
}

#[tokio::test]
async fn connection_is_closed_when_its_token_expires() {
    let (world, _) = shared().await;
    let expires_at = now_s() - LEEWAY_S + 3;
    let token = sign_until("fred", &to_channels(&["renewal-a"]), expires_at);
    let (mut live, hello) = connect(&world, json!({"token": token, "channels": []})).await;
    let expires_at = expires_at + LEEWAY_S;
    assert_eq!(expiry_s(&hello), expires_at, "the time when the server closes the connection");
    assert_eq!(live.next_close().await, (4003, "token_expired".to_owned()));
    let late_s = now_s() - expires_at;
    let allowed = with_slack(CLOSED_WITHIN).as_secs();
    // The clock of the server is an estimate of the clock of Redis.
    assert!((-1..=i64::try_from(allowed).expect("a short time")).contains(&late_s), "{late_s} s");
    // After the leeway, a client that reconnects with the expired token is refused with the same
    // code.
    let expired = sign_until("fred", &to_channels(&["renewal-a"]), now_s() - 40);
    let mut live = open(&world.live_url("channel=renewal-a"), &expired).await;
    assert_eq!(live.next_close().await.0, 4003);
}

/// A second connection with the same token shows when the token expires.
#[tokio::test]
async fn renewed_connection_outlives_its_first_token() {
    let (world, operator) = shared().await;
    let rights = to_channels(&["renewal-b"]);
    let token = sign_until("fred", &rights, now_s() - LEEWAY_S + 6);
    let url = world.live_url("channel=renewal-b");
    let (mut renewed, _) = open_with_hello(&url, &token).await;
    let (mut other, _) = open_with_hello(&url, &token).await;
    let expires_at = now_s() + 600;
    let reply = renewed.exchange(&auth(&sign_until("fred", &rights, expires_at))).await;
    assert_eq!(reply["type"], "authenticated", "{reply}");
    assert_eq!(expiry_s(&reply), expires_at + LEEWAY_S);
    assert_eq!(other.next_close().await.0, 4003);
    post_text(&world, &operator, "renewal-b", "heard").await;
    assert_eq!(renewed.texts_until("heard").await, ["heard"]);
    let reply = renewed.exchange(&auth(&operator)).await;
    assert_eq!(reply["expires_at"], Value::Null, "the key does not expire: {reply}");
}

#[tokio::test]
async fn refused_renewal_leaves_the_connection_as_it_was() {
    let (world, operator) = shared().await;
    let revoked = NewKey { scopes: &["operate"], is_revoked: true, ..NewKey::default() };
    let revoked = create_keys(&world, &[revoked]).await.remove(0);
    let token = create_token("fred", to_channels(&["renewal-c"]));
    let (mut live, _) = connect(&world, json!({"token": token, "channels": ["renewal-c"]})).await;
    let expired = sign_until("fred", &to_channels(&["*"]), now_s() - 60);
    let publisher = create_token("fred", json!({"publish": ["*"]}));
    for (credentials, code) in [
        ("mf_unknown", "unauthorized"),
        ("", "unauthorized"),
        (revoked.as_str(), "revoked"),
        (expired.as_str(), "token_expired"),
        (publisher.as_str(), "forbidden"),
    ] {
        let error = live.exchange(&auth(credentials)).await;
        assert_eq!((&error["code"], &error["reply_to"]), (&json!(code), &json!("auth")), "{error}");
        assert!(error.get("channels").is_none(), "{error}");
    }
    for invalid in [json!({"type": "auth"}), json!({"type": "auth", "token": 7})] {
        assert_eq!(live.exchange(&invalid).await["code"], "invalid_field", "{invalid}");
    }
    let error = live.exchange(&json!({"type": "subscribe", "channels": ["lobby"]})).await;
    assert_eq!(error["code"], "forbidden", "the rights are unchanged: {error}");
    post_text(&world, &operator, "renewal-c", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn renewal_with_other_rights_changes_the_subscriptions() {
    let (world, operator) = shared().await;
    let rights = json!({
        "subscribe": ["renewal-d.*"], "feeds": ["rising"], "hosts": ["d.renewal.example"],
    });
    let token = create_token("fred", rights);
    let fields = json!({
        "token": token, "channels": ["renewal-d.1", "renewal-d.2"],
        "feeds": ["messages", "rising"], "hosts": ["d.renewal.example"],
    });
    let (mut live, hello) = connect(&world, fields).await;
    assert_eq!(hello["type"], "hello", "{hello}");
    let less = create_token("eve", to_channels(&["renewal-d.2", "renewal-d.3"]));
    assert_eq!(live.exchange(&auth(&less)).await["type"], "authenticated");
    let refused = json!([["renewal-d.1"], ["rising"], ["d.renewal.example"]]);
    assert_eq!(forbidden_names(&live.next_frame().await, "auth"), refused);
    let set = live.exchange(&json!({"type": "subscribe"})).await;
    let lists = json!([set["channels"], set["feeds"], set["hosts"]]);
    assert_eq!(lists, json!([["renewal-d.2"], ["messages"], []]));
    for (channel, text) in [("renewal-d.1", "unheard"), ("renewal-d.2", "heard")] {
        post_text(&world, &operator, channel, text).await;
    }
    assert_eq!(live.texts_until("heard").await, ["heard"]);
    let added = live.exchange(&json!({"type": "subscribe", "channels": ["renewal-d.3"]})).await;
    assert_eq!(added["type"], "subscribed", "{added}");
}

#[tokio::test]
async fn subscription_to_all_channels_follows_the_rights() {
    let (world, operator) = shared().await;
    let token = |channel: &str| create_token("fred", to_channels(&[channel]));
    let (mut live, _) = connect(&world, json!({"token": token("renewal-e.1")})).await;
    for (own, other) in [("renewal-e.2", "renewal-e.1"), ("renewal-e.1", "renewal-e.2")] {
        assert_eq!(live.exchange(&auth(&token(own))).await["type"], "authenticated");
        post_text(&world, &operator, other, "unheard").await;
        post_text(&world, &operator, own, "heard").await;
        assert_eq!(live.texts_until("heard").await, ["heard"]);
    }
}

/// A token can be longer than any other client frame.
#[tokio::test]
async fn long_token_can_be_renewed() {
    let (world, _) = shared().await;
    let patterns: Vec<_> = (0..64).map(|number| format!("renewal-{number:0>60}.*")).collect();
    let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
    let token = create_token("fred", to_channels(&patterns));
    assert!((5_000..8_000).contains(&token.len()), "{} bytes", token.len());
    let (mut live, _) = connect(&world, json!({"token": token, "channels": []})).await;
    assert_eq!(live.exchange(&auth(&token)).await["type"], "authenticated");
    let too_long = format!("{}{}", token, "x".repeat(3_000));
    live.send_text(&auth(&too_long).to_string()).await;
    assert_eq!(live.next_close().await.0, 1009);
}

#[tokio::test]
async fn mode_open_accepts_any_credentials() {
    let world = crate::live::shared().await;
    let url = world.live_url("connect=frame&channel=renewal-open");
    for frame in [json!({"type": "connect", "token": "x"}), auth("x")] {
        let mut live = LiveSocket::connect(&url).await;
        let hello = live.exchange(&frame).await;
        assert_eq!(hello["type"], "hello", "{frame}: {hello}");
        assert!(hello.get("expires_at").is_none(), "{hello}");
        let reply = live.exchange(&auth("y")).await;
        assert_eq!(reply, json!({"type": "authenticated", "expires_at": null}));
        expect_open(&mut live).await;
    }
}

/// A client that disconnects while its credentials are checked does not affect others.
#[tokio::test]
async fn client_can_disconnect_during_authentication() {
    let (world, _) = shared().await;
    let token = create_token("fred", to_channels(&["renewal-f"]));
    for _ in 0..20 {
        let mut live = LiveSocket::connect(&world.live_url("connect=frame")).await;
        live.send_text(&json!({"type": "connect", "token": token}).to_string()).await;
        live.reset();
    }
    let connected = connect(&world, json!({"token": token, "channels": []}));
    let (mut live, hello) =
        timeout(with_slack(CLOSED_WITHIN), connected).await.expect("the server responds");
    assert_eq!(hello["type"], "hello", "{hello}");
    expect_open(&mut live).await;
}
