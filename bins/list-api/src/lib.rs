//! list-api: gives messages and counts out over REST. What is live comes from Redis, what was ever stored from
//! Postgres; a take or a deletion is one step in Redis.

mod asking;
mod counts;
mod hosts;
mod increasing;
mod kept;
mod listing;
mod problems;
mod routes;
mod statistics;

use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};
use tokio::task::JoinSet;

use crate::statistics::Link;

/// Runs the service until it is told to drain and has answered what it had taken.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::new(&settings.postgres);
    let redis = process.health.register("redis", Need::Required);
    let postgres = process.health.register("postgres", Need::Useful);
    let http = Server::bind(settings.http.listen)?;
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("http", http.address()), ("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let mut besides = JoinSet::new();
    besides.spawn(hot.clone().watch(redis));
    besides.spawn(cold.clone().watch(postgres));
    let stats = Link::new(&settings.stats);
    let keep_signed =
        stats.clone().keep_signed(hot.clone(), settings.stats.clone(), process.health.clone());
    besides.spawn(keep_signed);
    process.started(&listening);
    let routes = routes::configure(hot, cold, stats, settings.clone());
    let served = mayfly_http::serve(http, &process, routes).await;
    besides.shutdown().await;
    served
}
