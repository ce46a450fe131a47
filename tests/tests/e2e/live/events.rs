//! The feeds as server-sent events.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    PATIENCE, World, eventually,
    live::{Event, Events, Live, Talk},
};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpSocket};

use super::{metrics_of, position_of, say, shared, start_own};

fn request(world: &World, query: &str) -> RequestBuilder {
    world.http.get(world.url(Service::WsFanout, &format!("/v1/events?{query}")))
}

async fn open(world: &World, query: &str) -> (Events, Event) {
    start(request(world, query)).await
}

async fn start(request: RequestBuilder) -> (Events, Event) {
    let mut events = Events::open(request).await.expect("a stream of events");
    let hello = events.next().await;
    assert_eq!(hello.json()["type"], "hello", "{hello:?}");
    (events, hello)
}

#[tokio::test]
async fn the_events_are_the_frames_of_the_socket_with_their_positions_as_ids() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=events")).await;
    let (mut events, hello) = open(&world, "channel=events").await;
    assert_eq!(hello.id, position_of(&hello.json()));
    assert!(hello.json().get("resumed").is_none());
    assert!(!events.header("cache-control").is_empty());
    for number in 0..20 {
        say(&world, "events", &format!("{number}\n\r\n: {number}")).await;
        say(&world, "events-other", "unheard").await;
        let (frame, event) = (live.next_frame().await, events.next().await);
        assert_eq!(event.json(), frame);
        assert_eq!(event.id, position_of(&frame));
    }
}

#[tokio::test]
async fn events_come_at_once_also_to_who_takes_compressed_answers() {
    let world = shared().await;
    let request = request(&world, "channel=events-gzip").header("accept-encoding", "gzip, br");
    let (mut events, _) = start(request).await;
    assert_eq!(events.header("content-encoding"), "");
    say(&world, "events-gzip", &"long ".repeat(800)).await;
    assert_eq!(events.next().await.json()["type"], "message");
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_last_event_or_a_position() {
    let world = shared().await;
    let (_events, hello) = open(&world, "channel=events-on").await;
    for text in ["one", "two"] {
        say(&world, "events-on", text).await;
    }
    let by_header = request(&world, "channel=events-on").header("last-event-id", &hello.id);
    let by_query = request(&world, &format!("channel=events-on&since={}", hello.id));
    // The header is the newer word: a browser sends it when it comes back to the same URL.
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
async fn a_bad_query_is_a_problem() {
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
async fn a_page_of_an_allowed_origin_may_read_events_and_no_other() {
    let world = shared().await;
    let from = |origin| request(&world, "channel=events-origin").header("origin", origin);
    let (events, _) = start(from("http://localhost:3000")).await;
    assert_eq!(events.header("access-control-allow-origin"), "http://localhost:3000");
    if let Ok(events) = Events::open(from("https://evil.example")).await {
        assert_eq!(events.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_silent_stream_has_comments_so_that_nobody_takes_it_for_dead() {
    let world = shared().await;
    let fanout = start_own(&world, &[("MAYFLY_FANOUT__PING_INTERVAL", "1s")]).await;
    let at = fanout.http.expect("it takes requests");
    let url = format!("http://{at}/v1/events?channel=events-silent");
    let (mut events, _) = start(world.http.get(url)).await;
    for _ in 0..2 {
        let block = events.next_block().await.expect("the stream goes on");
        assert_eq!(block, Event { comment: block.comment.clone(), ..Event::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_ended_and_keeps_no_memory() {
    let world = shared().await;
    let fanout = start_own(&world, &[]).await;
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(64 * 1024).expect("it may be small");
    let at = fanout.http.expect("it takes requests");
    let mut unread = socket.connect(at).await.expect("it is accepted");
    let request = format!("GET /v1/events?channel=events-unread HTTP/1.1\r\nhost: {at}\r\n\r\n");
    unread.write_all(request.as_bytes()).await.expect("it is sent");
    unread.readable().await.expect("it is answered");
    let talk = Talk {
        channel: "events-unread",
        count: 260,
        every: Duration::from_millis(4),
        bytes: 60 * 1024,
    };
    talk.post(&world).await;
    eventually(PATIENCE, "it is ended and counted", async || {
        let metrics = metrics_of(&world, &fanout).await;
        let ended = metrics.sum("closed_total{code=\"4000\"}") == 1;
        if ended && metrics.sum("connections") == 0 { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_the_service_drains_and_goes_on_elsewhere() {
    let world = shared().await;
    let fanout = start_own(&world, &[("MAYFLY_FANOUT__DRAIN", "500ms")]).await;
    let at = fanout.http.expect("it takes requests");
    let url = format!("http://{at}/v1/events?channel=events-drain");
    let (mut events, hello) = start(world.http.get(url)).await;
    say(&world, "events-drain", "before").await;
    let before = events.next().await;
    assert_eq!(before.json()["message"]["text"], "before");
    let left = tokio::spawn(fanout.leave(Duration::from_secs(10)));
    while events.next_block().await.is_some() {}
    let (status, _, log) = left.await.expect("it leaves");
    assert!(status.success(), "{status}: {log:?}");
    let back = request(&world, "channel=events-drain").header("last-event-id", &before.id);
    let (mut events, resumed) = start(back).await;
    assert_eq!(resumed.json()["resumed"], true);
    say(&world, "events-drain", "after").await;
    let after = events.next().await.json();
    assert_eq!(after["message"]["text"], json!("after"));
    assert_ne!(hello.id, before.id);
}
