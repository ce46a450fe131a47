//! stats-publisher: once a minute, one of all publishers reads the statistics from Postgres, puts
//! them into S3 and announces them.
//!
//! [`publisher`] is the loop and its steps, [`schedule`] says when a snapshot is due, [`repair`]
//! brings S3 back to what was announced, [`access`] keeps an eye on whether S3 can be used.

mod access;
mod publisher;
mod repair;
mod schedule;

use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};
use mayfly_s3::S3;
use tokio::task::JoinSet;

use crate::{access::Access, publisher::Publisher};

/// Runs the publisher until it is told to drain, and gives its lease back.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::new(&settings.postgres);
    let s3 = S3::new(&settings.stats);
    let redis = process.health.register("redis", Need::Required);
    let postgres = process.health.register("postgres", Need::Useful);
    let access = Access::register(&process.health);
    let snapshot = process.health.register("snapshot", Need::Useful);
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let mut besides = JoinSet::new();
    besides.spawn(hot.clone().watch(redis));
    besides.spawn(cold.clone().watch(postgres));
    besides.spawn(access.clone().watch(s3.clone()));
    process.started(&listening);
    let publisher = Publisher::new(hot, cold, s3, access, snapshot, settings.stats.interval);
    publisher.run(process.lifecycle.draining()).await;
    besides.shutdown().await;
    Ok(())
}
