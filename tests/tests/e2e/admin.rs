//! The admin port of every service.

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually};
use serde_json::json;

async fn get(world: &World, service: Service, path: &str) -> Answer {
    let admin = &world.stack.env().admin_urls(service)[0];
    Answer::of(world.http.get(format!("{admin}{path}"))).await
}

#[tokio::test]
async fn every_service_says_on_its_admin_port_how_it_is_what_it_is_and_what_it_did() {
    // Those of which the other tests start none.
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::StatsPublisher, 1).with_s3();
    let others = setup.with(Service::IngestApi, 0).with(Service::ListApi, 0);
    let others = others.with(Service::PersistWorker, 0).start().await;
    let world = World::shared().await;
    for service in Service::ALL {
        let is_other = matches!(service, Service::WsFanout | Service::StatsPublisher);
        let world = if is_other { &others } else { &world };
        assert_eq!(get(world, service, "/livez").await.expect(200)["status"], "alive");
        eventually(PATIENCE, "all its parts are up", async || {
            let ready = get(world, service, "/readyz").await.expect(200);
            if ready["status"] == "ready" { Ok(()) } else { Err(ready) }
        })
        .await;
        let version = get(world, service, "/version").await.expect(200);
        assert_eq!(version["service"], service.name());
        let metrics = get(world, service, "/metrics").await;
        assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
        get(world, service, "/nowhere").await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn health_on_the_public_port_is_without_detail() {
    let world = World::shared().await;
    for service in [Service::IngestApi, Service::ListApi] {
        let health = Answer::of(world.http.get(world.url(service, "/health"))).await;
        assert_eq!(health.expect(200), json!({"status": "ok"}));
        let metrics = Answer::of(world.http.get(world.url(service, "/metrics"))).await;
        metrics.expect_problem(404, "not_found");
    }
}
