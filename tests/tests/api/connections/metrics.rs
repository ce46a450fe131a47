//! The metrics of connections.

use mayfly_http::metrics::{HTTP_CONNECTIONS, HTTP_CONNECTIONS_MAX, METRICS};
use mayfly_runtime::{MetricsHandle, Service};
use tokio::io::AsyncWriteExt;

use crate::server::{read_until, start};

/// Returns the value of a gauge without labels.
fn read_gauge(metrics: &MetricsHandle, name: &str) -> usize {
    let rendered = metrics.render();
    let find_value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    rendered.lines().find_map(find_value).unwrap_or_else(|| panic!("{name}: {rendered}"))
}

#[tokio::test]
async fn open_connections_and_their_limit_are_exported() {
    // The other tests of this process have the same limit, and may add connections.
    let metrics = MetricsHandle::install(Service::ListApi, &[METRICS]).expect("no recorder");
    let server = start(&[]).await;
    let mut connections = Vec::new();
    for count in 1..=3 {
        let mut connection = server.connect().await;
        let request = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";
        connection.write_all(request).await.expect("the request is written");
        read_until(&mut connection, "plain").await;
        connections.push(connection);
        assert!(read_gauge(&metrics, HTTP_CONNECTIONS) >= count);
    }
    assert_eq!(read_gauge(&metrics, HTTP_CONNECTIONS_MAX), 25_000);
}
