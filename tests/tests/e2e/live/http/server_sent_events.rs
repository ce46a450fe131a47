//! The live feeds as server-sent events.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World, eventually,
    live::{Event, Events, LiveSocket, PacedLoad},
};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpSocket};

use crate::live::{frame_position, post_text, read_metrics, shared, start_instance};

fn request(world: &World, query: &str) -> RequestBuilder {
    world.http.get(world.url(Service::WsFanout, &format!("/v1/events?{query}")))
}

async fn open(world: &World, query: &str) -> (Events, Event) {
    start(request(world, query)).await
}

async fn start(request: RequestBuilder) -> (Events, Event) {
    let mut events = Events::open(request).await.expect("the event stream opens");
    let hello = events.next().await;
    assert_eq!(hello.json()["type"], "hello", "{hello:?}");
    (events, hello)
}

#[tokio::test]
async fn events_are_the_frames_of_the_socket_with_positions_as_ids() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=events")).await;
    let (mut events, hello) = open(&world, "channel=events").await;
    assert_eq!(hello.id, frame_position(&hello.json()));
    assert!(hello.json().get("resumed").is_none());
    assert!(!events.header("cache-control").is_empty());
    for number in 0..20 {
        post_text(&world, "events", &format!("{number}\n\r\n: {number}")).await;
        post_text(&world, "events-other", "unheard").await;
        let (frame, event) = (live.next_frame().await, events.next().await);
        assert_eq!(event.json(), frame);
        assert_eq!(event.id, frame_position(&frame));
    }
}

#[tokio::test]
async fn events_are_not_delayed_by_compression() {
    let world = shared().await;
    let request = request(&world, "channel=events-gzip").header("accept-encoding", "gzip, br");
    let (mut events, _) = start(request).await;
    assert_eq!(events.header("content-encoding"), "");
    post_text(&world, "events-gzip", &"long ".repeat(800)).await;
    assert_eq!(events.next().await.json()["type"], "message");
}

#[tokio::test]
async fn stream_resumes_after_the_last_event_id_or_a_position() {
    let world = shared().await;
    let (_events, hello) = open(&world, "channel=events-on").await;
    for text in ["one", "two"] {
        post_text(&world, "events-on", text).await;
    }
    let by_header = request(&world, "channel=events-on").header("last-event-id", &hello.id);
    let by_query = request(&world, &format!("channel=events-on&since={}", hello.id));
    // The header takes precedence: a browser sends it when it reconnects to the same URL.
    let by_both = request(&world, "channel=events-on&since=garbage");
    let by_both = by_both.header("last-event-id", &hello.id);
    for request in [by_header, by_query, by_both] {
        let (mut events, resumed) = start(request).await;
        assert_eq!(resumed.json()["resumed"], true, "{resumed:?}");
        assert_eq!(resumed.id, hello.id);
        for text in ["one", "two"] {
            assert_eq!(events.next().await.json()["message"]["text"], text);
        }
    }
    let (_events, lost) = open(&world, "channel=events-on&since=garbage").await;
    assert_eq!(lost.json()["reason"], "unknown_position");
}

#[tokio::test]
async fn invalid_query_returns_a_problem() {
    let world = shared().await;
    for query in ["chanel=typo", "channel=with%20blank", "feed=news", "feed=rising"] {
        let refused = Events::open(request(&world, query)).await.expect_err(query);
        refused.expect_problem(400, "invalid_field");
    }
    let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
    let refused = Events::open(request(&world, &many.join("&"))).await.expect_err("too many");
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test]
async fn only_allowed_origins_can_read_events() {
    let world = shared().await;
    let from = |origin| request(&world, "channel=events-origin").header("origin", origin);
    let (events, _) = start(from("http://localhost:3000")).await;
    assert_eq!(events.header("access-control-allow-origin"), "http://localhost:3000");
    if let Ok(events) = Events::open(from("https://evil.example")).await {
        assert_eq!(events.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn idle_stream_sends_comments_as_keep_alive() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__PING_INTERVAL", "1s")]).await;
    let at = fanout.http.expect("the service accepts requests");
    let url = format!("http://{at}/v1/events?channel=events-silent");
    let (mut events, _) = start(world.http.get(url)).await;
    for _ in 0..2 {
        let block = events.next_block().await.expect("the stream stays open");
        assert_eq!(block, Event { comment: block.comment.clone(), ..Event::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_stream_is_closed_and_its_memory_is_freed() {
    let world = shared().await;
    let fanout = start_instance(&world, &[]).await;
    let socket = TcpSocket::new_v4().expect("a socket is created");
    socket.set_recv_buffer_size(64 * 1024).expect("the buffer size is set");
    let at = fanout.http.expect("the service accepts requests");
    let mut unread = socket.connect(at).await.expect("the connection is accepted");
    let request = format!("GET /v1/events?channel=events-unread HTTP/1.1\r\nhost: {at}\r\n\r\n");
    unread.write_all(request.as_bytes()).await.expect("the request is sent");
    unread.readable().await.expect("the response arrives");
    let load = PacedLoad {
        channel: "events-unread",
        count: 260,
        every: Duration::from_millis(4),
        bytes: 60 * 1024,
    };
    load.post(&world).await;
    eventually(DEFAULT_TIMEOUT, "the close is counted", async || {
        let metrics = read_metrics(&world, &fanout).await;
        let ended = metrics.sum("connections_closed_total{code=\"4000\"}") == 1;
        if ended && metrics.sum("connections") == 0 { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn stream_ends_on_drain_and_resumes_on_another_instance() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__DRAIN", "500ms")]).await;
    let at = fanout.http.expect("the service accepts requests");
    let url = format!("http://{at}/v1/events?channel=events-drain");
    let (mut events, hello) = start(world.http.get(url)).await;
    post_text(&world, "events-drain", "before").await;
    let before = events.next().await;
    assert_eq!(before.json()["message"]["text"], "before");
    let left = tokio::spawn(fanout.terminate(Duration::from_secs(10)));
    while events.next_block().await.is_some() {}
    let (status, _, log) = left.await.expect("the process exits");
    assert!(status.success(), "{status}: {log:?}");
    let back = request(&world, "channel=events-drain").header("last-event-id", &before.id);
    let (mut events, resumed) = start(back).await;
    assert_eq!(resumed.json()["resumed"], true);
    post_text(&world, "events-drain", "after").await;
    let after = events.next().await.json();
    assert_eq!(after["message"]["text"], json!("after"));
    assert_ne!(hello.id, before.id);
}
