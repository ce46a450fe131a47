//! How a socket is opened, and how it is refused.

use mayfly_stack::Service;
use mayfly_tests::{
    Answer, PATIENCE,
    live::{Live, Opening},
};
use serde_json::json;

use super::{metrics_of, say, shared, start_own, url_of};

#[tokio::test]
async fn the_paths_of_old_upgrade_too_and_others_are_not_found() {
    let world = shared().await;
    for path in ["/v1/live", "/", "/ws", "/echo"] {
        let (mut live, _) =
            Live::hello(&world.url(Service::WsFanout, &format!("{path}?channel=paths"))).await;
        say(&world, "paths", "heard").await;
        assert_eq!(live.texts_until("heard").await, ["heard"], "{path}");
    }
    for path in ["/nowhere", "/v1", "/v1/live/more", "/ws/more"] {
        let refused = Opening::to(&world.url(Service::WsFanout, path)).refusal().await;
        refused.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_bad_query_is_told_by_a_close_code_after_the_upgrade() {
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
    ] {
        let mut live = Live::connect(&world.live(query)).await;
        let (code, reason) = live.next_close().await;
        assert_eq!(code, 4500, "{query}: {reason}");
        assert!(live.is_ended().await, "{query}");
    }
    let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
    let (code, _) = Live::connect(&world.live(&many.join("&"))).await.next_close().await;
    assert_eq!(code, 4501);
    Live::hello(&world.live(&many[1..].join("&"))).await;
}

#[tokio::test]
async fn feeds_are_a_list_or_repeated() {
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
        let (mut live, _) = Live::hello(&world.live(query)).await;
        live.send_text(r#"{"type":"subscribe","channels":["feeds"]}"#).await;
        assert_eq!(live.next_of("subscribed").await["feeds"], json!(feeds), "{query}");
        say(&world, "feeds", "heard").await;
        assert_eq!(live.next_of("message").await["message"]["text"], "heard");
    }
    let (mut live, _) = Live::hello(&world.live("feed=plays&channel=feeds")).await;
    say(&world, "feeds", "unheard").await;
    let answer = live.ask(&json!({"type": "ping"})).await;
    assert_eq!(answer, json!({"type": "pong"}), "messages were not asked for");
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_open_a_socket() {
    let world = shared().await;
    let url = world.live("channel=origins");
    for origin in ["https://evil.example", "http://localhost.evil.example", "null"] {
        let refused = Opening::to(&url).header("origin", origin).refusal().await;
        refused.expect_problem(403, "forbidden");
    }
    let own = world.url(Service::WsFanout, "");
    for origin in [own.as_str(), "http://localhost:3000"] {
        let opened = Opening::to(&url).header("origin", origin).send().await;
        opened.unwrap_or_else(|error| panic!("{origin}: {error:?}"));
    }
}

#[tokio::test]
async fn where_no_origin_is_allowed_only_the_own_one_may() {
    let world = shared().await;
    let fanout = start_own(&world, &[("MAYFLY_HTTP__ALLOWED_ORIGINS", "")]).await;
    let url = url_of(&fanout, "channel=origins");
    let refused = Opening::to(&url).header("origin", "http://localhost:3000").refusal().await;
    refused.expect_problem(403, "forbidden");
    let own = format!("http://{}", fanout.http.expect("it takes requests"));
    for origin in [None, Some(&own)] {
        let opening = Opening::to(&url);
        let opening = match origin {
            Some(origin) => opening.header("origin", origin),
            None => opening,
        };
        opening.send().await.unwrap_or_else(|error| panic!("{origin:?}: {error:?}"));
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_or_of_another_version_is_answered_426() {
    let world = shared().await;
    let url = world.live("channel=versions");
    let plain = Answer::of(world.http.get(&url)).await;
    let old = Opening::to(&url).header("sec-websocket-version", "8").refusal().await;
    for answer in [plain, old] {
        assert_eq!(answer.status, 426, "{}", answer.text());
        assert!(answer.header("upgrade").eq_ignore_ascii_case("websocket"), "{answer:?}");
        assert_eq!(answer.header("sec-websocket-version"), "13");
    }
    for (name, value) in [("sec-websocket-key", "too short"), ("sec-websocket-key", "")] {
        let refused = Opening::to(&url).header(name, value).refusal().await;
        assert_eq!(refused.status, 400, "{name}: {value}");
    }
    let post = world.http.post(&url).header("upgrade", "websocket").header("connection", "upgrade");
    Answer::of(post).await.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn headers_are_read_as_lists_whatever_their_case() {
    let world = shared().await;
    let opening = Opening::to(&world.live("channel=lists"));
    let opening =
        opening.header("connection", "keep-alive, upGRADE").header("upgrade", "WebSocket");
    opening.send().await.expect("it is opened");
}

#[tokio::test]
async fn compression_and_protocols_that_are_offered_are_not_taken_up() {
    let world = shared().await;
    let opening = Opening::to(&world.live("channel=compression"));
    let opening = opening
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-other")
        .header("accept-encoding", "gzip, br");
    let mut live = opening.send().await.expect("it is opened");
    assert_eq!(live.next_frame().await["type"], "hello");
    say(&world, "compression", &"plain ".repeat(500)).await;
    assert_eq!(live.next_frame().await["type"], "message");
}

#[tokio::test]
async fn beyond_the_limit_of_connections_a_socket_is_refused_until_one_closes() {
    let world = shared().await;
    let fanout = start_own(&world, &[("MAYFLY_FANOUT__CONNECTIONS_MAX", "2")]).await;
    let url = url_of(&fanout, "channel=limit");
    let (first, _) = Live::hello(&url).await;
    let (_second, _) = Live::hello(&url).await;
    let refused = Opening::to(&url).refusal().await;
    refused.expect_problem(503, "overloaded");
    assert!(metrics_of(&world, &fanout).await.sum("connections") <= 2);
    first.close().await;
    let opened = async || Opening::to(&url).send().await;
    mayfly_tests::eventually(PATIENCE, "there is room again", opened).await;
}

#[tokio::test]
async fn what_a_client_sends_along_with_its_request_is_not_lost() {
    let world = shared().await;
    let mut live = Live::connect(&world.live("channel=along")).await;
    // Before its hello is read.
    for _ in 0..3 {
        live.send_text(r#"{"type":"ping"}"#).await;
    }
    for kind in ["hello", "pong", "pong", "pong"] {
        assert_eq!(live.next_frame().await["type"], kind);
    }
}
