//! Bodies that come too slowly, or not at all.

use std::time::{Duration, Instant};

use mayfly_tests::{Setup, World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends the head of a request and a piece of its body now and then; gives the answer, and after
/// how long it came.
async fn trickle(world: &World, length: &str) -> (String, Duration) {
    let address = world.ingest("").replace("http://", "");
    let started = Instant::now();
    let stream = TcpStream::connect(&address).await.expect("it listens");
    let (mut from, mut to) = stream.into_split();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.expect("it reads");
    let trickling = tokio::spawn(async move {
        while to.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = Vec::new();
    // The answer ends when the connection does.
    from.read_to_end(&mut answer).await.ok();
    trickling.abort();
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

#[tokio::test]
async fn a_body_that_trickles_is_408_and_its_connection_closed() {
    let world = Setup::new().set("MAYFLY_HTTP__BODY_TIMEOUT", "2s").start().await;
    for length in ["content-length: 5000", "transfer-encoding: chunked"] {
        let (answer, after) = trickle(&world, length).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{length}: {answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
        assert!(
            after > Duration::from_millis(1_900) && after < Duration::from_secs(20),
            "{after:?}"
        );
    }
}
