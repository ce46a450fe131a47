//! WebSocket upgrades of the server, before a service takes over the socket.

use actix_web::web::ServiceConfig;
use mayfly_http::{BoundListener, UpgradeRequest, serve_with_upgrades};
use mayfly_runtime::{Process, Service};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::{exchange, settings};

const HEAD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Starts a server that sends the bytes back that it receives behind an upgrade.
fn start(env: &[(&str, &str)]) -> std::net::SocketAddr {
    let process = Process::new(Service::WsFanout, settings(env));
    let listener = BoundListener::bind(process.settings.http.listen).expect("a free port");
    let address = listener.address();
    let local = || {
        let configure = |_: &mut ServiceConfig| {};
        (configure, async |request: UpgradeRequest| {
            if request.path() != "/live" {
                return request.reject(mayfly_http::upgrade_required()).await;
            }
            let mut upgraded = request.accept().await.expect("the client is connected");
            let mut bytes = upgraded.received.to_vec();
            while !bytes.ends_with(b"end") {
                upgraded.socket.read_buf(&mut bytes).await.expect("bytes");
            }
            upgraded.socket.write_all(&bytes).await.expect("written");
        })
    };
    tokio::spawn(async move {
        serve_with_upgrades(listener, &process, local, std::future::pending()).await
    });
    address
}

async fn send(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    exchange(&mut connection, request).await
}

#[tokio::test]
async fn bytes_behind_the_handshake_belong_to_the_socket() {
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
async fn upgrade_at_another_host_is_rejected() {
    let address = start(&[("MAYFLY_HTTP__ALLOWED_HOSTS", "localhost")]);
    let request = |host: &str| format!("GET /live HTTP/1.1\r\nHost: {host}\r\n{HEAD}\r\nend");
    let response = send(address, &request("evil.example")).await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    assert!(response.contains("\"code\":\"forbidden\""), "{response}");
    let response = send(address, &request("localhost:8080")).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
}
