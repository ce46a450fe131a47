//! `[visits]`: who is on which page.

use std::time::Duration;

use serde::Deserialize;

use super::{count, duration};

/// How visitors are counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visits {
    /// How long a visitor counts on a page after a heartbeat.
    #[serde(deserialize_with = "duration::positive")]
    pub ttl: Duration,
    /// Visitors of one host that are each counted; beyond it one in some is.
    #[serde(deserialize_with = "count::positive")]
    pub exact_max: u64,
    /// Pages of one host; beyond it visits to others are refused as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub pages_max: u64,
    /// Hosts with visitors; beyond it visits to others are refused as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub hosts_max: u64,
}
