//! The admin port.

use futures_util::future::select_all;
use mayfly_http::{BoundListener, serve_admin};
use mayfly_runtime::{Criticality, Process, Service, VERSION};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::server::{client, problem, read_until, settings};

async fn start_admin() -> (Process, String) {
    let process = Process::new(Service::WsFanout, settings(&[]));
    let server = BoundListener::bind(process.settings.admin.listen).expect("a free port");
    let url = format!("http://{}", server.address());
    serve_admin(server, &process).await.expect("an admin port");
    (process, url)
}

/// Returns whether the machine supports IPv6.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

async fn get(url: &str, path: &str) -> (u16, String) {
    let response = client().get(format!("{url}{path}")).send().await.expect("a response");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

#[tokio::test]
async fn livez_ignores_components() {
    let (process, url) = start_admin().await;
    process.health.register("redis", Criticality::Required).mark_down("no answer");
    assert_eq!(get(&url, "/livez").await, (200, r#"{"status":"alive"}"#.to_owned()));
}

#[tokio::test]
async fn readyz_names_the_component_that_is_down() {
    let (process, url) = start_admin().await;
    let redis = process.health.register("redis", Criticality::Required);
    let postgres = process.health.register("postgres", Criticality::Optional);
    let (status, report) = get(&url, "/readyz").await;
    assert_eq!(status, 503);
    assert!(report.starts_with(r#"{"status":"unavailable","parts":{"postgres":"#), "{report}");
    redis.mark_up();
    postgres.mark_down("no answer");
    let degraded = r#"{"status":"degraded","parts":{"postgres":{"status":"down","reason":"no answer"},"redis":{"status":"up"}}}"#;
    assert_eq!(get(&url, "/readyz").await, (200, degraded.to_owned()));
    postgres.mark_up();
    assert_eq!(get(&url, "/readyz").await.0, 200);
}

#[tokio::test]
async fn draining_process_is_not_ready_and_keeps_its_admin_port() {
    let (process, url) = start_admin().await;
    process.lifecycle.drain();
    assert_eq!(get(&url, "/readyz").await, (503, r#"{"status":"draining","parts":{}}"#.to_owned()));
    assert_eq!(get(&url, "/livez").await.0, 200);
}

#[tokio::test]
async fn version_and_metrics_are_served_and_other_paths_are_404() {
    let (_process, url) = start_admin().await;
    let (status, version) = get(&url, "/version").await;
    assert_eq!(status, 200);
    assert_eq!(version, format!(r#"{{"service":"ws-fanout","version":"{VERSION}"}}"#));
    for accept in [
        "*/*",
        "text/plain;version=0.0.4",
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
         text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        "application/openmetrics-text;version=1.0.0",
        "application/json; version=2",
    ] {
        let request = client().get(format!("{url}/metrics")).header("accept", accept);
        let response = request.send().await.expect("a response");
        assert_eq!(response.status(), 200, "{accept}");
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
    }
    let response = client().get(format!("{url}/nowhere")).send().await.expect("a response");
    assert_eq!(problem(response).await["code"], "not_found");
}

#[tokio::test]
async fn incomplete_heads_have_their_own_memory_limit() {
    let (_process, url) = start_admin().await;
    let address = url.trim_start_matches("http://");
    let head = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(100 << 10));
    let mut connections = Vec::new();
    // More than 4 MiB.
    for _ in 0..48 {
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        connection.write_all(head.as_bytes()).await.expect("written");
        connections.push(connection);
    }
    let responses = connections.iter_mut().map(|one| Box::pin(read_until(one, "\r\n\r\n")));
    // Without the limit, the first response would be a 408.
    let (first, ..) = select_all(responses).await;
    assert!(first.starts_with("HTTP/1.1 503 "), "{first}");
    assert_eq!(get(&url, "/livez").await.0, 200, "complete heads need no memory");
}

#[tokio::test]
async fn both_ports_listen_on_both_families() {
    for listen in ["localhost:0", "*:0"] {
        let env = [("MAYFLY_ADMIN__LISTEN", listen), ("MAYFLY_HTTP__LISTEN", listen)];
        let process = Process::new(Service::WsFanout, settings(&env));
        let admin = BoundListener::bind(process.settings.admin.listen).expect("a free port");
        let admin_port = admin.address().port();
        serve_admin(admin, &process).await.expect("an admin port");
        let server = crate::server::start(&env).await;
        let hosts = if has_ipv6() { &["127.0.0.1", "[::1]"][..] } else { &["127.0.0.1"] };
        for host in hosts {
            let admin = format!("http://{host}:{admin_port}");
            assert_eq!(get(&admin, "/livez").await.0, 200, "{listen} {host}");
            let public = format!("http://{host}:{}", server.address.port());
            assert_eq!(get(&public, "/health").await.0, 200, "{listen} {host}");
        }
        // After the drain, the public port is closed on all addresses.
        server.process.lifecycle.drain();
        let port = server.address.port();
        server.wait_for_exit().await.expect("drained");
        for host in hosts {
            let address = format!("{host}:{port}");
            TcpStream::connect(&address).await.expect_err(&address);
        }
    }
}
