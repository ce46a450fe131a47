//! `[visits]`: presence of visitors on pages.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::{count, duration};

/// Lifetime and limits of presence data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitsSettings {
    /// The time that a visitor is counted on a page after a heartbeat.
    #[serde(deserialize_with = "duration::positive")]
    pub ttl: Duration,
    /// Maximum number of visits per host that are counted exactly. Above this number, visitors are
    /// sampled.
    #[serde(deserialize_with = "count::positive")]
    pub exact_max: u64,
    /// Maximum number of pages with visitors per host. Visits to further pages are rejected as
    /// overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub pages_max: u64,
    /// Maximum number of hosts with visitors. Once this number is reached, a new host can replace a
    /// host of a client that has at least two more hosts than the client that adds the new host.
    /// Otherwise, visits to the new host are rejected as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub hosts_max: u64,
    /// Maximum number of hosts with visitors that one client owns. Visits by the client to further
    /// hosts without an owner are rejected as rate-limited.
    #[serde(deserialize_with = "count::positive")]
    pub hosts_per_client_max: u64,
}
