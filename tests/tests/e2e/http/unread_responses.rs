//! Clients that do not read the responses they request.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    ServiceProcess, World, eventually,
    live::{Metrics, peak_rss_bytes, rss_bytes},
    with_slack,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const CONNECTIONS: usize = 150;
const REQUESTS: usize = 30;
/// The largest file: more than 1 MiB.
const FILE: &str = "/docs/swagger-ui-bundle.js";
/// The maximum memory of all connections in bytes. One unread response per connection would need up
/// to 200 MiB.
const MEMORY_MAX: u64 = 64 << 20;

/// Requests files without reading them until the service has closed all connections. Returns the
/// largest memory of the service so far.
async fn leave_unread(world: &World, service: &ServiceProcess, closed_before: usize) -> u64 {
    let (pid, admin) = (service.pid(), format!("http://{}", service.admin));
    let address = service.url("").replace("http://", "");
    let request = format!("GET {FILE} HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(REQUESTS);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(&address).await.expect("the service listens");
        connection.write_all(request.as_bytes()).await.expect("written");
        connections.push(connection);
    }
    let closed = "http_connections_closed_total{reason=\"write_timeout\"}";
    eventually(with_slack(Duration::from_secs(20)), "all connections are closed", async || {
        let metrics = Metrics::read(&world.http, &admin).await;
        let state = (metrics.sum(closed), metrics.sum("http_unread_bytes"));
        if state == ((closed_before + CONNECTIONS) as u64, 0) { Ok(()) } else { Err(state) }
    })
    .await;
    peak_rss_bytes(pid)
}

#[tokio::test]
async fn unread_responses_share_the_file_and_their_connections_are_closed() {
    let world = World::shared().await;
    let settings = [("MAYFLY_HTTP__WRITE_TIMEOUT", "2s")];
    let service = ServiceProcess::start_with(&world, Service::ListApi, &settings).await;
    world.http.get(service.url(FILE)).send().await.expect("a response");
    let before = rss_bytes(service.pid());
    let first = leave_unread(&world, &service, 0).await;
    assert!(first < before + MEMORY_MAX, "{before} grew to {first}");
    // The allocator keeps some memory, which the next responses reuse. It reserves this memory in
    // steps of 4 MiB, within the first two rounds.
    let second = leave_unread(&world, &service, CONNECTIONS).await;
    assert!(second < before + MEMORY_MAX, "{before} grew to {second}");
    let third = leave_unread(&world, &service, 2 * CONNECTIONS).await;
    assert!(third < second + MEMORY_MAX / 8, "{second} grew to {third}");
}
