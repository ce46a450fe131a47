//! A limit on open files that is lower than the configured number of connections.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, ServiceProcess};
use tokio::net::TcpStream;

const LIMIT: u32 = 256;

#[tokio::test]
async fn admin_port_responds_while_the_public_port_is_full() {
    let process = ServiceProcess::start_without_stores(Service::IngestApi, Some(LIMIT)).await;
    let address = process.http.expect("a public port");
    let mut connections = Vec::new();
    for _ in 0..LIMIT + 50 {
        connections.push(TcpStream::connect(address).await.expect("the port is open"));
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build();
    let client = client.expect("a client");
    for path in ["/livez", "/metrics", "/livez"] {
        let response = ApiResponse::send(client.get(format!("http://{}{path}", process.admin)));
        assert_eq!(response.await.status, 200, "{path}");
    }
    drop(connections);
    assert_eq!(ApiResponse::send(client.get(process.url("/health"))).await.status, 200);

    let (_, _, log) = process.terminate(Duration::from_secs(30)).await;
    let warning = log.iter().find(|line| line.contains("limit on open files"));
    let warning = warning.expect("a warning at startup");
    assert!(warning.contains("25000") && warning.contains("256"), "{warning}");
    assert!(!log.iter().any(|line| line.contains("Too many open files")), "{log:#?}");
}

/// The local stack also runs on machines with a limit that is slightly too low for the default.
/// This is not worth a warning at every start.
#[tokio::test]
async fn default_number_of_connections_follows_the_limit_without_a_warning() {
    let process = ServiceProcess::start_without_stores(Service::IngestApi, Some(19_000)).await;
    let (_, _, log) = process.terminate(Duration::from_secs(30)).await;
    let lines: Vec<_> = log.iter().filter(|line| line.contains("limit on open files")).collect();
    assert!(lines.len() == 1 && lines[0].contains("INFO"), "{lines:?}");
    assert!(lines[0].contains("19000"), "{lines:?}");
}
