//! The memory of open connections.

use std::net::SocketAddr;

use mayfly_stack::Service;
use mayfly_tests::{
    ServiceProcess,
    live::{raise_file_limit, rss_bytes},
    short_or_full,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const OPERATIONS: &str = include_str!("../../../../docs/OPERATIONS.md");
/// The memory of a connection in the formulas of ingest-api and list-api.
const CONNECTION: &str = "192KiB * http.connections_max";
const CONNECTION_BYTES: u64 = 192 * 1024;

/// Returns the head of a request with large headers, 120 KB in total.
fn large_head(request_line: &str, headers: &str) -> String {
    let large = format!("x-large: {}\r\n", "a".repeat(8_000)).repeat(15);
    format!("{request_line} HTTP/1.1\r\nhost: localhost\r\n{headers}{large}\r\n")
}

/// Opens a connection that stays open after its request has been answered.
async fn open_idle(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the service accepts");
    let head = large_head("GET /health", "");
    stream.write_all(head.as_bytes()).await.expect("the request is sent");
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.expect("a response");
    assert_eq!(&response, b"HTTP/1.1 200");
    stream
}

/// Opens a connection whose request has a complete head and one byte of its body.
async fn open_waiting(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the service accepts");
    let headers = "content-type: application/json\r\ncontent-length: 60000\r\n";
    let head = large_head("POST /v1/messages", headers);
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    stream.write_all(b"{").await.expect("a byte is sent");
    stream
}

/// Opens connections and asserts that each uses less memory than the formula states.
async fn assert_memory(service: Service, open: impl AsyncFn(SocketAddr) -> TcpStream) {
    raise_file_limit();
    let process = ServiceProcess::start_without_stores(service, None).await;
    let address = process.http.expect("a public port");
    // Every thread handles requests before the measurement.
    for _ in 0..20 {
        open_idle(address).await;
    }
    let before = rss_bytes(process.pid());
    let count = short_or_full(200, 1_000);
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(open(address).await);
    }
    for _ in 0..20 {
        open_idle(address).await;
    }
    let each = rss_bytes(process.pid()).saturating_sub(before) / count;
    println!("{}: {each} bytes per connection", service.name());
    assert!(each < CONNECTION_BYTES, "{}: {each} bytes per connection", service.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_uses_less_memory_than_the_formulas_state() {
    for service in ["ingest-api", "list-api"] {
        let row =
            OPERATIONS.lines().find(|line| line.starts_with(&format!("| {service} | `64MiB")));
        assert!(row.is_some_and(|row| row.contains(CONNECTION)), "{service}: {row:?}");
    }
    assert_memory(Service::IngestApi, open_waiting).await;
    assert_memory(Service::IngestApi, open_idle).await;
    assert_memory(Service::ListApi, open_idle).await;
}
