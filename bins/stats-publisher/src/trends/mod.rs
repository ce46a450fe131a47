//! Trends: the visitors of each host's pages, sampled every few seconds by the leader.
//!
//! [`visits`] counts Mayfly's own heartbeats, [`upstream`] calls a service. Both pass their samples
//! to [`TrendPublisher`], which compares, publishes and stores them.

mod context;
mod history;
mod publisher;
mod sample_writer;
mod upstream;
mod visits;

use std::{sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_runtime::settings::{RisingSource, Settings};
use tokio_util::sync::CancellationToken;

use self::{
    context::SamplingContext, publisher::TrendPublisher, sample_writer::SampleWriter,
    upstream::UpstreamSampler, visits::VisitSampler,
};
use crate::leadership::Leadership;

/// The name of the lease.
const JOB: &str = "rising";
/// Short, so that a standby misses no sample: they are five seconds apart.
const LEASE_TTL: Duration = Duration::from_secs(1);

/// Samples visitors and publishes trends.
pub struct TrendSampler {
    context: SamplingContext,
    writer: SampleWriter,
}

impl TrendSampler {
    /// Creates a sampler with the configured source of visitors.
    pub fn new(
        hot: HotStore,
        cold: ColdStore,
        settings: Arc<Settings>,
        draining: CancellationToken,
    ) -> Self {
        let publisher = TrendPublisher::new(hot.clone(), cold.clone());
        let writer = publisher.sample_writer();
        Self { context: SamplingContext { settings, hot, cold, publisher, draining }, writer }
    }

    /// Runs until the process drains, then stores the samples that are queued.
    pub async fn run(self) {
        let Self { context, writer } = self;
        let sampling_done = CancellationToken::new();
        let sampling = async {
            let leadership = Leadership::new(&context.hot, JOB, LEASE_TTL);
            let draining = context.draining.clone();
            match context.settings.rising.source {
                RisingSource::Visits => {
                    leadership.run(VisitSampler::new(context), draining).await;
                }
                RisingSource::Chartbeat => {
                    leadership.run(UpstreamSampler::new(context), draining).await;
                }
            }
            sampling_done.cancel();
        };
        tokio::join!(sampling, writer.run(&sampling_done));
    }
}
