//! Common response headers, and compression.

use std::io::Read;

use crate::server::start;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn request_id_is_echoed_and_passed_to_the_handler() {
    let server = start(&[]).await;
    let request =
        server.get("/ids").header("x-request-id", "my-id_1.2").header("traceparent", TRACE);
    let response = request.send().await.expect("a response");
    assert_eq!(response.headers()["x-request-id"], "my-id_1.2");
    assert_eq!(response.headers()["traceparent"], TRACE);
    assert_eq!(response.text().await.expect("a body"), format!("my-id_1.2 {TRACE}"));
}

#[tokio::test]
async fn invalid_request_id_and_traceparent_are_replaced() {
    let server = start(&[]).await;
    let request =
        server.get("/ids").header("x-request-id", "my id").header("traceparent", "00-0-0-0");
    let response = request.send().await.expect("a response");
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let trace = response.headers()["traceparent"].to_str().expect("text").to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(trace.len(), 55);
    assert_eq!(response.text().await.expect("a body"), format!("{id} {trace}"));
}

#[tokio::test]
async fn every_response_has_cache_control() {
    let server = start(&[]).await;
    for (method, path) in
        [("GET", "/plain"), ("GET", "/nowhere"), ("OPTIONS", "/chat"), ("PUT", "/plain")]
    {
        let response = server.request(method, path).send().await.expect("a response");
        assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
        assert!(response.headers().contains_key("x-request-id"), "{method} {path}");
    }
}

#[tokio::test]
async fn body_above_1_kib_is_compressed_if_accepted() {
    let server = start(&[]).await;
    for bytes in [1025, 200_000] {
        let path = format!("/text/{bytes}");
        let response = server
            .get(&path)
            .header("accept-encoding", "br, gzip")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["vary"], "Accept-Encoding");
        let length = response.headers()["content-length"].clone();
        let body = response.bytes().await.expect("a body");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "x".repeat(bytes));

        let head = server
            .request("HEAD", &path)
            .header("accept-encoding", "gzip")
            .send()
            .await
            .expect("a response");
        assert_eq!(head.headers()["content-encoding"], "gzip");
        assert_eq!(head.headers()["content-length"], length);

        let plain = server.get(&path).send().await.expect("a response");
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(plain.headers()["vary"], "Accept-Encoding");
    }
    let small = server
        .get("/text/1024")
        .header("accept-encoding", "gzip")
        .send()
        .await
        .expect("a response");
    assert!(!small.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn browsers_must_not_guess_the_type_of_a_response() {
    let server = start(&[]).await;
    for path in ["/plain", "/query", "/nowhere", "/problem/internal", "/docs", "/docs/errors"] {
        let response = server.get(path).send().await.expect("a response");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}
