//! Invalid request targets, and heads that do not arrive in time.

use tokio::io::AsyncWriteExt;

use crate::server::{exchange, read_to_end, read_until, start};

const ALLOWED: (&str, &str) = ("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://example.org");

#[tokio::test]
async fn invalid_target_is_rejected_with_a_problem_that_a_page_can_read() {
    let server = start(&[ALLOWED]).await;
    let long = format!("/{}", "x".repeat(70_000));
    for (target, name) in [
        ("/v1/messages/<id>", "%3C"),
        ("/query?username=\"x\"", "%22"),
        ("/a b", "a space"),
        ("/ü", "a non-ASCII character"),
        (long.as_str(), "longer than"),
        ("http://[a/", "not a valid path"),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nOrigin: https://example.org\r\nX-Request-Id: mine\r\n\
             Connection: close\r\n\r\n"
        );
        let response = exchange(&mut server.connect().await, &request).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{target:.20}: {response}");
        for part in [
            "content-type: application/problem+json",
            "\"code\":\"invalid_field\"",
            "x-request-id: mine",
            "access-control-allow-origin: https://example.org",
            "cache-control: no-store",
            name,
        ] {
            assert!(response.contains(part), "{target:.20}: {part} is not in {response}");
        }
    }
}

#[tokio::test]
async fn invalid_target_affects_only_its_own_request() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    let requests = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /<x> HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /\
        GET /ids HTTP/1.1\r\nHost: x\r\nX-Request-Id: last\r\nConnection: close\r\n\r\n";
    let responses = exchange(&mut connection, requests).await;
    let statuses: Vec<_> =
        responses.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200"], "{responses}");
    assert!(responses.contains("\r\n\r\nlast "), "{responses}");
}

#[tokio::test]
async fn late_head_is_408_on_new_and_used_connections() {
    let server = start(&[("MAYFLY_HTTP__BODY_TIMEOUT", "500ms")]).await;
    let mut new = server.connect().await;
    new.write_all(b"GET /plain HTTP/1.1\r\nHos").await.expect("written");
    let mut used = server.connect().await;
    used.write_all(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    read_until(&mut used, "\r\n\r\nplain").await;
    used.write_all(b"GET /").await.expect("written");
    for connection in [&mut new, &mut used] {
        let response = read_to_end(connection).await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        assert!(response.contains("\"code\":\"request_timeout\""), "{response}");
        assert!(response.contains("connection: close"), "{response}");
    }
}

#[tokio::test]
async fn idle_connection_is_not_late() {
    let server = start(&[("MAYFLY_HTTP__BODY_TIMEOUT", "300ms")]).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    read_until(&mut idle, "\r\n\r\nplain").await;
    // While this head exceeds the time limit, `idle` is also idle for longer than the time limit.
    let mut slow = server.connect().await;
    slow.write_all(b"GET /").await.expect("written");
    read_to_end(&mut slow).await;
    idle.write_all(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    read_until(&mut idle, "\r\n\r\nplain").await;
}

#[tokio::test]
async fn head_that_is_too_large_is_rejected() {
    let server = start(&[]).await;
    let mut head = "GET /plain HTTP/1.1\r\nHost: x\r\nX: ".to_owned();
    // The server reads exactly this number of bytes. Unread bytes would cause a reset.
    head.extend(std::iter::repeat_n('x', 128 * 1024 - head.len()));
    let response = exchange(&mut server.connect().await, &head).await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
}
