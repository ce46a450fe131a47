//! Trends: the leader samples the visitors to the pages of each host.
//!
//! Depending on the configuration, [`visits`] counts the visitors that send heartbeats to Mayfly,
//! or [`upstream`] calls an external service. [`TrendPublisher`] compares the samples with earlier
//! samples, publishes them, and queues them for storage.

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
/// The lifetime of the lease. Visits are sampled every five seconds, so the lifetime is short
/// enough for a standby to take over in time for the next sample.
const LEASE_TTL: Duration = Duration::from_secs(1);

/// The task that samples visitors and publishes trends.
pub struct TrendSampler {
    context: SamplingContext,
    writer: SampleWriter,
}

impl TrendSampler {
    /// Creates a sampler with the configured visitor source.
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

    /// Runs until the process drains, then tries to store the queued samples.
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
