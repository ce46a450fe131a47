//! Limits of a client: its connections and its frames.

use mayfly_tests::{
    DEFAULT_TIMEOUT, ServiceProcess, World, eventually,
    live::{Events, FIN, LiveSocket, UpgradeRequest, encode, opcode},
};
use serde_json::json;

use super::{expect_open, open_with_hello, shared, to_channels};
use crate::{
    access::credentials::create_token,
    live::{feed_url, read_metrics, start_instance},
};

fn request(url: &str, credentials: &str) -> UpgradeRequest {
    UpgradeRequest::new(url).header("authorization", &format!("Bearer {credentials}"))
}

/// Waits until a connection with these credentials can be opened again, and returns it.
async fn open_when_possible(url: &str, credentials: &str) -> LiveSocket {
    eventually(DEFAULT_TIMEOUT, "a connection is possible again", async || {
        request(url, credentials).send().await
    })
    .await
}

#[tokio::test]
async fn connections_of_each_client_are_limited() {
    let (world, operator) = shared().await;
    let limit = [("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "3")];
    let fanout = start_instance(&world, &limit).await;
    let url = feed_url(&fanout, "channel=limits-a");
    let token = |subject: &str| create_token(subject, to_channels(&["limits-a"]));
    let mut open_lives = Vec::new();
    // A client is a key or the subject of a token, not an address.
    for credentials in [&token("fred"), &token("eve"), &operator] {
        for _ in 0..3 {
            open_lives.push(open_with_hello(&url, credentials).await.0);
        }
        // A client that sends credentials in a header can read the response.
        let refused = request(&url, credentials).expect_rejection().await;
        refused.expect_problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), "1");
    }
    let address = fanout.http.expect("the service accepts requests");
    let stream = world.http.get(format!("http://{address}/v1/events")).bearer_auth(token("fred"));
    let refused = Events::open(stream).await.expect_err("too many connections");
    refused.expect_problem(503, "overloaded");
    let metrics = read_metrics(&world, &fanout).await;
    assert_eq!(metrics.sum("client_limits_exceeded_total{limit=\"connections\"}"), 4);
    // A closed connection does not count.
    open_lives.remove(0).close().await;
    open_when_possible(&url, &token("fred")).await;
}

#[tokio::test]
async fn connections_without_credentials_count_for_their_address() {
    let (world, operator) = shared().await;
    let limit = [("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "3")];
    let fanout = start_instance(&world, &limit).await;
    let url = feed_url(&fanout, "connect=frame");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(LiveSocket::connect(&url).await);
    }
    let mut refused = LiveSocket::connect(&url).await;
    assert_eq!(refused.next_close().await, (4002, "too_many_connections".to_owned()));
    // An authenticated connection counts for its client instead.
    let frame = json!({"type": "connect", "token": operator, "channels": []});
    for live in &mut waiting {
        assert_eq!(live.exchange(&frame).await["type"], "hello");
    }
    for _ in 0..3 {
        waiting.push(LiveSocket::connect(&url).await);
    }
    let error = waiting[3].exchange(&frame).await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("overloaded")));
    assert_eq!(waiting[3].next_close().await.0, 4002);
}

/// Clients without credentials cannot use up the connections of the process.
#[tokio::test]
async fn connections_that_are_not_authenticated_are_limited() {
    let (world, operator) = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__CONNECTIONS_MAX", "8")]).await;
    let (url, waiting_url) = (feed_url(&fanout, "channel=limits-f"), feed_url(&fanout, ""));
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(LiveSocket::connect(&waiting_url).await);
    }
    let refused = UpgradeRequest::new(&waiting_url).expect_rejection().await;
    refused.expect_problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    let metrics = read_metrics(&world, &fanout).await;
    assert_eq!(metrics.sum("client_limits_exceeded_total{limit=\"unauthenticated\"}"), 1);
    // Credentials in a header are checked before the connection counts.
    let (_authenticated, _) = open_with_hello(&url, &operator).await;
    let address = fanout.http.expect("the service accepts requests");
    let stream = world.http.get(format!("http://{address}/v1/events")).bearer_auth(&operator);
    Events::open(stream).await.expect("the stream opens");
    // An authenticated connection no longer counts.
    let frame = json!({"type": "connect", "token": operator, "channels": []});
    assert_eq!(waiting[0].exchange(&frame).await["type"], "hello");
    LiveSocket::connect(&waiting_url).await;
}

