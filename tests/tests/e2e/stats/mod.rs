//! Statistics: one snapshot per interval in S3 despite failing publishers and stores, and the
//! redirect to it.

mod credentials;
mod frozen;
mod link;
mod outages;
mod permissions;
mod publishers;
mod rollups;
mod s3_proxy;
mod snapshot;

use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt;
use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, ServiceProcess, Setup, World, eventually};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::task::JoinHandle;

/// Returns a setup with an S3 server, publishers and this snapshot interval.
fn setup(publishers: usize, interval: &str) -> Setup {
    Setup::new()
        .with_s3()
        .scale(Service::StatsPublisher, publishers)
        .set("MAYFLY_STATS__INTERVAL", interval)
}

/// Follows the redirect and returns the response.
async fn follow_link(world: &World) -> ApiResponse {
    ApiResponse::send(world.http.get(world.list_url("/stat/get/"))).await
}

/// Waits until the redirect leads to a snapshot and returns it.
async fn wait_for_link(world: &World) -> Value {
    eventually(DEFAULT_TIMEOUT, "the redirect leads to a snapshot", async || {
        let response = follow_link(world).await;
        if response.status == 200 { Ok(response.json()) } else { Err(response.text()) }
    })
    .await
}

/// Returns the redirect without following it.
async fn get_link(url: &str) -> ApiResponse {
    let no_follow = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    ApiResponse::send(no_follow.build().expect("the client is built").get(url)).await
}

/// Returns the file in which the S3 server stores the object.
fn object_file(world: &World) -> PathBuf {
    let env = world.stack.env();
    let s3 = world.spec.root.join(".mayfly/s3");
    s3.join(env.s3_bucket()).join(env.s3_key())
}

/// Reads the object from the S3 server's file, or null.
fn read_object(world: &World) -> Value {
    let bytes = std::fs::read(object_file(world)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Returns the last announced snapshot, or null.
async fn read_announced(world: &World) -> Value {
    let json: Option<String> =
        world.redis().await.get(world.key("stats")).await.expect("Redis responds");
    json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("valid JSON"))
}

/// Returns the generation time of a snapshot.
fn time_of(snapshot: &Value) -> Option<Timestamp> {
    serde_json::from_str(&snapshot["generated_at"].to_string()).ok()
}

/// Waits for an object that is newer than this one.
async fn wait_for_newer(world: &World, than: &Value, within: Duration) -> Value {
    eventually(within, "S3 has a newer snapshot", async || {
        let object = read_object(world);
        if time_of(&object) > time_of(than) { Ok(object) } else { Err(object) }
    })
    .await
}

/// Waits for the first snapshot in S3.
async fn wait_for_first(world: &World) -> Value {
    wait_for_newer(world, &Value::Null, DEFAULT_TIMEOUT).await
}

/// A recorder of announced snapshots.
struct Announcements {
    snapshots: JoinHandle<Vec<Value>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Announcements {
    async fn listen(world: &World) -> Self {
        let client = redis::Client::open(world.stack.env().redis_url()).expect("a valid address");
        let mut redis = client.get_async_pubsub().await.expect("Redis responds");
        redis.subscribe(world.key("feed:stats")).await.expect("Redis responds");
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let snapshots = tokio::spawn(async move {
            let mut messages = redis.into_on_message();
            let mut snapshots = Vec::new();
            loop {
                tokio::select! {
                    Some(message) = messages.next() => {
                        let json = serde_json::from_slice(message.get_payload_bytes());
                        snapshots.push(json.expect("valid JSON"));
                    }
                    _ = &mut stopped => return snapshots,
                }
            }
        });
        Self { snapshots, stop }
    }

    /// Stops recording and returns all announced snapshots.
    async fn stop(self) -> Vec<Value> {
        self.stop.send(()).expect("the recorder is running");
        self.snapshots.await.expect("the recorder does not panic")
    }
}

/// Returns the index of the interval in which each snapshot was generated.
fn intervals_of(snapshots: &[Value], interval: Duration) -> Vec<i64> {
    let millis = i64::try_from(interval.as_millis()).expect("fits in the integer type");
    let at = |snapshot| time_of(snapshot).expect("a snapshot has a time").as_millis();
    snapshots.iter().map(|snapshot| at(snapshot).div_euclid(millis)).collect()
}

/// Returns the settings for the stack's S3 server. The metadata service of the machine is disabled.
fn s3_settings(world: &World) -> Vec<(&'static str, String)> {
    let env = world.stack.env();
    let mut settings = vec![
        ("AWS_ENDPOINT_URL", env.s3_endpoint().to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        settings.push((name, env.get(name).to_owned()));
    }
    settings
}

/// Starts an additional service process with the S3 settings and these overrides. An empty value
/// removes a setting.
async fn start_process(
    world: &World,
    service: Service,
    settings: &[(&str, &str)],
) -> ServiceProcess {
    let base = s3_settings(world);
    let mut all: Vec<(&str, &str)> =
        base.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(settings);
    ServiceProcess::start_with(world, service, &all).await
}

/// Waits until `/readyz` of a process has this status and contains these texts.
async fn wait_for_readyz(world: &World, process: &ServiceProcess, status: u16, texts: &[&str]) {
    let url = format!("http://{}/readyz", process.admin);
    let description = format!("/readyz is {status} and contains {texts:?}");
    eventually(DEFAULT_TIMEOUT, &description, async || {
        let response = ApiResponse::send(world.http.get(&url)).await;
        let contains_all = texts.iter().all(|text| response.text().contains(text));
        if response.status == status && contains_all { Ok(()) } else { Err(response.text()) }
    })
    .await;
}
