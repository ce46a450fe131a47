//! `[list]`: how list-api serves reads.

use serde::Deserialize;

use crate::settings::values::{count, switch};

/// Limits and switches of list-api.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSettings {
    /// Whether `GET /chats/{username}`, which takes the inbox, is enabled.
    #[serde(deserialize_with = "switch::on_off")]
    pub chats_get: bool,
    /// Maximum number of inboxes that one process lists or takes concurrently.
    #[serde(deserialize_with = "count::tasks")]
    pub inboxes_max: usize,
}
