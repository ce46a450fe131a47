//! `[inbox]`: the live messages of one username.

use serde::Deserialize;

use crate::settings::values::count;

/// Limits of an inbox.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxSettings {
    /// Maximum number of live messages per username.
    #[serde(deserialize_with = "count::positive")]
    pub messages_max: u64,
}
