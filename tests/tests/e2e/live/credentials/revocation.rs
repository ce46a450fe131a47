//! Revocation of keys and tokens that open connections use.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mayfly_tests::{
    DEFAULT_TIMEOUT, World, eventually,
    live::{LiveSocket, raise_file_limit},
    sign_token,
};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    connect, expect_open, now_s, open_with_hello, post_text, shared, sign_until, to_channels,
};
use crate::access::credentials::{NewKey, SECRET, create_keys, revoke_token};

/// Signs a token with a `jti` that is valid for an hour.
fn sign_with_id(subject: &str, channel: &str, id: &str) -> String {
    let times = now_s() - 60..now_s() + 3_600;
    sign_token(SECRET, subject, Some(id), times, &to_channels(&[channel]))
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

/// A connection that is opened at the moment of the revocation is either refused or closed.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_opened_during_a_revocation_are_closed() {
    raise_file_limit();
    let (world, _) = shared().await;
    let key = NewKey { scopes: &["subscribe"], ..NewKey::default() };
    let key = create_keys(&world, &[key]).await.remove(0);
    let opened = Arc::new(AtomicUsize::new(0));
    let mut openers = JoinSet::new();
    for _ in 0..4 {
        let (world, key, opened) = (world.clone(), key.clone(), Arc::clone(&opened));
        openers.spawn(async move {
            let mut lives = Vec::new();
            loop {
                let (live, first) = connect(&world, json!({"token": key, "channels": []})).await;
                if first["type"] != "hello" {
                    assert_eq!(first["code"], "revoked", "{first}");
                    return lives;
                }
                lives.push(live);
                opened.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually(DEFAULT_TIMEOUT, "connections are opened", async || {
        match opened.load(Ordering::Relaxed) {
            20.. => Ok(()),
            count => Err(count),
        }
    })
    .await;
    revoke_key(&world, &key).await;
    let lives: Vec<_> = openers.join_all().await.into_iter().flatten().collect();
    for mut live in lives {
        assert_eq!(live.next_close().await, (4503, "revoked".to_owned()));
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
