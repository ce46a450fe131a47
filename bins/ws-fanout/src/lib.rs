//! ws-fanout: carries what happens to every open browser, over WebSocket and server-sent events.
//!
//! One subscription to Redis brings publications ([`feed`]). What came at once is encoded once
//! ([`batch`]) and told to every thread ([`hub`]). A thread owns its sockets ([`shard`]): it puts
//! shared pieces into their queues and writes each as far as it goes, waiting for none. Who comes
//! back is brought to the present first ([`resume`]). Of the feeds that carry state, only the newest
//! frame counts ([`state`]), of what rises the newest of each host that somebody watches ([`rising`]).
//! Counts of plays come by a stream of their own ([`plays`]).

mod batch;
mod client;
mod connection;
mod events;
mod feed;
mod files;
mod groups;
mod hub;
mod local;
mod outbound;
mod plays;
mod query;
mod recent;
mod report;
mod resume;
mod rising;
mod routes;
mod shard;
mod state;
mod subscription;
mod watched;
mod websocket;

use std::sync::Arc;

use anyhow::anyhow;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};
use tokio::task::JoinSet;

use crate::{feed::Feed, hub::Hub, local::Local};

/// Runs the service until it is told to drain and all connections are closed.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let hub = Hub::new(hot.clone(), Arc::clone(settings), process.lifecycle.clone());
    let subscription = process.health.register("subscription", Need::Required);
    let redis = process.health.register("redis", Need::Useful);
    let http = Server::bind(settings.http.listen)?;
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("http", http.address()), ("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let mut besides = JoinSet::new();
    besides.spawn(hot.clone().watch(redis));
    besides.spawn(Feed::new(&hub).run(subscription));
    besides.spawn(plays::follow(Arc::clone(&hub), hot.clone()));
    besides.spawn(report::report(Arc::clone(&hub), hot));
    process.started(&listening);
    let (drain, broken) = (Arc::clone(&hub).drain(), Arc::clone(&hub));
    let local = move || {
        let local = Local::start(&hub);
        let configure = routes::configure(&local);
        (configure, async move |request| routes::upgrade(local.clone(), request).await)
    };
    // A part that ends takes the process with it: clients go on elsewhere, from where they were.
    let served = tokio::select! {
        served = mayfly_http::serve_upgrades(http, &process, local, drain) => served,
        Some(ended) = besides.join_next() => Err(anyhow!("a part ended before the process: {ended:?}")),
        () = broken.be_broken() => Err(anyhow!("the connections of a thread are stuck")),
    };
    besides.shutdown().await;
    served
}
