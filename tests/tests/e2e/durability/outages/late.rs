//! Services that start before Redis and Postgres.

use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{DEFAULT_TIMEOUT, Setup, World};
use serde_json::json;

use super::{post, wait_for_readyz};

const SERVICES: [Service; 3] = [Service::IngestApi, Service::ListApi, Service::PersistWorker];

#[tokio::test(flavor = "multi_thread")]
async fn services_started_without_stores_are_live_and_become_ready() {
    let world = Setup::new().dedicated_servers().default_timeouts().start().await;
    for service in SERVICES {
        world.stack.stop(service).await.expect("the service stops");
    }
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    world.stack.stop(ProcessKind::Postgres).await.expect("Postgres stops");
    for service in SERVICES {
        world.stack.start(service).await.expect("the service starts");
    }
    let pids = world.service_pids();
    for service in SERVICES {
        assert_live_and_waiting_for(&world, service, "redis").await;
    }
    post(&world, &json!({"text": "too early"})).await.0.expect_problem(503, "unavailable");

    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    wait_for_readyz(&world, Service::IngestApi, 200, "ready").await;
    wait_for_readyz(&world, Service::ListApi, 200, "degraded").await;
    assert_live_and_waiting_for(&world, Service::PersistWorker, "postgres").await;
    world.post_message(&json!({"text": "kept"})).await;

    world.stack.start(ProcessKind::Postgres).await.expect("Postgres starts");
    for service in SERVICES {
        wait_for_readyz(&world, service, 200, "\"status\":\"ready\"").await;
    }
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_eq!(world.query_count("SELECT count(*) FROM messages").await, 1);
    assert_eq!(world.service_pids(), pids, "a service was restarted");
}

async fn assert_live_and_waiting_for(world: &World, service: Service, component: &str) {
    wait_for_readyz(world, service, 503, component).await;
    assert_eq!(world.admin(service, "/livez").await.0, 200);
}
