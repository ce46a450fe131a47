//! Drain: no well-behaved client is disconnected.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::server::{read_to_end, read_until, start};

const GET: &str = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn draining_server_accepts_requests_and_asks_to_close() {
    let server = start(&[("MAYFLY_HTTP__DRAIN_DELAY", "2s")]).await;
    let mut existing = server.connect().await;
    existing.write_all(GET.as_bytes()).await.expect("written");
    let before = read_until(&mut existing, "\r\n\r\nplain").await;
    assert!(!before.contains("connection: close"), "{before}");

    server.process.lifecycle.drain();
    existing.write_all(GET.as_bytes()).await.expect("written");
    let response = read_to_end(&mut existing).await;
    assert!(response.contains("connection: close") && response.ends_with("plain"), "{response}");

    let mut new = server.connect().await;
    new.write_all(GET.as_bytes()).await.expect("written");
    let response = read_to_end(&mut new).await;
    assert!(response.contains("connection: close") && response.ends_with("plain"), "{response}");
    server.wait_for_exit().await.expect("a clean exit");
}

#[tokio::test]
async fn slow_request_in_progress_is_completed() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    connection.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    server.started.acquire().await.expect("the request starts").forget();
    server.process.lifecycle.drain();
    // The port is closed while the request is still in progress.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.finish.add_permits(1);
    let response = read_to_end(&mut connection).await;
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("slow"), "{response}");
    server.wait_for_exit().await.expect("a clean exit");
}

#[tokio::test]
async fn idle_connection_does_not_delay_shutdown() {
    let server = start(&[]).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.expect("written");
    read_until(&mut idle, "plain").await;
    let untouched = server.connect().await;
    server.process.lifecycle.drain();
    assert_eq!(read_to_end(&mut idle).await, "");
    server.wait_for_exit().await.expect("a clean exit");
    drop(untouched);
}

#[tokio::test]
async fn clients_that_honor_close_see_no_reset() {
    let server = start(&[("MAYFLY_HTTP__DRAIN_DELAY", "1s")]).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(server.connect().await);
    }
    let clients: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(send_until_close(connection)))
        .collect();
    server.process.lifecycle.drain();
    for client in clients {
        client.await.expect("no reset");
    }
    server.wait_for_exit().await.expect("a clean exit");
}

/// Sends requests on one connection until a response asks to close it.
async fn send_until_close(mut connection: TcpStream) {
    loop {
        connection.write_all(GET.as_bytes()).await.expect("written");
        let response = read_until(&mut connection, "\r\n\r\nplain").await;
        if response.contains("connection: close") {
            assert_eq!(read_to_end(&mut connection).await, "");
            return;
        }
    }
}
