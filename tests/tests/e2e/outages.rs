//! What goes on while Redis or Postgres is away, and what comes back by itself.

mod late;
mod postgres;
mod redis;
mod redis_lost;

use std::time::Duration;

use mayfly_stack::{Part, Service};
use mayfly_tests::{Answer, Frozen, World, eventually};
use serde_json::Value;
use tokio::time::Instant;

/// How a server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Stopped,
    Frozen,
}

/// Takes a server away; what is frozen goes on when the guard is dropped.
async fn take_away(world: &World, part: Part, how: Away) -> Option<Frozen> {
    match how {
        Away::Stopped => {
            world.stack.stop(part).await.expect("the server stops");
            None
        }
        Away::Frozen => Some(Frozen::family(world.stack.env().pids(part)[0])),
    }
}

/// Brings a server back.
async fn bring_back(world: &World, part: Part, frozen: Option<Frozen>) {
    match frozen {
        Some(frozen) => drop(frozen),
        None => world.stack.start(part).await.expect("the server starts"),
    }
}

/// Posts a message: the answer, and how long it took.
async fn post(world: &World, message: &Value) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = Answer::of(world.http.post(world.ingest("/v1/messages")).json(message)).await;
    (answer, began.elapsed())
}

/// Gets a path of list-api: the answer, and how long it took.
async fn get(world: &World, path: &str) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = Answer::of(world.http.get(world.list(path))).await;
    (answer, began.elapsed())
}

/// Waits until `/readyz` of a service has this status and holds these words.
async fn wait_for_readyz(world: &World, service: Service, status: u16, words: &str) {
    let what = format!("/readyz of {service} is {status} and says {words}");
    eventually(Duration::from_secs(5), &what, async || {
        let (seen, body) = world.admin(service, "/readyz").await;
        if seen == status && body.contains(words) { Ok(()) } else { Err((seen, body)) }
    })
    .await;
}
