//! ws-fanout: will carry the live feeds to browsers. As yet it starts, says how it is, and drains.

use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};

/// Runs the service until it is told to drain.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let redis = process.health.register("redis", Need::Required);
    let http = Server::bind(settings.http.listen)?;
    let admin = Server::bind(settings.admin.listen)?;
    let listening = [("http", http.address()), ("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let watch = tokio::spawn(hot.watch(redis));
    process.started(&listening);
    let served = mayfly_http::serve(http, &process, |_| {}).await;
    watch.abort();
    served
}
