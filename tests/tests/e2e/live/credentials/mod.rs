//! Live connections that need credentials.

mod event_streams;
mod limits;
mod opening;
mod renewal;
mod revocation;
mod rights;

use mayfly_core::{Clock, SystemClock};
use mayfly_tests::{
    ApiResponse, World,
    live::{LiveSocket, UpgradeRequest},
    sign_token,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::access::{create_operator, credentials::SECRET};

/// Returns the shared stack that requires credentials, and a key for everything.
async fn shared() -> (World, String) {
    static OPERATOR: OnceCell<String> = OnceCell::const_new();
    let world = crate::access::shared().await;
    let operator = OPERATOR.get_or_init(|| create_operator(&world)).await.clone();
    (world, operator)
}

/// Returns the current time in seconds since the Unix epoch.
fn now_s() -> i64 {
    SystemClock.now().as_millis() / 1_000
}

/// Signs a token that expires at this time, in seconds since the Unix epoch.
fn sign_until(subject: &str, rights: &Value, expires_at: i64) -> String {
    let issued_at = expires_at.min(now_s()) - 60;
    sign_token(SECRET, subject, None, issued_at..expires_at, rights)
}

/// Returns the rights to the channels that match these patterns.
fn to_channels(patterns: &[&str]) -> Value {
    json!({"subscribe": patterns})
}

/// Opens a socket with credentials in a header.
async fn open(url: &str, credentials: &str) -> LiveSocket {
    let request =
        UpgradeRequest::new(url).header("authorization", &format!("Bearer {credentials}"));
    request.send().await.expect("the socket opens")
}

/// Opens a socket with credentials in a header, and returns it with its `hello` frame.
async fn open_with_hello(url: &str, credentials: &str) -> (LiveSocket, Value) {
    let mut live = open(url, credentials).await;
    let hello = live.next_frame().await;
    assert_eq!(hello["type"], "hello", "{hello}");
    (live, hello)
}

/// Opens a socket that starts with this `connect` frame, and returns it with the first frame of the
/// server.
async fn connect(world: &World, mut fields: Value) -> (LiveSocket, Value) {
    fields["type"] = "connect".into();
    let mut live = LiveSocket::connect(&world.live_url("connect=frame")).await;
    let first = live.exchange(&fields).await;
    (live, first)
}

/// Posts a text to a channel and returns the message.
async fn post_text(world: &World, operator: &str, channel: &str, text: &str) -> Value {
    let message = json!({"channel": channel, "text": text, "ttl": 600});
    let request = world.http.post(world.ingest_url("/v1/messages")).bearer_auth(operator);
    ApiResponse::send(request.json(&message)).await.expect_status(202)
}

/// Returns the lists of forbidden names in an `error` frame.
fn forbidden_names(error: &Value, reply_to: &str) -> Value {
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")), "{error}");
    assert_eq!(error["reply_to"], reply_to, "{error}");
    json!([error["channels"], error["feeds"], error["hosts"]])
}

/// Expects the socket to answer a ping.
async fn expect_open(live: &mut LiveSocket) {
    live.send_text(r#"{"type":"ping"}"#).await;
    live.next_of_type("pong").await;
}
