//! `[inbox]`: the live messages of one username.

use serde::Deserialize;

use super::count;

/// The bounds of an inbox.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// Live messages of one username.
    #[serde(deserialize_with = "count::positive")]
    pub messages_max: u64,
}
