//! Sampling: every few seconds the visitors of each host's pages, by one publisher at a time, whatever
//! source they are known from.
//!
//! [`visits`] counts our own heartbeats, [`source`] asks a service; both hand each sample to
//! [`Sightings`], which says what was there before and what is usual, publishes, and has it stored.

mod chartbeat;
mod lead;
mod pages;
mod past;
mod quota;
mod refresh;
mod relating;
mod saver;
mod sightings;
mod source;
mod visits;

use std::sync::Arc;

use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_runtime::settings::{RisingSource, Settings};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::saver::SightingsSaver;
pub use self::{lead::Lead, sightings::Sightings};

/// Samples, or is the spare.
pub struct Sampler {
    sampling: Sampling,
    saver: SightingsSaver,
}

/// What every source of visitors needs.
pub struct Sampling {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Redis.
    pub hot: Hot,
    /// Postgres.
    pub cold: Cold,
    /// Whether this process samples.
    pub lead: Lead,
    /// Where samples go.
    pub sightings: Sightings,
}

impl Sampler {
    /// A sampler between the two stores.
    pub fn new(hot: Hot, cold: Cold, settings: Arc<Settings>) -> Self {
        let sightings = Sightings::new(hot.clone(), cold.clone());
        let saver = sightings.saver();
        let lead = Lead::new(&hot);
        Self { sampling: Sampling { settings, hot, cold, lead, sightings }, saver }
    }

    /// Goes on until the drain; then gives the lease back, so that the spare samples at once, and
    /// stores what still waits.
    pub async fn run(self, draining: CancellationToken) {
        let Self { mut sampling, saver } = self;
        let sampled = CancellationToken::new();
        let sampling = async {
            match sampling.settings.rising.source {
                RisingSource::Visits => visits::run(&mut sampling, &draining).await,
                RisingSource::Chartbeat => source::run(&mut sampling, &draining).await,
            }
            if let Err(error) = sampling.lead.release().await {
                debug!(%error, "the lease could not be given back");
            }
            sampled.cancel();
        };
        tokio::join!(sampling, saver.run(&sampled));
    }
}
