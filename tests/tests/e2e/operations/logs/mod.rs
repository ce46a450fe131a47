//! The number of log lines about failed requests does not depend on the number of requests.

mod secrets;

use std::{net::SocketAddr, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, ServiceProcess};
use reqwest::Client;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const REQUESTS: usize = 50;

/// Sends bytes and waits until the server has closed the connection.
async fn send_raw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.write_all(bytes).await.expect("the server reads");
    stream.shutdown().await.expect("the connection is open");
    // The server may reset the connection.
    drop(stream.read_to_end(&mut Vec::new()).await);
}

#[tokio::test]
async fn outage_has_few_lines_with_all_request_ids_and_malformed_requests_have_none() {
    let process = ServiceProcess::start_without_stores(Service::IngestApi, None).await;
    let client = Client::builder().timeout(DEFAULT_TIMEOUT).build().expect("a client");
    for number in 0..REQUESTS {
        let request = client
            .post(process.url("/v1/messages"))
            .header("X-Request-Id", format!("failed-{number:02}"))
            .json(&json!({"text": "hello"}));
        assert_eq!(ApiResponse::send(request).await.status, 503);
    }
    let address = process.http.expect("a public port");
    for bytes in [
        b"\x16\x03\x01\x02\x00".as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
    ] {
        for _ in 0..REQUESTS {
            send_raw(address, bytes).await;
        }
    }

    let (_, _, log) = process.terminate(Duration::from_secs(30)).await;
    let lines =
        |level: &str| -> Vec<&String> { log.iter().filter(|line| line.contains(level)).collect() };
    // One when the outage begins, others after 1 s, 2 s, 4 s and so on, and one at exit.
    let errors = lines(" ERROR ");
    assert!((2..9).contains(&errors.len()), "{errors:#?}");
    for text in ["request failed", "failed-00", "/v1/messages", "unavailable", "refused"] {
        assert!(errors[0].contains(text), "{text}: {errors:#?}");
    }
    for number in 0..REQUESTS {
        let id = format!("failed-{number:02}");
        let found = errors.iter().filter(|line| line.contains(&id)).count();
        assert_eq!(found, 1, "{id}: {errors:#?}");
    }
    let down: Vec<_> =
        lines(" WARN ").into_iter().filter(|line| line.contains("component is down")).collect();
    assert!(down.len() <= 2 && down[0].contains("redis"), "{down:#?}");
    assert!(lines(" WARN ").len() <= 4, "{log:#?}");
}
