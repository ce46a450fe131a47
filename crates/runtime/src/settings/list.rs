//! `[list]`: how list-api answers.

use serde::Deserialize;

use super::switch;

/// How reads are answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Whether `GET /chats/{username}` takes the inbox.
    #[serde(deserialize_with = "switch::on_off")]
    pub chats_get: bool,
}
