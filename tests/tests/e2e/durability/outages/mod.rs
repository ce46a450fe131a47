//! Behavior during and after outages of Redis and Postgres.

mod late;
mod postgres;
mod redis;
mod redis_lost;

use std::time::Duration;

use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{ApiResponse, Frozen, World, eventually};
use serde_json::Value;
use tokio::time::Instant;

/// The kind of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Stopped,
    Frozen,
}

/// Stops or freezes a server. Dropping the returned guard resumes a frozen server.
async fn interrupt(world: &World, server: ProcessKind, outage: Outage) -> Option<Frozen> {
    match outage {
        Outage::Stopped => {
            world.stack.stop(server).await.expect("the server stops");
            None
        }
        Outage::Frozen => Some(Frozen::freeze_tree(world.stack.env().pids(server)[0])),
    }
}

/// Starts or resumes a server.
async fn restore(world: &World, server: ProcessKind, frozen: Option<Frozen>) {
    match frozen {
        Some(frozen) => drop(frozen),
        None => world.stack.start(server).await.expect("the server starts"),
    }
}

/// Posts a message. Returns the response and the elapsed time.
async fn post(world: &World, message: &Value) -> (ApiResponse, Duration) {
    let started = Instant::now();
    let response =
        ApiResponse::send(world.http.post(world.ingest_url("/v1/messages")).json(message)).await;
    (response, started.elapsed())
}

/// Gets a path of `list-api`. Returns the response and the elapsed time.
async fn get(world: &World, path: &str) -> (ApiResponse, Duration) {
    let started = Instant::now();
    let response = ApiResponse::send(world.http.get(world.list_url(path))).await;
    (response, started.elapsed())
}

/// Waits until `/readyz` of a service has this status and contains this text.
async fn wait_for_readyz(world: &World, service: Service, status: u16, text: &str) {
    let description = format!("/readyz of {service} is {status} and contains {text}");
    eventually(Duration::from_secs(5), &description, async || {
        let (actual, body) = world.admin(service, "/readyz").await;
        if actual == status && body.contains(text) { Ok(()) } else { Err((actual, body)) }
    })
    .await;
}
