//! ingest-api: takes messages, plays and visits in over REST and answers once they stand in Redis. It has
//! no connection to Postgres.

mod ingest;
mod plays;
mod problems;
mod receipt;
mod reception;
mod routes;
mod sender;
mod visits;

use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};

/// Runs the service until it is told to drain and has answered what it had taken.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let redis = process.health.register("redis", Need::Required);
    let http = Server::bind(settings.http.listen)?;
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("http", http.address()), ("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let watch = tokio::spawn(hot.clone().watch(redis));
    process.started(&listening);
    let routes = routes::configure(hot, settings.clone());
    let served = mayfly_http::serve(http, &process, routes).await;
    watch.abort();
    served
}
