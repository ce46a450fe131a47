//! The live feeds as server-sent events.

use std::{net::SocketAddr, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, World, eventually,
    live::{Event, Events, LiveSocket, PacedLoad},
};
use reqwest::{RequestBuilder, header::HeaderValue};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

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
    for origin in ["https://evil.example", "null"] {
        let refused = Events::open(from(origin)).await.expect_err(origin);
        assert_eq!(refused.header("access-control-allow-origin"), "", "{origin}");
        refused.expect_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn headers_forbid_proxies_to_store_transform_or_buffer_the_stream() {
    let world = shared().await;
    let (events, _) = start(request(&world, "channel=events-headers")).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert_eq!(events.header("cache-control"), "no-store, no-transform");
    assert_eq!(events.header("x-accel-buffering"), "no");
    let url = world.url(Service::WsFanout, "/v1/events?channel=events-headers");
    let head = ApiResponse::send(world.http.head(url)).await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(head.header("cache-control"), "no-store, no-transform");
    assert_eq!(head.header("content-length"), "", "the length of a stream is unknown");
}

/// `EventSource` in JavaScript cannot set the header.
#[tokio::test]
async fn position_in_the_query_is_equivalent_to_the_header() {
    let world = shared().await;
    let (_events, hello) = open(&world, "channel=events-poly").await;
    post_text(&world, "events-poly", "one").await;
    let by_query = format!("channel=events-poly&since=garbage&lastEventId={}", hello.id);
    let by_header = "channel=events-poly&since=garbage&lastEventId=garbage";
    let by_header = request(&world, by_header).header("last-event-id", &hello.id);
    let empty = format!("channel=events-poly&lastEventId=&since={}", hello.id);
    let empty = request(&world, &empty).header("last-event-id", "");
    for request in [request(&world, &by_query), by_header, empty] {
        let (mut events, resumed) = start(request).await;
        assert_eq!(resumed.json()["resumed"], true, "{resumed:?}");
        assert_eq!(events.next().await.json()["message"]["text"], "one");
    }
    let (_events, first) = open(&world, "channel=events-poly&lastEventId=").await;
    assert!(first.json().get("resumed").is_none(), "an empty position is ignored: {first:?}");
}

/// A 400 would make `EventSource` give up.
#[tokio::test]
async fn unknown_position_is_replaced_by_the_current_one() {
    let world = shared().await;
    for (position, reason) in [
        (&b"garbage"[..], "unknown_position"),
        (b"\xff\xfe", "unknown_position"),
        (b"1.none.1-0", "data_lost"),
    ] {
        let position = HeaderValue::from_bytes(position).expect("a valid value");
        let lost = request(&world, "channel=events-lost").header("last-event-id", position);
        let (_events, hello) = start(lost).await;
        assert_eq!(hello.json()["reason"], reason, "{hello:?}");
        assert_eq!(hello.id, frame_position(&hello.json()));
        let again = request(&world, "channel=events-lost").header("last-event-id", &hello.id);
        let (_events, resumed) = start(again).await;
        assert_eq!(resumed.json()["resumed"], true, "{resumed:?}");
    }
}

/// Reads everything that the server sends until the connection is closed or `is_complete` holds.
async fn read_raw(at: SocketAddr, request: &str, is_complete: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(at).await.expect("the connection is accepted");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut all = Vec::new();
    let reading = async {
        while stream.read_buf(&mut all).await.expect("the response is readable") > 0
            && !is_complete(&String::from_utf8_lossy(&all))
        {}
    };
    timeout(DEFAULT_TIMEOUT, reading).await.expect("the response arrives in time");
    String::from_utf8(all).expect("the response is text")
}

#[tokio::test]
async fn client_of_http_1_0_receives_a_stream_without_chunks() {
    let world = shared().await;
    let fanout = start_instance(&world, &[]).await;
    let at = fanout.http.expect("the service accepts requests");
    for connection in ["", "connection: keep-alive\r\n"] {
        let request = format!("GET /v1/events?channel=events-1-0 HTTP/1.0\r\n{connection}\r\n");
        let response = read_raw(at, &request, |text| text.contains("\"hello\"")).await;
        let (head, body) = response.split_once("\r\n\r\n").expect("the head is complete");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200"), "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{head}");
        assert!(body.starts_with("retry: "), "{body}");
    }
}

#[tokio::test]
async fn stream_begins_with_the_delay_before_reconnecting() {
    let world = shared().await;
    let mut events = Events::open(request(&world, "channel=events-retry")).await.expect("200");
    let retry = events.next_block().await.expect("the stream stays open").retry;
    let range = Duration::from_secs(1)..=Duration::from_secs(5);
    assert!(retry.is_some_and(|retry| range.contains(&retry)), "{retry:?}");
}

#[tokio::test]
async fn full_instance_lets_an_event_source_reconnect_later() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__CONNECTIONS_MAX", "1")]).await;
    let url = fanout.url("/v1/events?channel=events-full");
    let (first, _) = start(world.http.get(&url)).await;
    let mut refused = Events::open(world.http.get(&url)).await.expect("EventSource expects 200");
    let retry = refused.next_block().await.expect("a delay").retry.expect("a delay");
    assert!(retry >= Duration::from_secs(1), "{retry:?}");
    assert_eq!(refused.next_block().await, None, "the response ends");
    assert_eq!(read_metrics(&world, &fanout).await.sum("connections"), 1);
    drop(first);
    eventually(DEFAULT_TIMEOUT, "a stream is accepted again", async || {
        let mut events = Events::open(world.http.get(&url)).await.expect("200");
        events.next_block().await;
        events.next_block().await.ok_or("the response ends")
    })
    .await;
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

/// A draining instance accepts connections until all others are closed.
#[tokio::test]
async fn draining_instance_lets_an_event_source_reconnect() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__DRAIN", "3s")]).await;
    let url = fanout.url("/v1/events?channel=events-drain");
    let (_events, _) = start(world.http.get(&url)).await;
    let left = tokio::spawn(fanout.terminate(Duration::from_secs(20)));
    let refused = eventually(DEFAULT_TIMEOUT, "the instance drains", async || {
        let mut events = Events::open(world.http.get(&url)).await.expect("EventSource expects 200");
        let blocks = [events.next_block().await, events.next_block().await];
        match blocks {
            [Some(block), None] => Ok(block),
            other => Err(other),
        }
    })
    .await;
    let retry = refused.retry.expect("the delay before reconnecting");
    assert!((100..=2_000).contains(&retry.as_millis()), "{retry:?}");
    let (status, _, log) = left.await.expect("the process exits");
    assert!(status.success(), "{status}: {log:?}");
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
    let mut last = Event::default();
    while let Some(block) = events.next_block().await {
        last = block;
    }
    let retry = last.retry.expect("the delay before reconnecting");
    assert!((100..=2_000).contains(&retry.as_millis()), "{retry:?}");
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
