//! The opening handshake and its rejections.

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT,
    live::{LiveSocket, SocketEvent, UpgradeRequest},
};
use serde_json::json;

use crate::live::{feed_url, post_text, read_metrics, shared, start_instance};

#[tokio::test]
async fn alias_paths_upgrade_and_other_paths_return_404() {
    let world = shared().await;
    for path in ["/v1/live", "/", "/ws", "/echo"] {
        let (mut live, _) = LiveSocket::connect_with_hello(
            &world.url(Service::WsFanout, &format!("{path}?channel=paths")),
        )
        .await;
        post_text(&world, "paths", "heard").await;
        assert_eq!(live.texts_until("heard").await, ["heard"], "{path}");
    }
    for path in ["/nowhere", "/v1", "/v1/live/more", "/ws/more"] {
        let refused =
            UpgradeRequest::new(&world.url(Service::WsFanout, path)).expect_rejection().await;
        refused.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn invalid_query_is_reported_by_a_close_code_after_the_upgrade() {
    let world = shared().await;
    for query in [
        "chanel=typo",
        "channel=x&token_=y",
        "channel=",
        "channel=with%20blank",
        "channel=%FF",
        "feed=news",
        "feed=messages,news",
        "feed=",
        "feed=rising",
        "feed=messages,rising",
        "since=a&since=b",
        "channel=**",
        "connect=",
        "connect=query",
        "connect=frame&channel=with%20blank",
        "lastEventId=x",
    ] {
        let mut live = LiveSocket::connect(&world.live_url(query)).await;
        let (code, reason) = live.next_close().await;
        assert_eq!(code, 4500, "{query}: {reason}");
        assert!(live.is_closed_by_server().await, "{query}");
    }
    let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
    let (code, _) = LiveSocket::connect(&world.live_url(&many.join("&"))).await.next_close().await;
    assert_eq!(code, 4501);
    LiveSocket::connect_with_hello(&world.live_url(&many[1..].join("&"))).await;
}

#[tokio::test]
async fn feeds_can_be_a_list_or_repeated() {
    let world = shared().await;
    for (query, feeds) in [
        ("channel=feeds", &["messages"][..]),
        ("feed=plays,messages&channel=feeds", &["messages", "plays"]),
        (
            "feed=stats&feed=messages&feed=pulse,stats&channel=feeds",
            &["messages", "pulse", "stats"],
        ),
        ("feed=messages,rising&host=example.org&channel=feeds", &["messages", "rising"]),
    ] {
        let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url(query)).await;
        live.send_text(r#"{"type":"subscribe","channels":["feeds"]}"#).await;
        assert_eq!(live.next_of_type("subscribed").await["feeds"], json!(feeds), "{query}");
        post_text(&world, "feeds", "heard").await;
        assert_eq!(live.next_of_type("message").await["message"]["text"], "heard");
    }
    let (mut live, _) =
        LiveSocket::connect_with_hello(&world.live_url("feed=plays&channel=feeds")).await;
    post_text(&world, "feeds", "unheard").await;
    let answer = live.exchange(&json!({"type": "ping"})).await;
    assert_eq!(answer, json!({"type": "pong"}), "messages are not subscribed");
}

#[tokio::test]
async fn forbidden_origin_is_reported_by_a_close_code_with_the_origin() {
    let world = shared().await;
    let url = world.live_url("channel=origins");
    let long = format!("https://{}.example", "x".repeat(200));
    for origin in ["https://evil.example", "http://localhost.evil.example", "null", &long] {
        let opening = UpgradeRequest::new(&url).header("origin", origin);
        let mut live = opening.send().await.expect("the upgrade is accepted");
        let reason = format!("origin_not_allowed: {origin}");
        let reason = reason[..reason.len().min(123)].to_owned();
        assert_eq!(live.receive().await, SocketEvent::Close(4504, reason), "nothing is delivered");
        assert!(live.is_closed_by_server().await, "{origin}");
    }
    let own = world.url(Service::WsFanout, "");
    for origin in [own.as_str(), "http://localhost:3000"] {
        let opened = UpgradeRequest::new(&url).header("origin", origin).send().await;
        let mut live = opened.unwrap_or_else(|error| panic!("{origin}: {error:?}"));
        assert_eq!(live.next_frame().await["type"], "hello", "{origin}");
    }
}

#[tokio::test]
async fn without_allowed_origins_only_the_same_origin_is_accepted_and_others_are_logged_once() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_HTTP__ALLOWED_ORIGINS", "")]).await;
    let url = feed_url(&fanout, "channel=origins");
    let other_origin = "http://localhost:3000";
    for _ in 0..2 {
        let opening = UpgradeRequest::new(&url).header("origin", other_origin);
        let mut live = opening.send().await.expect("the upgrade is accepted");
        assert_eq!(live.next_close().await.0, 4504);
    }
    let own = format!("http://{}", fanout.http.expect("the service accepts requests"));
    for origin in [None, Some(&own)] {
        let opening = UpgradeRequest::new(&url);
        let opening = match origin {
            Some(origin) => opening.header("origin", origin),
            None => opening,
        };
        let mut live = opening.send().await.unwrap_or_else(|error| panic!("{origin:?}: {error:?}"));
        assert_eq!(live.next_frame().await["type"], "hello", "{origin:?}");
    }
    let (_, _, log) = fanout.terminate(DEFAULT_TIMEOUT).await;
    let logged =
        log.iter().filter(|line| line.contains(other_origin) && line.contains("WARN")).count();
    assert_eq!(logged, 1, "{log:?}");
}

/// In DNS rebinding, the host and the origin are those of the attacker.
#[tokio::test]
async fn forbidden_host_is_reported_by_a_close_code_and_logged_once() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_HTTP__ALLOWED_HOSTS", "127.0.0.1")]).await;
    let url = feed_url(&fanout, "channel=hosts");
    let host = "evil.example:8080";
    let origin = format!("http://{host}");
    for _ in 0..2 {
        let opening = UpgradeRequest::new(&url).header("host", host).header("origin", &origin);
        let mut live = opening.send().await.expect("the upgrade is accepted");
        let reason = format!("host_not_allowed: {host}");
        assert_eq!(live.receive().await, SocketEvent::Close(4504, reason), "nothing is delivered");
        assert!(live.is_closed_by_server().await);
    }
    let old = UpgradeRequest::new(&url).header("host", host).header("sec-websocket-version", "8");
    old.expect_rejection().await.expect_problem(403, "forbidden");
    let mut live = UpgradeRequest::new(&url).send().await.expect("the host is allowed");
    assert_eq!(live.next_frame().await["type"], "hello");
    let (_, _, log) = fanout.terminate(DEFAULT_TIMEOUT).await;
    let logged = log.iter().filter(|line| line.contains(host) && line.contains("WARN")).count();
    assert_eq!(logged, 1, "{log:?}");
}

