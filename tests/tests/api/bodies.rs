//! Request bodies: media types, sizes, timeouts and memory.

use std::fmt::Write;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::server::{TestServer, exchange, problem, read_to_end, read_until, start};

#[tokio::test]
async fn json_media_types_are_accepted() {
    let server = start(&[]).await;
    for kind in [
        "application/json",
        "application/json; charset=UTF-8",
        "Application/JSON;charset=\"utf-8\"",
        "application/vnd.x+json",
    ] {
        let response = server
            .post("/plain")
            .header("content-type", kind)
            .body("{}")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.status(), 200, "{kind}");
        assert_eq!(response.text().await.expect("a body"), "{}");
    }
}

#[tokio::test]
async fn other_media_types_and_encodings_are_rejected() {
    let server = start(&[]).await;
    for kind in [
        "",
        "text/plain",
        "application/json; charset=latin1",
        "application/x-ndjson",
        "application/+json",
        "json",
    ] {
        let response = server
            .post("/plain")
            .header("content-type", kind)
            .body("{}")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.status(), 415, "{kind}");
        assert_eq!(problem(response).await["code"], "unsupported_media_type");
    }
    let response = server.post("/plain").body("{}").send().await.expect("a response");
    assert_eq!(response.status(), 415);
    let request = server
        .post("/plain")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    assert_eq!(request.body("{}").send().await.expect("a response").status(), 415);
    let request = server
        .post("/plain")
        .header("content-type", "application/json")
        .header("content-encoding", "identity");
    assert_eq!(request.body("{}").send().await.expect("a response").status(), 200);
}

#[tokio::test]
async fn documents_are_accepted_as_array_or_lines() {
    let server = start(&[]).await;
    for (kind, answer) in [("application/json", "Json 2"), ("application/x-ndjson", "Ndjson 2")] {
        let response = server
            .post("/documents")
            .header("content-type", kind)
            .body("[]")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.text().await.expect("a body"), answer);
    }
}

#[tokio::test]
async fn body_above_the_limit_is_413() {
    let server = start(&[]).await;
    let post = |bytes: usize| {
        server
            .post("/documents")
            .header("content-type", "application/json")
            .body("x".repeat(bytes))
            .send()
    };
    assert_eq!(post(1000).await.expect("a response").status(), 200);
    for bytes in [1001, 500_000] {
        let response = post(bytes).await.expect("a response and no reset");
        assert_eq!(response.status(), 413);
        assert_eq!(problem(response).await["code"], "body_too_large");
    }
}

#[tokio::test]
async fn chunked_body_above_the_limit_is_413() {
    let server = start(&[]).await;
    let mut request = String::from(
        "POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..50 {
        write!(request, "64\r\n{}\r\n", "x".repeat(100)).expect("text");
    }
    request.push_str("0\r\n\r\n");
    let response = exchange(&mut server.connect().await, &request).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    assert!(response.contains("\"code\":\"body_too_large\""), "{response}");
}

#[tokio::test]
async fn body_in_many_pieces_is_concatenated() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    let head = "POST /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n";
    connection.write_all(head.as_bytes()).await.expect("written");
    for piece in ["01234", "56789", "abcde", "fghij"] {
        connection.write_all(piece.as_bytes()).await.expect("written");
        connection.flush().await.expect("flushed");
        tokio::task::yield_now().await;
    }
    let response = read_to_end(&mut connection).await;
    assert!(response.ends_with("\r\n\r\n0123456789abcdefghij"), "{response}");
}

#[tokio::test]
async fn slow_body_is_408_independent_of_the_request_timeout() {
    let server =
        start(&[("MAYFLY_HTTP__BODY_TIMEOUT", "300ms"), ("MAYFLY_HTTP__REQUEST_TIMEOUT", "100ms")])
            .await;
    for framing in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
    {
        let head = format!(
            "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}"
        );
        let response = exchange(&mut server.connect().await, &head).await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        assert!(response.contains("\"code\":\"request_timeout\""), "{response}");
        assert!(response.contains("connection: close"), "{response}");
    }
}

