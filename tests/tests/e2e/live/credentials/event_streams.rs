//! Credentials of event streams.

use mayfly_auth::LEEWAY_S;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, World,
    live::{Event, Events},
};
use reqwest::RequestBuilder;
use serde_json::json;
use uuid::Uuid;

use super::{now_s, post_text, shared, sign_until, to_channels};
use crate::access::credentials::{
    NewKey, SECRET, TokenOptions, create_keys, create_token, revoke_token, sign_token,
};

fn request(world: &World, query: &str) -> RequestBuilder {
    world.http.get(world.url(Service::WsFanout, &format!("/v1/events?{query}")))
}

async fn start(request: RequestBuilder) -> (Events, Event) {
    let mut events = Events::open(request).await.expect("the event stream opens");
    let hello = events.next().await;
    assert_eq!(hello.json()["type"], "hello", "{hello:?}");
    (events, hello)
}

async fn expect_refusal(request: RequestBuilder, status: u16, code: &str) -> ApiResponse {
    let refused = Events::open(request).await.expect_err("the stream is refused");
    refused.expect_problem(status, code);
    refused
}

#[tokio::test]
async fn credentials_are_in_a_header_or_in_the_query() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["streams-a"]));
    for request in [
        request(&world, "channel=streams-a").bearer_auth(&operator),
        request(&world, "channel=streams-a").header("x-api-key", &operator),
        request(&world, "").bearer_auth(&token),
        request(&world, &format!("token={token}")),
        request(&world, &format!("channel=streams-a&token={token}")).bearer_auth(&token),
    ] {
        let (mut events, _) = start(request).await;
        post_text(&world, &operator, "streams-a", "heard").await;
        assert_eq!(events.next().await.json()["message"]["text"], "heard");
    }
}

#[tokio::test]
async fn refused_requests_receive_a_problem() {
    let (world, operator) = shared().await;
    let revoked = NewKey { scopes: &["subscribe"], is_revoked: true, ..NewKey::default() };
    let reader = NewKey { scopes: &["read"], ..NewKey::default() };
    let keys = create_keys(&world, &[revoked, reader]).await;
    let token = create_token("fred", to_channels(&["streams-b"]));
    let expired = sign_until("fred", &to_channels(&["streams-b"]), now_s() - 60);
    let query = "channel=streams-b";
    for request in [
        request(&world, query),
        request(&world, query).bearer_auth("mf_unknown"),
        request(&world, query).bearer_auth(&keys[0]),
        request(&world, &format!("{query}&token={expired}")),
        request(&world, &format!("{query}&token=x")),
        request(&world, &format!("{query}&token={operator}")),
        request(&world, &format!("{query}&token={token}")).bearer_auth(&operator),
    ] {
        let refused = expect_refusal(request, 401, "unauthorized").await;
        assert!(!refused.text().contains(&token), "{}", refused.text());
    }
    expect_refusal(request(&world, query).bearer_auth(&keys[1]), 403, "forbidden").await;
    for (query, parameter) in [
        ("channel=lobby&channel=streams-b", "channel"),
        ("feed=pulse", "feed"),
        ("feed=rising&host=streams.example", "feed"),
    ] {
        let refused = request(&world, query).bearer_auth(&token);
        let refused = expect_refusal(refused, 403, "forbidden").await;
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains(parameter), "{query}: {detail}");
    }
}

#[tokio::test]
async fn stream_and_its_replay_contain_only_what_the_credentials_allow() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["streams-c.*"]));
    let (mut events, hello) = start(request(&world, &format!("token={token}"))).await;
    for (channel, text) in
        [("lobby", "unheard"), ("streams-c", "unheard"), ("streams-c.1", "heard")]
    {
        post_text(&world, &operator, channel, text).await;
    }
    assert_eq!(events.next().await.json()["message"]["text"], "heard");
    let resuming = request(&world, &format!("token={token}&since={}", hello.id));
    let (mut events, hello) = start(resuming).await;
    assert_eq!(hello.json()["resumed"], true);
    assert_eq!(events.next().await.json()["message"]["text"], "heard");
}

/// Reads events until the stream ends, and returns the last one.
async fn read_to_end(mut events: Events) -> Event {
    let mut last = Event::default();
    while let Some(block) = events.next_block().await {
        if !block.data.is_empty() {
            last = block;
        }
    }
    last
}

#[tokio::test]
async fn stream_ends_when_its_token_expires() {
    let (world, _) = shared().await;
    let ends_at = now_s() + 3;
    let token = sign_until("fred", &to_channels(&["streams-d"]), ends_at - LEEWAY_S);
    let (events, hello) = start(request(&world, &format!("token={token}"))).await;
    assert!(hello.json()["expires_at"].is_string(), "{hello:?}");
    let last = read_to_end(events).await.json();
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("token_expired")));
    assert!(now_s() >= ends_at - 1, "the stream ended early");
}

#[tokio::test]
async fn stream_ends_when_its_token_is_revoked() {
    let (world, _) = shared().await;
    let id = Uuid::now_v7().to_string();
    let rights = to_channels(&["streams-e"]);
    let token =
        TokenOptions { subject: "fred", rights, ttl_s: 3_600, id: Some(&id), secret: SECRET };
    let token = sign_token(&token);
    let (events, _) = start(request(&world, "").bearer_auth(&token)).await;
    revoke_token(&world, &id).await;
    let last = read_to_end(events).await.json();
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("revoked")));
    expect_refusal(request(&world, "").bearer_auth(&token), 401, "unauthorized").await;
}
