//! stats-publisher: does what must be done once, however many of it run. Once a minute one of them reads
//! the statistics from Postgres, puts them into S3 and announces them; one publishes counts of plays,
//! one the pulse, and one samples the visitors of pages.
//!
//! [`publisher`] is the loop of the statistics and its steps, [`schedule`] says when something is due,
//! [`repair`] brings S3 back to what was announced, [`access`] keeps an eye on whether S3 can be used;
//! [`counts`], [`pulse`] and [`rising`] are the other loops.

mod access;
mod counts;
mod publisher;
mod pulse;
mod repair;
mod rising;
mod schedule;

use std::sync::Arc;

use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Process};
use mayfly_s3::S3;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    access::Access,
    counts::{CountsPublisher, CountsSaver},
    publisher::Publisher,
    pulse::PulseMaker,
    rising::Sampler,
};

/// Runs until it is told to drain, and gives its leases back.
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
    let draining = process.lifecycle.draining();
    let news = Arc::<Notify>::default();
    let interval = settings.plays.interval;
    let counts = CountsPublisher::new(hot.clone(), interval, Arc::clone(&news));
    let saver = CountsSaver::new(hot.clone(), cold.clone(), news);
    let pulse = PulseMaker::new(hot.clone(), cold.clone());
    let sampler = Sampler::new(hot.clone(), cold.clone(), Arc::clone(settings));
    let publisher = Publisher::new(hot, cold, s3, access, snapshot, settings.stats.interval);
    tokio::join!(
        publisher.run(draining.clone()),
        counts.run(draining.clone()),
        saver.run(draining.clone()),
        pulse.run(draining.clone()),
        sampler.run(draining),
    );
    besides.shutdown().await;
    Ok(())
}
