//! Many connections that send one byte per second.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    live::{FIN, LiveSocket, encode, opcode},
    short_or_full,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{
    Target, address,
    bystanders::{check_attack, expect_end},
    shared,
};

/// The interval between two bytes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sends the first part of a request immediately and the rest byte by byte, and returns the
/// response.
async fn trickle(address: &str, first: &str, rest: &str) -> String {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    let (mut from, mut to) = stream.into_split();
    let (first, rest) = (first.to_owned(), rest.to_owned());
    let sender = tokio::spawn(async move {
        let mut is_open = to.write_all(first.as_bytes()).await.is_ok();
        for byte in rest.as_bytes() {
            if !is_open {
                return;
            }
            sleep(INTERVAL).await;
            is_open = to.write_all(&[*byte]).await.is_ok();
        }
        // The connection stays open, so the service must close it.
        std::future::pending::<()>().await;
    });
    let mut response = Vec::new();
    // The server closes the connection after the response, possibly with a reset.
    from.read_to_end(&mut response).await.ok();
    sender.abort();
    String::from_utf8_lossy(&response).into_owned()
}

/// Sends the head of a request.
async fn send_head(target: &Target, service: Service) {
    let address = address(target, service);
    let rest = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x-slow: 1\r\n".repeat(20));
    let response = expect_end("head", trickle(&address, "", &rest)).await;
    // If the connection was idle at first, the HTTP library responds, without a problem.
    assert!(response.starts_with("HTTP/1.1 408 "), "{response:?}");
}

/// Sends the body of a request with valid credentials.
async fn send_body(target: &Target) {
    let address = address(target, Service::IngestApi);
    let first = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 60000\r\n\r\n",
        target.key
    );
    let response = expect_end("body", trickle(&address, &first, &" ".repeat(100))).await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response:?}");
    assert!(response.contains("\"code\":\"request_timeout\""), "{response}");
}

/// Sends the first frame of a live connection.
async fn send_first_frame(target: &Target) {
    let mut live = LiveSocket::connect(&target.world.live_url("connect=frame")).await;
    let frame = encode(FIN | opcode::TEXT, &[b' '; 100]);
    for byte in &frame {
        if live.send_raw(&[*byte]).await.is_err() {
            break;
        }
        let waiting = tokio::time::timeout(INTERVAL, live.next_text());
        if let Ok(Err((code, _))) = waiting.await {
            assert_eq!(code, 4502);
            return;
        }
    }
    panic!("the connection stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_send_one_byte_per_second_are_closed_and_affect_no_one() {
    let target = shared().await;
    let count = short_or_full(20, 125);
    check_attack(&target, "slow clients", async || {
        let attackers = (0..count).map(|_| async {
            tokio::join!(
                send_head(&target, Service::ListApi),
                send_head(&target, Service::WsFanout),
                send_body(&target),
                send_first_frame(&target),
            );
        });
        join_all(attackers).await;
    })
    .await;
}