#[tokio::test]
async fn request_without_upgrade_or_with_another_version_returns_426() {
    let world = shared().await;
    let url = world.live_url("channel=versions");
    let plain = ApiResponse::send(world.http.get(&url)).await;
    let old =
        UpgradeRequest::new(&url).header("sec-websocket-version", "8").expect_rejection().await;
    for answer in [plain, old] {
        assert_eq!(answer.status, 426, "{}", answer.text());
        assert!(answer.header("upgrade").eq_ignore_ascii_case("websocket"), "{answer:?}");
        assert_eq!(answer.header("sec-websocket-version"), "13");
    }
    for (name, value) in [("sec-websocket-key", "too short"), ("sec-websocket-key", "")] {
        let refused = UpgradeRequest::new(&url).header(name, value).expect_rejection().await;
        assert_eq!(refused.status, 400, "{name}: {value}");
    }
    let post = world.http.post(&url).header("upgrade", "websocket").header("connection", "upgrade");
    ApiResponse::send(post).await.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn headers_are_case_insensitive_lists() {
    let world = shared().await;
    let opening = UpgradeRequest::new(&world.live_url("channel=lists"));
    let opening =
        opening.header("connection", "keep-alive, upGRADE").header("upgrade", "WebSocket");
    opening.send().await.expect("the socket opens");
}

#[tokio::test]
async fn offered_extensions_and_protocols_are_not_accepted() {
    let world = shared().await;
    let opening = UpgradeRequest::new(&world.live_url("channel=compression"));
    let opening = opening
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-other")
        .header("accept-encoding", "gzip, br");
    let mut live = opening.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
    post_text(&world, "compression", &"plain ".repeat(500)).await;
    assert_eq!(live.next_frame().await["type"], "message");
}

#[tokio::test]
async fn socket_over_the_connection_limit_is_rejected_until_one_closes() {
    let world = shared().await;
    let fanout = start_instance(&world, &[("MAYFLY_FANOUT__CONNECTIONS_MAX", "2")]).await;
    let url = feed_url(&fanout, "channel=limit");
    let (first, _) = LiveSocket::connect_with_hello(&url).await;
    let (_second, _) = LiveSocket::connect_with_hello(&url).await;
    let refused = UpgradeRequest::new(&url).expect_rejection().await;
    refused.expect_problem(503, "overloaded");
    assert!(read_metrics(&world, &fanout).await.sum("connections") <= 2);
    first.close().await;
    let opened = async || UpgradeRequest::new(&url).send().await;
    mayfly_tests::eventually(DEFAULT_TIMEOUT, "a connection is accepted again", opened).await;
}

#[tokio::test]
async fn frames_sent_with_the_handshake_are_processed() {
    let world = shared().await;
    let mut live = LiveSocket::connect(&world.live_url("channel=along")).await;
    // Sent before `hello` is read.
    for _ in 0..3 {
        live.send_text(r#"{"type":"ping"}"#).await;
    }
    for kind in ["hello", "pong", "pong", "pong"] {
        assert_eq!(live.next_frame().await["type"], kind);
    }
}
