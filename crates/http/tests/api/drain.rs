//! How a server leaves: nobody who behaves is cut off.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::server::{read_to_end, read_until, start};

const GET: &str = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_server_that_drains_takes_requests_on_and_asks_to_close() {
    let server = start(&[("MAYFLY_HTTP__DRAIN_DELAY", "2s")]).await;
    let mut kept = server.connect().await;
    kept.write_all(GET.as_bytes()).await.expect("written");
    let before = read_until(&mut kept, "\r\n\r\nplain").await;
    assert!(!before.contains("connection: close"), "{before}");

    server.process.lifecycle.drain();
    kept.write_all(GET.as_bytes()).await.expect("written");
    let answer = read_to_end(&mut kept).await;
    assert!(answer.contains("connection: close") && answer.ends_with("plain"), "{answer}");

    let mut fresh = server.connect().await;
    fresh.write_all(GET.as_bytes()).await.expect("written");
    let answer = read_to_end(&mut fresh).await;
    assert!(answer.contains("connection: close") && answer.ends_with("plain"), "{answer}");
    server.ended().await.expect("a clean end");
}

#[tokio::test]
async fn a_slow_request_under_way_is_finished() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    connection.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    server.began.acquire().await.expect("begun").forget();
    server.process.lifecycle.drain();
    // Nothing more is accepted from here on, and the request is still there.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.may_end.add_permits(1);
    let answer = read_to_end(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("slow"), "{answer}");
    server.ended().await.expect("a clean end");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let server = start(&[]).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.expect("written");
    read_until(&mut idle, "plain").await;
    let untouched = server.connect().await;
    server.process.lifecycle.drain();
    assert_eq!(read_to_end(&mut idle).await, "");
    server.ended().await.expect("a clean end");
    drop(untouched);
}

#[tokio::test]
async fn no_client_that_heeds_close_meets_a_reset() {
    let server = start(&[("MAYFLY_HTTP__DRAIN_DELAY", "1s")]).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(server.connect().await);
    }
    let clients: Vec<_> =
        connections.into_iter().map(|it| tokio::spawn(ask_until_closed(it))).collect();
    server.process.lifecycle.drain();
    for client in clients {
        client.await.expect("no reset");
    }
    server.ended().await.expect("a clean end");
}

/// Sends request after request on one connection until an answer asks to close it.
async fn ask_until_closed(mut connection: TcpStream) {
    loop {
        connection.write_all(GET.as_bytes()).await.expect("written");
        let answer = read_until(&mut connection, "\r\n\r\nplain").await;
        if answer.contains("connection: close") {
            assert_eq!(read_to_end(&mut connection).await, "");
            return;
        }
    }
}
