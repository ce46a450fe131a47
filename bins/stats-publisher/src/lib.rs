//! stats-publisher: will publish the minute's statistics. As yet it starts, says how it is, and
//! drains.

use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};

/// Runs the worker until it is told to drain.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let redis = process.health.register("redis", Need::Required);
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let watch = tokio::spawn(hot.watch(redis));
    process.started(&listening);
    process.lifecycle.draining().cancelled().await;
    watch.abort();
    Ok(())
}
