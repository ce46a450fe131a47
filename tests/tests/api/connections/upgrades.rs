//! WebSocket upgrades, before a service takes over the socket.

use actix_web::web::ServiceConfig;
use mayfly_http::{BoundListener, NoQuery, UpgradeRequest, serve_with_upgrades};
use mayfly_runtime::{Process, Service};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::{authenticator, exchange, public, settings};

const HEAD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Starts a server that echoes the bytes that it receives after an upgrade, or sends the host if it
/// is not allowed.
fn start(env: &[(&str, &str)]) -> std::net::SocketAddr {
    let process = Process::new(Service::WsFanout, settings(env));
    let listener = BoundListener::bind(process.settings.http.listen).expect("a free port");
    let address = listener.address();
    let local = || {
        let configure = |config: &mut ServiceConfig| {
            config.service(public("/plain").get(async |_: NoQuery| "plain"));
        };
        (configure, async |request: UpgradeRequest| {
            if request.path() != "/live" {
                return request.reject(mayfly_http::upgrade_required()).await;
            }
            let forbidden = request.find_forbidden_host().map(str::to_owned);
            let mut upgraded = request.accept().await.expect("the client is connected");
            if let Some(host) = forbidden {
                return upgraded.socket.write_all(host.as_bytes()).await.expect("written");
            }
            let mut bytes = upgraded.received.to_vec();
            while !bytes.ends_with(b"end") {
                upgraded.socket.read_buf(&mut bytes).await.expect("bytes");
            }
            upgraded.socket.write_all(&bytes).await.expect("written");
        })
    };
    let authenticator = authenticator(&process);
    tokio::spawn(async move {
        serve_with_upgrades(listener, &process, authenticator, local, std::future::pending()).await
    });
    address
}

async fn send(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    exchange(&mut connection, request).await
}

/// Without shared state, each socket would have its own connections to the stores.
#[tokio::test]
async fn sockets_of_both_families_share_the_state_of_a_thread() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    let env = [("MAYFLY_HTTP__LISTEN", "localhost:0"), ("MAYFLY_HTTP__WORKERS", "2")];
    let process = Process::new(Service::WsFanout, settings(&env));
    let listener = BoundListener::bind(process.settings.http.listen).expect("a free port");
    let addresses = listener.addresses().to_vec();
    let created = Arc::new(AtomicUsize::new(0));
    let local = {
        let created = Arc::clone(&created);
        move || {
            created.fetch_add(1, Ordering::Relaxed);
            (
                |_: &mut ServiceConfig| {},
                async |request: UpgradeRequest| {
                    request.reject(mayfly_http::upgrade_required()).await;
                },
            )
        }
    };
    let authenticator = authenticator(&process);
    tokio::spawn(async move {
        serve_with_upgrades(listener, &process, authenticator, local, std::future::pending()).await
    });
    for address in addresses {
        for request in ["GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"; 2] {
            let response = send(address, request).await;
            assert!(response.starts_with("HTTP/1.1 200 "), "{address}: {response}");
        }
    }
    assert_eq!(created.load(Ordering::Relaxed), 2, "one per thread");
}

#[tokio::test]
async fn bytes_after_the_handshake_belong_to_the_socket() {
    let address = start(&[]);
    for (first, rest) in [("", "all end"), ("in the same packet, ", "and later, end"), ("end", "")]
    {
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET /live HTTP/1.1\r\nHost: x\r\n{HEAD}\r\n{first}");
        connection.write_all(request.as_bytes()).await.expect("written");
        let response = exchange(&mut connection, rest).await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(response.ends_with(&format!("\r\n\r\n{first}{rest}")), "{response}");
    }
}

/// Bytes after a handshake are held until the request starts. The memory for them is limited.
#[tokio::test]
async fn upgrade_is_rejected_if_the_memory_for_its_bytes_is_exhausted() {
    let address = start(&[("MAYFLY_HTTP__BODIES_BYTES_MAX", "1KiB")]);
    let request = format!("GET /live HTTP/1.1\r\nHost: x\r\n{HEAD}\r\n");
    let response = send(address, &format!("{request}{}end", "x".repeat(4_000))).await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\"code\":\"overloaded\""), "{response}");
    assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "one response: {response}");
    let response = send(address, &format!("{request}end")).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.ends_with("\r\n\r\nend"), "the memory is released: {response}");
}

#[tokio::test]
async fn allowed_page_can_read_why_an_upgrade_is_rejected() {
    let address = start(&[("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://example.org")]);
    for target in ["/nowhere", "/<live>"] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nOrigin: https://example.org\r\n{HEAD}\r\n"
        );
        let response = send(address, &request).await;
        for part in [
            "content-type: application/problem+json",
            "access-control-allow-origin: https://example.org",
            "access-control-expose-headers: ",
            "x-content-type-options: nosniff",
            "x-request-id: ",
        ] {
            assert!(response.contains(part), "{target}: {part} is not in {response}");
        }
    }
    let request = format!("GET /no HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.net\r\n{HEAD}\r\n");
    let response = send(address, &request).await;
    assert!(!response.contains("access-control-allow-origin"), "{response}");
}

#[tokio::test]
async fn host_that_is_not_allowed_is_rejected_or_passed_to_the_handler_of_a_valid_handshake() {
    let address = start(&[("MAYFLY_HTTP__ALLOWED_HOSTS", "localhost")]);
    let request =
        |host: &str, head: &str| format!("GET /live HTTP/1.1\r\nHost: {host}\r\n{head}\r\n");
    let old = HEAD.replace("Version: 13", "Version: 8");
    let response = send(address, &request("evil.example", &old)).await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    assert!(response.contains("\"code\":\"forbidden\""), "{response}");
    let response = send(address, &request("evil.example:80", HEAD)).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.ends_with("\r\n\r\nevil.example:80"), "{response}");
    let response = send(address, &format!("{}end", request("localhost:8080", HEAD))).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.ends_with("\r\n\r\nend"), "{response}");
}

/// RFC 9110, section 7.8: a server may ignore `Upgrade`, and must ignore unknown protocols.
#[tokio::test]
async fn upgrade_to_another_protocol_is_ignored() {
    let server = crate::server::start(&[]).await;
    for address in [start(&[]), server.address] {
        for upgrade in ["h2c", "HTTP/2.0", "TLS/1.0, HTTP/1.1", "websockets"] {
            let headers = format!("Host: x\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk");
            let request = format!(
                "GET /plain HTTP/1.1\r\n{headers}\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n\
                 GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            );
            let responses = send(address, &request).await;
            let count = responses.matches("HTTP/1.1 200 ").count();
            assert_eq!(count, 2, "{upgrade}: {responses}");
            assert!(!responses.contains("connection: upgrade"), "{upgrade}: {responses}");
        }
    }
}

/// A WebSocket handshake is a `GET` without a body. Any other request has its usual meaning.
#[tokio::test]
async fn request_with_a_body_is_not_a_handshake() {
    let server = crate::server::start(&[]).await;
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Connection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: 4\r\n\r\n1234\
             GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let responses = send(server.address, &request).await;
        assert!(responses.contains("\r\n\r\n1234HTTP/1.1 200 "), "{upgrade}: {responses}");
        assert!(responses.ends_with("\r\n\r\nplain"), "{upgrade}: {responses}");
    }
}
