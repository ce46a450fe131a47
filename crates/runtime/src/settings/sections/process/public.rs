//! `[public]`: the public URLs of the services.

use serde::Deserialize;

use crate::settings::values::url;

/// The public URLs of the services, without a trailing slash. An empty URL means the same origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicSettings {
    /// The public URL of ingest-api.
    #[serde(deserialize_with = "url::public")]
    pub ingest_url: String,
    /// The public URL of list-api, the base of the URLs in `Location` and `Link` headers.
    #[serde(deserialize_with = "url::public")]
    pub list_url: String,
    /// The public URL of ws-fanout.
    #[serde(deserialize_with = "url::public")]
    pub live_url: String,
}
