//! The live feeds, with well-behaved and misbehaving clients.

mod back_pressure;
mod credentials;
mod delivery;
mod feeds;
mod http;
mod protocol;
mod resume;

use mayfly_stack::Service;
use mayfly_tests::{ServiceProcess, Setup, World, live::Metrics};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Returns the stack with two ws-fanout instances and default settings, shared by all tests that
/// use their own channels.
pub(crate) async fn shared() -> World {
    static LIVE: OnceCell<World> = OnceCell::const_new();
    Setup::new().scale(Service::WsFanout, 2).share(&LIVE).await
}

/// Starts another ws-fanout with its own settings.
async fn start_instance(world: &World, settings: &[(&str, &str)]) -> ServiceProcess {
    let mut world = world.clone();
    world.spec.env.insert("MAYFLY_HTTP__DRAIN_DELAY".into(), "0s".into());
    for (name, value) in settings {
        world.spec.env.insert((*name).into(), (*value).into());
    }
    ServiceProcess::start(&world, Service::WsFanout).await
}

/// Returns the URL of the live feeds of a process.
fn feed_url(process: &ServiceProcess, query: &str) -> String {
    format!("http://{}/v1/live?{query}", process.http.expect("the service accepts requests"))
}

async fn read_metrics(world: &World, process: &ServiceProcess) -> Metrics {
    Metrics::read(&world.http, &format!("http://{}", process.admin)).await
}

/// Posts a text to a channel and returns the message.
async fn post_text(world: &World, channel: &str, text: &str) -> Value {
    world.post_message(&json!({"channel": channel, "text": text})).await
}

fn frame_position(frame: &Value) -> &str {
    frame["position"].as_str().expect("the frame has a position")
}
