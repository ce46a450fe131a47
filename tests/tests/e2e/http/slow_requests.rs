//! Request bodies that arrive too slowly.

use std::time::{Duration, Instant};

use mayfly_tests::{Setup, World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends the head of a request and then small body chunks. Returns the response and the time until
/// it was complete.
async fn trickle(world: &World, length: &str) -> (String, Duration) {
    let address = world.ingest_url("").replace("http://", "");
    let started = Instant::now();
    let stream = TcpStream::connect(&address).await.expect("the service listens");
    let (mut from, mut to) = stream.into_split();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.expect("the head is sent");
    let sender = tokio::spawn(async move {
        while to.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut response = Vec::new();
    // The server closes the connection after the response.
    from.read_to_end(&mut response).await.ok();
    sender.abort();
    (String::from_utf8_lossy(&response).into_owned(), started.elapsed())
}

#[tokio::test]
async fn slow_body_returns_408_and_closes_the_connection() {
    let world = Setup::new().set("MAYFLY_HTTP__BODY_TIMEOUT", "2s").start().await;
    for length in ["content-length: 5000", "transfer-encoding: chunked"] {
        let (response, elapsed) = trickle(&world, length).await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{length}: {response}");
        assert!(response.contains("\"code\":\"request_timeout\""), "{response}");
        assert!(
            elapsed > Duration::from_millis(1_900) && elapsed < Duration::from_secs(20),
            "{elapsed:?}"
        );
    }
}
