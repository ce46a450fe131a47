//! The context of a source of visitors.

use std::sync::Arc;

use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

use super::publisher::TrendPublisher;

/// The context of a source of visitors.
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
