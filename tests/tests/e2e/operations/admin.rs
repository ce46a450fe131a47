//! The admin port of every service.

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, bin_dir, eventually};
use serde_json::json;

async fn get(world: &World, service: Service, path: &str) -> ApiResponse {
    let admin = &world.stack.env().admin_urls(service)[0];
    ApiResponse::send(world.http.get(format!("{admin}{path}"))).await
}

#[tokio::test]
async fn every_service_serves_health_version_and_metrics_on_its_admin_port() {
    // The shared stack does not run these services.
    let setup =
        Setup::new().scale(Service::WsFanout, 1).scale(Service::StatsPublisher, 1).with_s3();
    let others = setup.scale(Service::IngestApi, 0).scale(Service::ListApi, 0);
    let others = others.scale(Service::PersistWorker, 0).start().await;
    let world = World::shared().await;
    for service in Service::ALL {
        let is_other = matches!(service, Service::WsFanout | Service::StatsPublisher);
        let world = if is_other { &others } else { &world };
        assert_eq!(get(world, service, "/livez").await.expect_status(200)["status"], "alive");
        eventually(DEFAULT_TIMEOUT, "all components are up", async || {
            let ready = get(world, service, "/readyz").await.expect_status(200);
            if ready["status"] == "ready" { Ok(()) } else { Err(ready) }
        })
        .await;
        let version = get(world, service, "/version").await.expect_status(200);
        assert_eq!(version["service"], service.name());
        let metrics = get(world, service, "/metrics").await;
        assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
        get(world, service, "/nowhere").await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn public_health_has_no_details() {
    let world = World::shared().await;
    for service in [Service::IngestApi, Service::ListApi] {
        let health = ApiResponse::send(world.http.get(world.url(service, "/health"))).await;
        assert_eq!(health.expect_status(200), json!({"status": "ok"}));
        let metrics = ApiResponse::send(world.http.get(world.url(service, "/metrics"))).await;
        metrics.expect_problem(404, "not_found");
    }
}

/// `localhost` can resolve to either family, and probes on some machines use only IPv6.
#[tokio::test]
async fn public_and_admin_ports_are_reachable_over_both_families() {
    // A machine may not support IPv6.
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let hosts = if has_ipv6 { &["127.0.0.1", "[::1]"][..] } else { &["127.0.0.1"] };
    let world = World::shared().await;
    let mut urls = Vec::new();
    for service in [Service::IngestApi, Service::ListApi, Service::PersistWorker] {
        let admin = &world.stack.env().admin_urls(service)[0];
        urls.push(format!("{admin}/livez"));
        if service != Service::PersistWorker {
            urls.push(world.url(service, "/health"));
        }
        for host in hosts {
            let port = admin.rsplit(':').next().expect("a URL with a port");
            eventually(DEFAULT_TIMEOUT, "the check succeeds", async || {
                let mut check = tokio::process::Command::new(bin_dir().join(service.name()));
                check.arg("--check-ready").env("MAYFLY_ADMIN__LISTEN", format!("{host}:{port}"));
                let output = check.output().await.expect("the check runs");
                if output.status.success() { Ok(()) } else { Err((service, host, output)) }
            })
            .await;
        }
    }
    for url in urls {
        for host in hosts {
            let url = url.replace("127.0.0.1", host);
            assert_eq!(ApiResponse::send(world.http.get(&url)).await.status, 200, "{url}");
        }
    }
}
