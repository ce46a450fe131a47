//! ws-fanout: pushes live feeds to clients over WebSocket and server-sent events.
//!
//! The tasks in [`feeds`] read new data from Redis and encode it into [`frames`]. The [`hub`]
//! broadcasts the frames to the workers. A [`worker`] runs one event loop for its connections: it
//! enqueues shared frames for each connection and never waits for a client. [`resume`] replays the
//! messages that a reconnecting client missed. [`http`] accepts connections, and [`websocket`]
//! implements the required subset of RFC 6455.

mod feeds;
mod frames;
mod host_registry;
mod http;
mod hub;
mod metrics;
mod report;
mod resume;
mod subscription;
mod websocket;
mod worker;
mod worker_event;

use std::sync::Arc;

use anyhow::anyhow;
use mayfly_authenticator::Authenticator;
use mayfly_hot::{HotStore, RedisComponents};
use mayfly_http::BoundListener;
use mayfly_runtime::{Criticality, Process, ServiceFuture, exit_on_panic};
use tokio::task::JoinSet;

pub use self::metrics::METRICS;
use crate::{
    feeds::{StreamFollower, follow_plays},
    hub::Hub,
    report::run_reports,
    worker::WorkerContext,
};

/// Runs the service until the process has drained.
///
/// # Errors
/// Returns an error if the Redis URL is invalid, if a listener cannot be bound, or if a background
/// task or a worker exits unexpectedly. The process then exits, and its clients can resume on
/// another instance.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let authenticator = Authenticator::start(&hot, settings, &process.health);
    let hub = Hub::new(
        hot.clone(),
        Arc::clone(settings),
        process.lifecycle.clone(),
        Arc::clone(&authenticator),
    );
    let subscription = process.health.register("subscription", Criticality::Required);
    let redis = process.health.register("redis", Criticality::Optional);
    let listener = BoundListener::bind(settings.http.listen)?;
    let admin = BoundListener::bind(settings.admin.listen)?;
    let addresses = [listener.addresses(), admin.addresses()].map(<[_]>::to_vec);

    mayfly_http::serve_admin(admin, &process).await?;
    let components = RedisComponents { redis, publications: None, needs_memory: false };
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(exit_on_panic("watch Redis", hot.clone().watch(components)));
    let follower = StreamFollower::new(&hub).run(subscription);
    background_tasks.spawn(exit_on_panic("follow the stream", follower));
    let plays = follow_plays(Arc::clone(&hub), hot.clone());
    background_tasks.spawn(exit_on_panic("follow the plays", plays));
    background_tasks.spawn(exit_on_panic("report", run_reports(Arc::clone(&hub), hot)));
    process.log_started(&[("http", &addresses[0]), ("admin", &addresses[1])]);
    let (drain, workers) = (Arc::clone(&hub).drain(), Arc::clone(&hub));
    let new_worker = move || {
        let context = WorkerContext::start(&hub);
        let configure = http::configure(&context);
        (configure, async move |request| http::upgrade(context.clone(), request).await)
    };
    let served =
        mayfly_http::serve_with_upgrades(listener, &process, authenticator, new_worker, drain);
    let served = tokio::select! {
        served = served => served,
        Some(exited) = background_tasks.join_next() => {
            Err(anyhow!("a background task exited unexpectedly: {exited:?}"))
        }
        () = workers.wait_for_worker_failure() => {
            Err(anyhow!("a worker exited unexpectedly, so its connections receive no more frames"))
        }
    };
    background_tasks.shutdown().await;
    served
}
