//! The live feeds, seen by good clients and by bad ones.

mod asyncapi;
mod conformance;
mod drain;
mod events;
mod expired;
mod frames;
mod kills;
mod latency;
mod losses;
mod memory;
mod opening;
mod outages;
mod pings;
mod races;
mod replay;
mod rising;
mod slow;
mod stats;
mod texts;
mod unread;
mod web;
mod window;

use mayfly_stack::Service;
use mayfly_tests::{OwnProcess, Setup, World, live::Metrics};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A Mayfly with two ws-fanout and nothing set, for tests that have channels of their own.
async fn shared() -> World {
    static LIVE: OnceCell<World> = OnceCell::const_new();
    Setup::new().with(Service::WsFanout, 2).share(&LIVE).await
}

/// One more ws-fanout of a Mayfly, with settings of its own.
async fn start_own(world: &World, settings: &[(&str, &str)]) -> OwnProcess {
    let mut world = world.clone();
    world.spec.env.insert("MAYFLY_HTTP__DRAIN_DELAY".into(), "0s".into());
    for (name, value) in settings {
        world.spec.env.insert((*name).into(), (*value).into());
    }
    OwnProcess::start(&world, Service::WsFanout).await
}

/// The URL of a feed at this process.
fn url_of(process: &OwnProcess, query: &str) -> String {
    format!("http://{}/v1/live?{query}", process.http.expect("it takes requests"))
}

async fn metrics_of(world: &World, process: &OwnProcess) -> Metrics {
    Metrics::read(&world.http, &format!("http://{}", process.admin)).await
}

/// Posts a text on a channel; gives the message.
async fn say(world: &World, channel: &str, text: &str) -> Value {
    world.post_message(&json!({"channel": channel, "text": text})).await
}

fn position_of(frame: &Value) -> &str {
    frame["position"].as_str().expect("the frame has a position")
}
