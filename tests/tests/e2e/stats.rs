//! The statistics of the minute: one snapshot an interval in S3, whatever becomes of publishers and
//! stores, and the way to it.

mod credentials;
mod frozen;
mod link;
mod outages;
mod publishers;
mod put_gate;
mod rights;
mod snapshot;

use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt;
use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{Answer, OwnProcess, PATIENCE, Setup, World, eventually};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::task::JoinHandle;

/// A Mayfly with an S3 server and publishers, and snapshots in this interval.
fn setup(publishers: usize, interval: &str) -> Setup {
    Setup::new()
        .with_s3()
        .with(Service::StatsPublisher, publishers)
        .set("MAYFLY_STATS__INTERVAL", interval)
}

/// What a client gets that follows the redirect.
async fn follow(world: &World) -> Answer {
    Answer::of(world.http.get(world.list("/stat/get/"))).await
}

/// Follows the redirect as soon as there is one.
async fn wait_for_link(world: &World) -> Value {
    eventually(PATIENCE, "the redirect leads to a snapshot", async || {
        let answer = follow(world).await;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    })
    .await
}

/// An answer whose redirect is not followed.
async fn find_link(url: &str) -> Answer {
    let no_follow = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    Answer::of(no_follow.build().expect("a client can be made").get(url)).await
}

/// The file in which the S3 server keeps the object.
fn object_file(world: &World) -> PathBuf {
    let env = world.stack.env();
    let s3 = world.spec.root.join(".mayfly/s3");
    s3.join(env.s3_bucket()).join(env.s3_key())
}

/// The object as it lies in S3, read past the S3 server; null if there is none.
fn read_object(world: &World) -> Value {
    let bytes = std::fs::read(object_file(world)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The snapshot as it was announced last; null if none was.
async fn read_announced(world: &World) -> Value {
    let json: Option<String> =
        world.redis().await.get(world.key("stats")).await.expect("Redis answers");
    json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("it is JSON"))
}

/// When the numbers of a snapshot were read.
fn time_of(snapshot: &Value) -> Option<Timestamp> {
    serde_json::from_str(&snapshot["generated_at"].to_string()).ok()
}

/// Waits for a snapshot in S3 whose numbers were read after this one's.
async fn wait_for_newer(world: &World, than: &Value, within: Duration) -> Value {
    eventually(within, "there is a newer snapshot", async || {
        let object = read_object(world);
        if time_of(&object) > time_of(than) { Ok(object) } else { Err(object) }
    })
    .await
}

/// Waits until the S3 server has the first snapshot.
async fn wait_for_first(world: &World) -> Value {
    wait_for_newer(world, &Value::Null, PATIENCE).await
}

/// Listens to what is announced, until it is told to stop.
struct Announcements {
    heard: JoinHandle<Vec<Value>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Announcements {
    async fn listen(world: &World) -> Self {
        let client = redis::Client::open(world.stack.env().redis_url()).expect("it is an address");
        let mut redis = client.get_async_pubsub().await.expect("Redis answers");
        redis.subscribe(world.key("feed:stats")).await.expect("Redis subscribes");
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let heard = tokio::spawn(async move {
            let mut messages = redis.into_on_message();
            let mut heard = Vec::new();
            loop {
                tokio::select! {
                    Some(message) = messages.next() => {
                        let json = serde_json::from_slice(message.get_payload_bytes());
                        heard.push(json.expect("it is JSON"));
                    }
                    _ = &mut stopped => return heard,
                }
            }
        });
        Self { heard, stop }
    }

    /// All that was announced since.
    async fn stop(self) -> Vec<Value> {
        self.stop.send(()).expect("it still listens");
        self.heard.await.expect("it listened well")
    }
}

/// The intervals of the clock in which these snapshots were made.
fn intervals_of(snapshots: &[Value], interval: Duration) -> Vec<i64> {
    let millis = i64::try_from(interval.as_millis()).expect("an interval is short");
    let at = |snapshot| time_of(snapshot).expect("a snapshot has a time").as_millis();
    snapshots.iter().map(|snapshot| at(snapshot).div_euclid(millis)).collect()
}

/// What a process needs to reach the S3 server of a Mayfly, and no keys from anywhere else: the
/// network is not asked for a machine's own.
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

/// Starts a service beside those of the stack, with these settings over those of S3; an empty one
/// takes a setting away.
async fn start_own(world: &World, service: Service, settings: &[(&str, &str)]) -> OwnProcess {
    let base = s3_settings(world);
    let mut all: Vec<(&str, &str)> =
        base.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(settings);
    OwnProcess::start_with(world, service, &all).await
}

/// Waits until `/readyz` on an admin port has this status and says these words.
async fn wait_for_readyz(world: &World, process: &OwnProcess, status: u16, words: &[&str]) {
    let url = format!("http://{}/readyz", process.admin);
    let what = format!("/readyz is {status} and says {words:?}");
    eventually(PATIENCE, &what, async || {
        let answer = Answer::of(world.http.get(&url)).await;
        let says = words.iter().all(|word| answer.text().contains(word));
        if answer.status == status && says { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
