//! `[visits]`: presence of visitors on pages.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::{count, duration};

/// Lifetime and limits of presence data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitsSettings {
    /// How long a visitor is counted on a page after a heartbeat.
    #[serde(deserialize_with = "duration::positive")]
    pub ttl: Duration,
    /// Visits per host that are counted exactly; above it, visitors are sampled.
    #[serde(deserialize_with = "count::positive")]
    pub exact_max: u64,
    /// Pages per host; visits to further pages are rejected as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub pages_max: u64,
    /// Hosts with visitors; visits to further hosts are rejected as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub hosts_max: u64,
    /// Hosts with visitors that one client added; visits to further hosts are rejected.
    #[serde(deserialize_with = "count::positive")]
    pub hosts_per_client_max: u64,
}