#[tokio::test]
async fn renewal_with_the_credentials_of_a_busy_client_is_refused() {
    let (world, operator) = shared().await;
    let limit = [("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "1")];
    let fanout = start_instance(&world, &limit).await;
    let url = feed_url(&fanout, "channel=limits-b");
    let token = |subject: &str| create_token(subject, to_channels(&["limits-b"]));
    let (_busy, _) = open_with_hello(&url, &operator).await;
    let (mut live, _) = open_with_hello(&url, &token("fred")).await;
    let error = live.exchange(&json!({"type": "auth", "token": operator})).await;
    assert_eq!((&error["code"], &error["reply_to"]), (&json!("overloaded"), &json!("auth")));
    // The connection of the same client needs no other connection.
    let reply = live.exchange(&json!({"type": "auth", "token": token("fred")})).await;
    assert_eq!(reply["type"], "authenticated", "{reply}");
    let reply = live.exchange(&json!({"type": "auth", "token": token("eve")})).await;
    assert_eq!(reply["type"], "authenticated", "{reply}");
    open_with_hello(&url, &token("fred")).await;
}

async fn start_with_frame_limit(world: &World) -> ServiceProcess {
    start_instance(world, &[("MAYFLY_FANOUT__CLIENT_FRAMES", "20/hour")]).await
}

#[tokio::test]
async fn client_that_sends_too_many_frames_is_disconnected() {
    let (world, operator) = shared().await;
    let fanout = start_with_frame_limit(&world).await;
    let url = feed_url(&fanout, "channel=limits-c");
    let ping = encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#);
    let empty_fragments = [encode(opcode::TEXT, b""), encode(opcode::CONTINUATION, b"").repeat(19)];
    let (mut quiet, _) = open_with_hello(&url, &operator).await;
    for frames in [
        ping.repeat(20),
        encode(FIN | opcode::PING, b"").repeat(20),
        encode(FIN | opcode::PONG, b"").repeat(20),
        empty_fragments.concat(),
    ] {
        let (mut live, _) = open_with_hello(&url, &operator).await;
        live.send_raw(&frames).await.expect("the connection is open");
        // The limit is reached, but not exceeded.
        live.send_raw(&encode(FIN | opcode::PING, b"21")).await.expect("the connection is open");
        assert_eq!(live.next_close().await, (4002, "too_many_frames".to_owned()));
    }
    let metrics = read_metrics(&world, &fanout).await;
    assert_eq!(metrics.sum("client_limits_exceeded_total{limit=\"frames\"}"), 4);
    expect_open(&mut quiet).await;
}

#[tokio::test]
async fn first_frame_counts_toward_the_limit() {
    let (world, operator) = shared().await;
    let fanout = start_with_frame_limit(&world).await;
    let mut live = LiveSocket::connect(&feed_url(&fanout, "connect=frame")).await;
    let fragment = encode(opcode::CONTINUATION, b" ").repeat(30);
    let frames = [encode(opcode::TEXT, br#"{"type":"connect","#), fragment].concat();
    live.send_raw(&frames).await.expect("the connection is open");
    assert_eq!(live.next_close().await, (4002, "too_many_frames".to_owned()));
    let request = request(&feed_url(&fanout, "channel=limits-d"), &operator);
    let mut live = request.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
}

/// The stack of the tests has no limits, because its clients have one address.
#[tokio::test]
async fn limits_can_be_switched_off() {
    let (world, operator) = shared().await;
    let url = world.live_url("channel=limits-e");
    let mut lives = Vec::new();
    for _ in 0..120 {
        lives.push(open_with_hello(&url, &operator).await.0);
    }
    let ping = encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#);
    lives[0].send_raw(&ping.repeat(200)).await.expect("the connection is open");
    for _ in 0..200 {
        assert_eq!(lives[0].next_frame().await["type"], "pong");
    }
}
