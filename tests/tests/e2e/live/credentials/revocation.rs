//! Revocation of keys and tokens that open connections use.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mayfly_auth::{NewToken, TokenSecret, sign};
use mayfly_core::Username;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World,
    live::{LiveSocket, ReceivedFrame, raise_file_limit},
    short_or_full, with_slack,
};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    connect, expect_open, now_s, open_with_hello, post_text, shared, sign_until, to_channels,
};
use crate::access::{
    create_operator,
    credentials::{NewKey, SECRET, create_keys, revoke_token},
    setup,
};

/// How soon after a revocation a connection is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Signs a token with a `jti` that is valid for an hour.
fn sign_with_id(subject: &str, channel: &str, id: &str) -> String {
    let token = NewToken {
        subject: Username::parse(subject).expect("a username"),
        id: Some(id.to_owned()),
        issued_at: now_s() - 60,
        expires_at: now_s() + 3_600,
        issuer: None,
        audience: None,
        rights: serde_json::from_value(to_channels(&[channel])).expect("valid rights"),
    };
    let secret = TokenSecret::parse(SECRET).expect("a valid secret");
    sign(&token, &secret).expect("the token is signed")
}

async fn revoke_key(world: &World, key: &str) {
    const REVOKE: &str =
        "UPDATE api_keys SET revoked_at = now() WHERE hash = sha256(convert_to($1, 'UTF8'))";
    let revoked = world.postgres().await.execute(REVOKE, &[&key]).await;
    assert_eq!(revoked.expect("Postgres is available"), 1);
}

#[tokio::test]
async fn connections_of_a_revoked_key_are_closed() {
    let (world, operator) = shared().await;
    let keys = [NewKey { scopes: &["subscribe"], ..NewKey::default() }; 2];
    let keys = create_keys(&world, &keys).await;
    let url = world.live_url("channel=revocation-a");
    let (mut live, _) = open_with_hello(&url, &keys[0]).await;
    let (mut renewed, _) = open_with_hello(&url, &keys[0]).await;
    let (mut other, _) = open_with_hello(&url, &keys[1]).await;
    let renewal = renewed.exchange(&json!({"type": "auth", "token": keys[1]})).await;
    assert_eq!(renewal["type"], "authenticated", "{renewal}");
    revoke_key(&world, &keys[0]).await;
    assert_eq!(live.next_close().await, (4503, "revoked".to_owned()));
    // The credentials that were replaced do not matter.
    post_text(&world, &operator, "revocation-a", "heard").await;
    for live in [&mut other, &mut renewed] {
        assert_eq!(live.texts_until("heard").await, ["heard"]);
    }
    let (mut again, error) = connect(&world, json!({"token": keys[0]})).await;
    assert_eq!(error["code"], "revoked", "{error}");
    assert_eq!(again.next_close().await.0, 4503);
}

#[tokio::test]
async fn connections_of_a_revoked_token_are_closed() {
    let (world, operator) = shared().await;
    let id = Uuid::now_v7().to_string();
    let token = sign_with_id("fred", "revocation-b", &id);
    let other = sign_until("fred", &to_channels(&["revocation-b"]), now_s() + 3_600);
    let url = world.live_url("channel=revocation-b");
    let (mut live, _) = open_with_hello(&url, &token).await;
    let (mut kept, _) = open_with_hello(&url, &other).await;
    revoke_token(&world, &id).await;
    assert_eq!(live.next_close().await, (4503, "revoked".to_owned()));
    post_text(&world, &operator, "revocation-b", "heard").await;
    assert_eq!(kept.texts_until("heard").await, ["heard"]);
}

/// Reads texts until the connection is closed, or until `last`. Returns the texts and the close
/// code, if any.
async fn follow(mut live: LiveSocket, last: &str) -> (Vec<String>, Option<u16>) {
    let mut texts = Vec::new();
    let following = async {
        while texts.last().is_none_or(|text| text != last) {
            match live.next_text().await {
                Ok(frame) => {
                    let frame = ReceivedFrame::parse(&frame);
                    if frame.message.is_some() {
                        texts.push(frame.text().to_owned());
                    }
                }
                Err((code, _)) => return Some(code),
            }
        }
        None
    };
    let closed = tokio::time::timeout(DEFAULT_TIMEOUT, following).await;
    (texts, closed.expect("the connection is closed or receives the last message"))
}

/// The other connections receive every message, and none of them is delayed.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_closes_exactly_the_matching_connections() {
    raise_file_limit();
    let (matching, others) = (short_or_full(100, 500), short_or_full(900, 4_500));
    let world = setup().scale(Service::WsFanout, 1).start().await;
    let operator = create_operator(&world).await;
    let url = world.live_url("channel=crowd");
    let id = Uuid::now_v7().to_string();
    let revoked = sign_with_id("eve", "crowd", &id);
    // Every other connection has its own token.
    let tokens = (0..others).map(|number| sign_with_id("fred", "crowd", &format!("jti-{number}")));
    let tokens: Vec<_> = (0..matching).map(|_| revoked.clone()).chain(tokens).collect();
    let lives = stream::iter(tokens).map(async |token| open_with_hello(&url, &token).await.0);
    let lives: Vec<_> = lives.buffered(50).collect().await;
    let mut followers = JoinSet::new();
    for (number, live) in lives.into_iter().enumerate() {
        followers.spawn(async move { (number, follow(live, "last").await, Instant::now()) });
    }
    let mut expected = Vec::new();
    let mut revoked_at = Instant::now();
    for number in 0..40 {
        if number == 10 {
            revoked_at = Instant::now();
            revoke_token(&world, &id).await;
        }
        post_text(&world, &operator, "crowd", &number.to_string()).await;
        expected.push(number.to_string());
    }
    // The last message is posted when the matching connections have been closed.
    let mut slowest = Duration::ZERO;
    for _ in 0..matching {
        let (number, (texts, closed), at) =
            followers.join_next().await.expect("a connection").expect("no panic");
        assert!(number < matching, "connection {number} must stay open: {closed:?}, {texts:?}");
        assert_eq!(closed, Some(4503));
        slowest = slowest.max(at - revoked_at);
    }
    println!("{matching} of {} connections closed within {slowest:?}", matching + others);
    assert!(slowest <= with_slack(CLOSED_WITHIN), "{slowest:?}");
    post_text(&world, &operator, "crowd", "last").await;
    expected.push("last".to_owned());
    while let Some(follower) = followers.join_next().await {
        let (number, (texts, closed), _) = follower.expect("no panic");
        assert_eq!((closed, &texts), (None, &expected), "connection {number}");
    }
}

#[tokio::test]
async fn connection_that_waits_for_credentials_is_not_affected_by_revocations() {
    let (world, operator) = shared().await;
    let mut live = LiveSocket::connect(&world.live_url("connect=frame")).await;
    let key = NewKey { scopes: &["subscribe"], ..NewKey::default() };
    let key = create_keys(&world, &[key]).await.remove(0);
    let (mut closed, _) = open_with_hello(&world.live_url("channel=revocation-c"), &key).await;
    revoke_key(&world, &key).await;
    assert_eq!(closed.next_close().await.0, 4503);
    let hello = live.exchange(&json!({"type": "connect", "token": operator, "channels": []})).await;
    assert_eq!(hello["type"], "hello", "{hello}");
    expect_open(&mut live).await;
}