#[tokio::test]
async fn form_is_parsed_like_a_query() {
    let server = start(&[]).await;
    let post = |body: &'static str| {
        server
            .post("/form")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
    };
    let response = post("username=fred+f%C3%BCr&channel=a&channel=b").await.expect("a response");
    assert_eq!(response.status(), 200);
    let read: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(read["username"], "fred für");
    assert_eq!(read["channel"], serde_json::json!(["a", "b"]));
    assert_eq!(post("user=fred").await.expect("a response").status(), 400);
}

#[tokio::test]
async fn unread_body_without_end_closes_the_connection() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    let head = "POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    let response = exchange(&mut connection, head).await;
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
}

/// Sends a request that declares a body of `length` bytes but contains only its first `sent` bytes.
async fn send_part(server: &TestServer, length: usize, sent: usize) -> TcpStream {
    let mut connection = server.connect().await;
    let head = format!(
        "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("written");
    connection.write_all(&vec![b'x'; sent]).await.expect("written");
    connection
}

async fn post_json(server: &TestServer, bytes: usize) -> reqwest::Response {
    let request = server.post("/plain").header("content-type", "application/json");
    request.body("x".repeat(bytes)).send().await.expect("a response and no reset")
}

/// Posts bodies of this size until one is refused.
async fn wait_until_refused(server: &TestServer, bytes: usize) -> reqwest::Response {
    for _ in 0..10_000 {
        let response = post_json(server, bytes).await;
        if response.status() != 200 {
            return response;
        }
    }
    panic!("no body is refused")
}

#[tokio::test]
async fn bodies_above_the_memory_limit_are_refused() {
    let server = start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "40KiB")]).await;
    let mut held = send_part(&server, 30_000, 29_999).await;
    let refused = wait_until_refused(&server, 20_000).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = problem(refused).await;
    assert_eq!(refused["code"], "overloaded");
    assert!(refused["detail"].as_str().expect("text").contains("Nothing was written"), "{refused}");
    assert_eq!(post_json(&server, 5_000).await.status(), 200, "a smaller body fits");
    held.write_all(b"x").await.expect("written");
    let response = read_until(&mut held, &"x".repeat(30_000)).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response:.100}");
    assert_eq!(post_json(&server, 20_000).await.status(), 200, "the memory is released");
}

#[tokio::test]
async fn memory_grows_with_the_received_bytes() {
    let server = start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "40KiB")]).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = send_part(&server, 30_000, 1).await;
        connection.write_all(b"x").await.expect("written");
        connections.push(connection);
    }
    for _ in 0..20 {
        assert_eq!(post_json(&server, 30_000).await.status(), 200);
    }
}

#[tokio::test]
async fn connection_is_kept_if_the_refused_body_ends_soon() {
    let server = start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "40KiB")]).await;
    let mut connection = send_part(&server, 50_000, 50_000).await;
    let response = read_until(&mut connection, "\"instance\"").await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(!response.contains("connection: close"), "{response}");
    let next = "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = exchange(&mut connection, next).await;
    assert!(response.contains("HTTP/1.1 200 "), "{response}");

    let mut slow = send_part(&server, 60_000, 45_000).await;
    let response = read_to_end(&mut slow).await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("connection: close"), "{response}");
}

#[tokio::test]
async fn body_that_is_too_slow_releases_its_memory() {
    let server =
        start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "40KiB"), ("MAYFLY_HTTP__BODY_TIMEOUT", "1s")])
            .await;
    let mut slow = send_part(&server, 30_000, 29_999).await;
    assert_eq!(wait_until_refused(&server, 20_000).await.status(), 503);
    let response = read_to_end(&mut slow).await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert_eq!(post_json(&server, 20_000).await.status(), 200);
}
