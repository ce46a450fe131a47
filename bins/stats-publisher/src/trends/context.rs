//! The context of a visitor source.

use std::sync::Arc;

use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

use super::publisher::TrendPublisher;

/// The configuration and the handles that a visitor source uses.
pub struct SamplingContext {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Redis.
    pub hot: HotStore,
    /// Postgres.
    pub cold: ColdStore,
    /// The receiver of samples.
    pub publisher: TrendPublisher,
    /// Canceled when the process drains.
    pub draining: CancellationToken,
}
