//! Connections: pipelined requests, and clients that do not read.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::server::{TestServer, exchange, read_to_end, read_until, start};

const GET: &str = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";
/// More bytes than the kernel buffers for a connection.
const LARGE: usize = 24 << 20;

/// Requests a large response and does not read it.
async fn request_unread(server: &TestServer, bytes: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let mut connection = socket.connect(server.address).await.expect("a connection");
    let request = format!("GET /held/{bytes} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("written");
    connection
}

async fn wait_for_release(server: &TestServer) {
    let released = server.released.acquire();
    let released = tokio::time::timeout(Duration::from_secs(20), released).await;
    released.expect("the response is released in time").expect("the semaphore is open").forget();
}

/// Reads until the connection is closed, and returns the number of bytes.
async fn count_bytes(connection: &mut TcpStream) -> usize {
    let mut chunk = vec![0; 1 << 20];
    let mut count = 0;
    while let Ok(read @ 1..) = connection.read(&mut chunk).await {
        count += read;
    }
    count
}

#[tokio::test]
async fn many_pipelined_requests_are_answered_in_order() {
    let server = start(&[]).await;
    let requests: String = (0..500)
        .map(|number| format!("GET /ids HTTP/1.1\r\nHost: x\r\nX-Request-Id: n{number}\r\n\r\n"))
        .chain(["GET /ids HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()])
        .collect();
    let responses = exchange(&mut server.connect().await, &requests).await;
    let mut from = 0;
    for number in 0..500 {
        let id = format!("\r\n\r\nn{number} ");
        from += responses[from..].find(&id).unwrap_or_else(|| panic!("{id} after {from}"));
    }
    assert_eq!(responses.matches("HTTP/1.1 200 ").count(), 501);
}

/// The server holds a large head until all earlier requests end, and reads a large body in parts.
#[tokio::test]
async fn large_pipelined_requests_are_answered_in_order() {
    const BYTES: usize = 60 << 10;
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    let large = "x".repeat(BYTES);
    let head = format!("Host: x\r\nX-Long: {large}\r\n");
    let post = format!("POST /plain HTTP/1.1\r\n{head}Content-Type: application/json\r\n");
    let requests = [
        GET,
        &format!("GET /stream HTTP/1.1\r\n{head}\r\n"),
        &format!("{post}Content-Length: {BYTES}\r\n\r\n{large}"),
        &format!("{post}Transfer-Encoding: chunked\r\n\r\n{BYTES:x}\r\n{large}\r\n0\r\n\r\n"),
        &format!("GET /stream HTTP/1.1\r\n{head}Content-Length: {BYTES}\r\n\r\n{large}"),
    ]
    .concat();
    let (mut read, mut write) = connection.split();
    let mut responses = String::new();
    let exchange = join(write.write_all(requests.as_bytes()), read.read_to_string(&mut responses));
    let (written, read) =
        tokio::time::timeout(Duration::from_secs(20), exchange).await.expect("in time");
    written.and(read.map(drop)).expect("no reset");
    let bodies: Vec<_> = responses.split("HTTP/1.1 200 OK").skip(1).collect();
    assert_eq!(bodies.len(), 5);
    for (body, end) in bodies.iter().zip(["plain", "stream\r\n0\r\n\r\n", &large, &large, ""]) {
        assert!(body.ends_with(end), "{body:.200}");
    }
}

#[tokio::test]
async fn requests_in_single_bytes_and_after_bodies_are_answered() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    connection.set_nodelay(true).expect("set");
    for byte in GET.bytes() {
        connection.write_all(&[byte]).await.expect("written");
        tokio::task::yield_now().await;
    }
    read_until(&mut connection, "\r\n\r\nplain").await;
    let json = "Host: x\r\nContent-Type: application/json\r\n";
    let requests = format!(
        "POST /plain HTTP/1.1\r\n{json}Content-Length: 4\r\n\r\n1234\
         POST /plain HTTP/1.1\r\n{json}Transfer-Encoding: chunked\r\n\r\n2\r\n56\r\n0\r\n\r\n\
         \r\nGET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let responses = exchange(&mut connection, &requests).await;
    let bodies: Vec<_> = responses
        .split("HTTP/1.1 200 OK")
        .filter_map(|response| response.split_once("\r\n\r\n").map(|(_, body)| body))
        .collect();
    assert_eq!(bodies, ["1234", "56", "plain"]);
}

/// Load balancers reuse idle connections, so the server must not close them first.
#[tokio::test]
async fn idle_connection_is_kept_open_for_the_configured_time() {
    let default = start(&[]).await;
    let mut kept = default.connect().await;
    let short = start(&[("MAYFLY_HTTP__KEEP_ALIVE", "1s")]).await;
    let mut closed = short.connect().await;
    for connection in [&mut kept, &mut closed] {
        connection.write_all(GET.as_bytes()).await.expect("written");
        read_until(connection, "\r\n\r\nplain").await;
    }
    let started = Instant::now();
    assert_eq!(read_to_end(&mut closed).await, "");
    assert!(started.elapsed() > Duration::from_millis(400), "{:?}", started.elapsed());
    kept.write_all(GET.as_bytes()).await.expect("written");
    read_until(&mut kept, "\r\n\r\nplain").await;
}

#[tokio::test]
async fn client_that_reads_nothing_is_disconnected() {
    let server = start(&[("MAYFLY_HTTP__WRITE_TIMEOUT", "300ms")]).await;
    let mut connection = request_unread(&server, LARGE).await;
    wait_for_release(&server).await;
    assert!(count_bytes(&mut connection).await < LARGE);
    let mut next = server.connect().await;
    next.write_all(GET.as_bytes()).await.expect("written");
    read_until(&mut next, "\r\n\r\nplain").await;
}

#[tokio::test]
async fn client_that_reads_slowly_receives_everything() {
    let server = start(&[("MAYFLY_HTTP__WRITE_TIMEOUT", "1s")]).await;
    let mut connection = request_unread(&server, LARGE).await;
    let mut chunk = vec![0; 256 << 10];
    let mut count = 0;
    let started = Instant::now();
    while count < LARGE {
        let read = connection.read(&mut chunk).await.expect("the connection is open");
        assert_ne!(read, 0, "closed after {count} bytes");
        count += read;
        // Each pause is shorter than the timeout, but all pauses together are longer.
        if started.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The server detects small reads, although the kernel buffers the response.
#[tokio::test]
async fn client_that_reads_a_few_kilobytes_at_a_time_is_not_disconnected() {
    const BYTES: usize = 256 << 10;
    let server = start(&[("MAYFLY_HTTP__WRITE_TIMEOUT", "1s")]).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    let mut connection = socket.connect(server.address).await.expect("a connection");
    let request = format!("GET /held/{BYTES} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("written");
    let (mut chunk, mut count) = (vec![0; 8 << 10], 0);
    while count < BYTES {
        let read = connection.read(&mut chunk).await.expect("the connection is open");
        assert_ne!(read, 0, "closed after {count} bytes");
        count += read;
        // 48 KiB per second.
        tokio::time::sleep(Duration::from_micros(read as u64 * 1_000_000 / (48 << 10))).await;
    }
}

#[tokio::test]
async fn connections_that_do_not_read_are_closed_above_the_limit() {
    let server = start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "40MiB")]).await;
    let mut first = request_unread(&server, LARGE).await;
    // The first connection must stall before the second one.
    read_until(&mut first, "HTTP/1.1 200 ").await;
    let mut second = request_unread(&server, LARGE).await;
    wait_for_release(&server).await;
    assert!(count_bytes(&mut first).await < LARGE, "the first client stalled first");
    let mut received = 0;
    let mut chunk = vec![0; 1 << 20];
    while received < LARGE {
        let read = second.read(&mut chunk).await.expect("the connection is open");
        assert_ne!(read, 0, "closed after {received} bytes");
        received += read;
    }
}

#[tokio::test]
async fn client_that_does_not_read_cannot_request_more() {
    let server = start(&[]).await;
    let mut connection = request_unread(&server, LARGE).await;
    // Without a limit, responses without a body would be appended to the unread response
    // indefinitely. The loop sends more bytes than the kernel buffers for a connection.
    let head = "HEAD /plain HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut sent = 0;
    while sent < 16 << 20 {
        let write = connection.write(head.as_bytes());
        match tokio::time::timeout(Duration::from_secs(1), write).await {
            Ok(written) => sent += written.expect("the connection is open"),
            Err(_) => return,
        }
    }
    panic!("the server is still reading after {sent} bytes");
}

/// A response without a body does not depend on the limits for response bodies.
#[tokio::test]
async fn client_that_does_not_read_cannot_request_small_responses_without_end() {
    let server = start(&[]).await;
    let mut connection = server.connect().await;
    let request = "GET /document HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n";
    connection.write_all(request.as_bytes()).await.expect("written");
    let response = read_until(&mut connection, "\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 304 "), "{response}");
    let requests = request.repeat(1000);
    let mut sent = 0;
    while sent < 16 << 20 {
        let write = connection.write_all(requests.as_bytes());
        match tokio::time::timeout(Duration::from_secs(1), write).await {
            Ok(written) => written.expect("the connection is open"),
            Err(_) => return,
        }
        sent += requests.len();
    }
    panic!("the server is still reading after {sent} bytes");
}

#[tokio::test]
async fn incomplete_heads_above_the_memory_limit_are_refused_and_release_memory() {
    let settings =
        [("MAYFLY_HTTP__BODIES_BYTES_MAX", "100KiB"), ("MAYFLY_HTTP__BODY_TIMEOUT", "2s")];
    let server = start(&settings).await;
    let head = format!("GET /plain HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(20 << 10));
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut connection = server.connect().await;
        connection.write_all(head.as_bytes()).await.expect("written");
        connections.push(connection);
    }
    let responses = join_all(connections.iter_mut().map(read_to_end)).await;
    let count = |status: &str| responses.iter().filter(|one| one.starts_with(status)).count();
    let (refused, late) = (count("HTTP/1.1 503 "), count("HTTP/1.1 408 "));
    assert!((3..8).contains(&refused) && refused + late == 8, "{responses:?}");
    let overloaded = responses.iter().filter(|one| one.contains("\"code\":\"overloaded\"")).count();
    assert_eq!(overloaded, refused);
    for _ in 0..4 {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        let response = exchange(&mut server.connect().await, &request).await;
        assert!(response.ends_with("\r\n\r\nplain"), "{response}");
    }
}
