//! `[public]`: where the services are for callers.

use serde::Deserialize;

use super::url;

/// The public URLs of the services, without a slash at the end; empty is the same origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// Of ingest-api.
    #[serde(deserialize_with = "url::public")]
    pub ingest_url: String,
    /// Of list-api; `Location` and `Link` are absolute under it.
    #[serde(deserialize_with = "url::public")]
    pub list_url: String,
    /// Of ws-fanout.
    #[serde(deserialize_with = "url::public")]
    pub live_url: String,
}
